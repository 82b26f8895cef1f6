package budget

import (
	"slices"
	"time"
)

// block is messages that a task has reserved in one slot.
type block struct {
	slot int64
	left int
	// until is the end of its use on the monotonic clock, which holds while
	// the wall clock is set back.
	until time.Time
}

// usable says whether messages of the block may be sent.
func (b block) usable(slot int64, now time.Time) bool {
	return slot < b.slot+usableSlots && now.Before(b.until)
}

// purse holds the messages that a task has reserved.
type purse struct {
	blocks []block // oldest first, one a slot
	rest   []block // not to be used any more; the next write gives them back
}

// sort moves what is not usable any more to the rest.
func (p *purse) sort(slot int64, now time.Time) {
	p.retire(func(b block) bool { return !b.usable(slot, now) })
}

// retire moves blocks to the rest.
func (p *purse) retire(over func(block) bool) {
	for _, b := range p.blocks {
		if over(b) && b.left > 0 {
			p.rest = append(p.rest, b)
		}
	}
	p.blocks = slices.DeleteFunc(p.blocks, over)
}

// put adds a reserved block.
func (p *purse) put(b block) {
	for i, have := range p.blocks {
		if have.slot == b.slot {
			p.blocks[i].left += b.left
			return
		}
	}
	if b.left > 0 {
		p.blocks = append(p.blocks, b)
	}
}

// left is how many messages may be sent.
func (p *purse) left() int {
	n := 0
	for _, b := range p.blocks {
		n += b.left
	}
	return n
}

// take takes a message from the oldest block that has one.
func (p *purse) take() {
	for i := range p.blocks {
		if p.blocks[i].left > 0 {
			p.blocks[i].left--
			return
		}
	}
}

// putBack undoes a take. The oldest block is as old as the one of the take or
// older, so the message counts for at least as long as it should; where the
// block of the take has ended meanwhile, it counts up to ten minutes longer
// than it should have, and the other of the next block as much less.
func (p *purse) putBack() {
	if len(p.blocks) > 0 {
		p.blocks[0].left++
	}
}
