package budget

import (
	"slices"
	"strings"
	"time"
)

// claim is what one task may use of a budget, as it follows from what it has
// read from the book and written to it. It has no clock and no goroutine:
// moments come in from outside, all on the process's monotonic clock.
type claim struct {
	id    string // of the entry
	owner string // of this task's entries: the id's beginning
	caps  Caps
	cfg   Config

	// held is the entry in the book as it is known for certain, the zero
	// entry where there is none; written is the beginning of its last write.
	held    entry
	written time.Time
	// tries are writes whose outcome is not known. All are of one version.
	tries []try
	beat  int64
	// goal is what the last plan found right: the task uses no more, also
	// while it holds more.
	goal part
	// eager: a change of the parts is to be expected.
	eager bool

	lastRead  time.Time
	sightings map[string]sighting // by entry
	holders   []string            // who has a place now
	since     time.Time           // when holders was first seen to be so

	purse purse
	// full is when the next message of the day will be free, where the last
	// plan that wanted one found none; else zero.
	full time.Time
}

// sighting is when an entry was first seen with its beat.
type sighting struct {
	beat int64
	at   time.Time
}

// try is a write on its way.
type try struct {
	version int64 // of the book that it replaces
	began   time.Time
	entry   entry // zero when it leaves
	rest    int   // how many blocks of the purse's rest it gives back
	block   block // reserved
}

// demand is what the task needs.
type demand struct {
	inUse int   // connections, the revoked ones included
	wants int   // those and what is waited for
	slot  int64 // of the wall clock
	// leaving: it gives everything back.
	leaving bool
}

// until is when the claim runs out.
func (c *claim) until() time.Time {
	if c.held.ID == "" {
		return time.Time{}
	}
	return c.written.Add(c.cfg.LeaseTime - c.cfg.LeaseTime/10)
}

// usable is what may be used before until.
func (c *claim) usable() part {
	p := c.goal.least(c.held.part)
	for _, t := range c.tries {
		p = p.least(t.entry.part)
	}
	return p
}

// idle says whether nothing of the book concerns the task.
func (c *claim) idle() bool {
	return c.held.ID == "" && len(c.tries) == 0 && len(c.purse.rest) == 0 && c.purse.left() == 0
}

// read takes in the book as a read that has just ended gave it. It says
// whether the task's entry was dropped by somebody else.
func (c *claim) read(b book, version int64, now time.Time) (lost bool) {
	mine := b.find(c.id)
	if len(c.tries) > 0 && version > c.tries[0].version {
		c.resolve(mine)
	}
	lost = c.held.ID != "" && mine.ID == ""
	c.held = mine
	c.watch(b, now)
	return lost
}

// resolve finds out which of the tries, if any, has been applied.
func (c *claim) resolve(mine entry) {
	tries := c.tries
	c.tries = nil
	if mine.ID == "" {
		c.forsake(tries)
		return
	}
	for _, t := range tries {
		if t.entry.Beat == mine.Beat {
			c.apply(t)
			return
		}
	}
}

// forsake gives up tries of which nobody knows whether they were applied,
// because the entry is gone: the day's messages are neither had nor given back.
func (c *claim) forsake(tries []try) {
	c.purse.rest = c.purse.rest[tries[len(tries)-1].rest:]
	if slices.ContainsFunc(tries, func(t try) bool { return t.entry.ID == "" }) {
		c.held = entry{} // its own leaving
	}
}

// apply notes that a try is in the book, and no other.
func (c *claim) apply(t try) {
	c.tries = nil
	c.held = t.entry
	c.written = t.began
	c.purse.rest = c.purse.rest[t.rest:]
	c.purse.put(t.block)
}

// watch notes since when each entry has had its beat.
func (c *claim) watch(b book, now time.Time) {
	if now.Sub(c.lastRead) > c.cfg.LeaseTime/2 {
		c.sightings = nil // it does not know what it has missed
	}
	c.lastRead = now
	seen := make(map[string]sighting, len(b.Tasks))
	for _, e := range b.Tasks {
		s := c.sightings[e.ID]
		if s.beat != e.Beat {
			s = sighting{beat: e.Beat, at: now}
		}
		seen[e.ID] = s
	}
	c.sightings = seen
}

// dead says whether an entry's task is gone.
func (c *claim) dead(e entry, now time.Time) bool {
	if e.ID == c.id {
		return false
	}
	if c.cfg.Exclusive && !strings.HasPrefix(e.ID, c.owner) {
		return true
	}
	return now.Sub(c.sightings[e.ID].at) >= c.cfg.LeaseTime
}

