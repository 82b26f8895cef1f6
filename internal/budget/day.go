package budget

import (
	"slices"
	"time"
)

// The day's account is kept in slots of ten minutes since 1970.
const (
	slotTime = 10 * time.Minute
	daySlots = int64(24 * time.Hour / slotTime)
	// usableSlots is in how many slots a block may be used, countedSlots in
	// how many it counts: 24 hours from the last moment of its use.
	usableSlots  = 2
	countedSlots = usableSlots + daySlots
)

// slotOf gives the slot of a moment of the wall clock.
func slotOf(wall time.Time) int64 { return wall.Unix() / int64(slotTime/time.Second) }

// day says how many messages were reserved in each slot.
type day struct {
	Now    int64 `json:"now"`             // the slot of the last write
	First  int64 `json:"first,omitempty"` // the slot of Counts[0]
	Counts []int `json:"counts,omitempty"`
}

// at gives the day as it is in a slot of the reader's clock, without what
// counts no more. A clock that is behind the last write's by up to a day is
// taken to be there. Where it is further behind, what was reserved later than
// its slot is taken for reserved now.
func (d day) at(slot int64) day {
	if slot < d.Now && d.Now <= slot+daySlots {
		slot = d.Now
	}
	kept := day{Now: slot}
	for i, n := range d.Counts {
		if s := d.First + int64(i); s+countedSlots > slot {
			kept = kept.add(min(s, slot), n)
		}
	}
	return kept
}

// add gives the day with n messages more, or less, in a slot.
func (d day) add(slot int64, n int) day {
	counts := slices.Clone(d.Counts)
	switch {
	case n == 0:
		return d
	case len(counts) == 0:
		d.First, counts = slot, []int{0}
	case slot < d.First:
		counts = slices.Concat(make([]int, d.First-slot), counts)
		d.First = slot
	case slot >= d.First+int64(len(counts)):
		counts = slices.Concat(counts, make([]int, slot-d.First-int64(len(counts))+1))
	}
	counts[slot-d.First] += n
	d.Counts = counts
	return d
}

// giveBack takes messages that were reserved and not used out of their slot,
// unless it does not count any more.
func (d day) giveBack(b block) day {
	if i := b.slot - d.First; i >= 0 && i < int64(len(d.Counts)) {
		return d.add(b.slot, -min(b.left, d.Counts[i]))
	}
	return d
}

// sum is how many messages are reserved.
func (d day) sum() int {
	sum := 0
	for _, n := range d.Counts {
		sum += n
	}
	return sum
}

// nextFree is when the first of the reserved messages count no more.
func (d day) nextFree() time.Time {
	for i, n := range d.Counts {
		if n > 0 {
			return time.Unix(0, 0).Add(time.Duration(d.First+int64(i)+countedSlots) * slotTime).UTC()
		}
	}
	return time.Time{}
}
