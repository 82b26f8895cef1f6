package budget

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDay(t *testing.T) {
	t.Parallel()
	d := day{Now: 1003}.add(1000, 5).add(1002, 7)
	tests := []struct {
		name string
		slot int64 // of the clock
		want day
	}{
		{"everything counts", 1004, day{1004, 1000, []int{5, 0, 7}}},
		{"to the last slot", 1000 + countedSlots - 1, day{1000 + countedSlots - 1, 1000, []int{5, 0, 7}}},
		{"the first is free", 1000 + countedSlots, day{1000 + countedSlots, 1002, []int{7}}},
		{"all are free", 1002 + countedSlots, day{Now: 1002 + countedSlots}},
		{"a clock that is behind", 1001, day{1003, 1000, []int{5, 0, 7}}},
		{"a clock that is a day behind", 1003 - daySlots, day{1003, 1000, []int{5, 0, 7}}},
		{"a clock that is further behind", 1002 - daySlots, day{1002 - daySlots, 1002 - daySlots, []int{12}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := d.at(tt.slot); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestDayGivesBack(t *testing.T) {
	t.Parallel()
	d := day{}.add(10, 5).add(12, 7)
	if got := d.giveBack(block{slot: 12, left: 3}); got.sum() != 9 {
		t.Errorf("%+v", got)
	}
	if got := d.giveBack(block{slot: 10, left: 50}); got.sum() != 7 {
		t.Errorf("more than there was: %+v", got)
	}
	if got := d.giveBack(block{slot: 9, left: 3}); got.sum() != 12 {
		t.Errorf("a slot that does not count: %+v", got)
	}
	if d.sum() != 12 {
		t.Errorf("the original was changed: %+v", d)
	}
}

func TestDayNextFree(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 10, 17, 0, 0, time.UTC)
	d := day{}.add(slotOf(at)-3, 2).giveBack(block{slot: slotOf(at) - 3, left: 2}).add(slotOf(at), 1)
	// Reserved from 10:10, used until 10:30, free a day later.
	if want := time.Date(2026, 3, 2, 10, 30, 0, 0, time.UTC); !d.nextFree().Equal(want) {
		t.Errorf("free at %v, want %v", d.nextFree(), want)
	}
}

// TestDayHoldsInAnyDay: a task that sends as much as it may, at moments of any
// distance, with stops that give back what it has reserved and crashes that
// lose it, with writes whose answer is lost and entries that others drop, sends
// at most the limit in any 24 hours. The hours are those of its clock as the
// writes saw it; when it is set back they pass again, and nothing is freed.
func TestDayHoldsInAnyDay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(Caps{Connections: 1, Daily: rapid.IntRange(1, 300).Draw(t, "limit")})
		task := m.join()
		task.waiting = 1
		var sent []time.Time
		var latest time.Time // as the writes saw the clock
		oneOf := func(n int, what string) bool { return rapid.IntRange(1, n).Draw(t, what) == n }
		for range 60 {
			m.now = m.now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "seconds")) * time.Second)
			if oneOf(6, "jump") {
				m.clock = -time.Duration(rapid.IntRange(0, 600).Draw(t, "back")) * time.Minute
			}
			task.leaving = oneOf(10, "stop")
			m.fetch(task)
			m.plan(task)
			before := m.version
			switch {
			case task.swapping == nil:
			case oneOf(6, "answer lost"):
				m.arrive(*task.swapping)
			case !oneOf(6, "not written"):
				m.answer(task)
			}
			task.swapping = nil
			if wall := m.now.Add(m.clock); m.version > before && wall.After(latest) {
				latest = wall
			}
			if oneOf(10, "dropped") {
				m.version++
				m.book = m.book.without(func(entry) bool { return true })
			}
			if oneOf(10, "crash") {
				task = m.join()
				task.waiting = 1
			}
			for n := rapid.IntRange(0, 20).Draw(t, "messages"); n > 0 && task.claim.purse.left() > 0; n-- {
				task.claim.purse.take()
				if oneOf(10, "refund") {
					task.claim.purse.putBack()
					continue
				}
				sent = append(sent, latest)
			}
			if n := inLastDay(sent, latest); n > m.caps.Daily {
				t.Fatalf("%d messages in 24 hours, of %d", n, m.caps.Daily)
			}
		}
	})
}

func inLastDay(sent []time.Time, now time.Time) int {
	n := 0
	for _, at := range sent {
		if now.Sub(at) < 24*time.Hour {
			n++
		}
	}
	return n
}