// plan works out what the task should have in a book that it has read, and
// the book to write in its place; due is false when nothing is to be written.
// From here on the task uses at most what it may use whether or not the write
// succeeds.
func (c *claim) plan(b book, version int64, d demand, now time.Time) (next book, due bool) {
	next = b.without(func(e entry) bool { return c.dead(e, now) })
	due = len(next.Tasks) < len(b.Tasks)
	t := try{version: version, began: now, entry: c.entry(&next, d, now)}
	next, t.rest, t.block = c.planDay(next, d, now)
	due = due || len(c.tries) > 0 || t.rest > 0 || t.block.left > 0 || c.differs(t.entry) ||
		t.entry.ID != "" && now.Sub(c.written) >= c.cfg.LeaseTime/5
	if !due {
		return next, false
	}
	c.beat++
	if t.entry.ID != "" {
		t.entry.Beat = c.beat
		next = next.with(t.entry)
	} else {
		next = next.without(func(e entry) bool { return e.ID == c.id })
	}
	next.Writer, next.Beat = c.id, c.beat
	c.tries = append(c.tries, t)
	return next, true
}

// differs says whether an entry says something else than the held one.
func (c *claim) differs(e entry) bool {
	e.Beat = c.held.Beat
	return e != c.held
}

// wrote notes that the last planned write has succeeded.
func (c *claim) wrote() { c.apply(c.tries[len(c.tries)-1]) }

// entry works out the task's entry, but for its beat, and the goal. It may
// give out a turn of the book. A task that wants nothing leaves the book at the
// second plan: who wants something again meanwhile has kept its turn.
func (c *claim) entry(b *book, d demand, now time.Time) entry {
	c.goal, c.eager = part{}, false
	if d.leaving || d.wants == 0 && c.held.Wants == 0 {
		return entry{}
	}
	mine := entry{ID: c.id, Turn: c.held.Turn, Wants: min(d.wants, c.caps.Connections)}
	if mine.Turn == 0 {
		b.Turn++
		mine.Turn = b.Turn
	}
	waiting := queue(b.with(mine).Tasks)
	if c.turnIsOver(waiting, now) {
		b.Turn++
		mine.Turn = b.Turn
		waiting = queue(b.with(mine).Tasks)
	}
	target := split(waiting[:min(len(waiting), c.caps.places())], c.caps)[c.id]
	c.goal = target.least(b.free(c.id, c.caps)).atLeastNothing()
	mine.part = c.goal
	if c.goal.Connections < c.held.Connections {
		mine.Connections = max(c.goal.Connections, min(d.inUse, c.held.Connections))
	}
	c.eager = mine.part != target || d.wants > mine.Connections ||
		slices.ContainsFunc(b.Tasks, func(e entry) bool { return e.ID != c.id && e.Wants > e.Connections })
	return mine
}

func (p part) atLeastNothing() part {
	return part{Connections: max(0, p.Connections), Rate: max(0, p.Rate)}
}

// turnIsOver says whether the task has to go to the end of the queue: others
// wait, it is the first, and who has a place has not changed for LeaseTime.
func (c *claim) turnIsOver(waiting []entry, now time.Time) bool {
	places := min(len(waiting), c.caps.places())
	holders := make([]string, places)
	for i, e := range waiting[:places] {
		holders[i] = e.ID
	}
	if !slices.Equal(holders, c.holders) {
		c.holders, c.since = holders, now
	}
	return len(waiting) > places && holders[0] == c.id && now.Sub(c.since) >= c.cfg.LeaseTime
}

// planDay puts into the book what the task gives back of the day's messages
// and what it reserves.
func (c *claim) planDay(b book, d demand, now time.Time) (next book, rest int, reserved block) {
	if c.caps.Daily == 0 {
		return b, 0, block{}
	}
	b.Day = b.Day.at(d.slot)
	c.purse.sort(b.Day.Now, now)
	if d.leaving || d.wants == 0 {
		c.purse.retire(func(block) bool { return true })
	}
	for _, r := range c.purse.rest {
		b.Day = b.Day.giveBack(r)
	}
	rest = len(c.purse.rest)
	if d.leaving || d.wants == 0 {
		return b, rest, block{}
	}
	if c.full = (time.Time{}); !c.needsBlock() {
		return b, rest, block{}
	}
	free := c.caps.Daily - b.Day.sum()
	if free <= 0 {
		c.full = b.Day.nextFree()
		return b, rest, block{}
	}
	reserved = block{
		slot: b.Day.Now, left: min(c.blockSize(), free),
		until: now.Add(usableSlots * slotTime),
	}
	b.Day = b.Day.add(reserved.slot, reserved.left)
	return b, rest, reserved
}

// needsBlock says whether the purse is so empty that a block is to be fetched.
func (c *claim) needsBlock() bool { return c.purse.left() <= c.blockSize()/2 }

func (c *claim) blockSize() int { return min(1000, max(1, c.caps.Daily/100)) }
