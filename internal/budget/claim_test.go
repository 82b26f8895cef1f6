package budget

import (
	"testing"
	"time"
)

// hold8 makes a task that has all 8 connections of the model.
func hold8(t *testing.T, m *model) *simulated {
	t.Helper()
	a := m.join()
	a.waiting = 8
	m.exchange(a)
	m.acquire(a)
	if a.inUse != 8 {
		t.Fatalf("the first has %d connections at once", a.inUse)
	}
	return a
}

// TestLeastOfWhatMayBeWritten: while it is not known which of two writes was
// applied, or none, the task uses no more than the least of them says.
func TestLeastOfWhatMayBeWritten(t *testing.T) {
	t.Parallel()
	m := newModel(Caps{Connections: 8, Rate: 80})
	a := hold8(t, m)
	b := m.join()
	b.waiting = 8
	m.exchange(b)

	a.inUse, a.waiting = 1, 0 // now it wants but one
	m.fetch(a)
	m.plan(a)
	less := *a.swapping
	a.swapping = nil // no answer
	a.waiting = 7    // now it wants all again
	m.fetch(a)
	m.plan(a)
	more := *a.swapping
	a.swapping = nil // no answer either
	if got, want := a.claim.usable(), (part{1, 11}); got != want {
		t.Errorf("uses %+v while both may have been written, want %+v", got, want)
	}
	if !m.arrive(less) || m.arrive(more) {
		t.Fatal("both, or none, were applied")
	}
	m.fetch(a)
	m.plan(a)
	if got := a.claim.held.Connections; got != 1 {
		t.Errorf("holds %d connections by the book, want 1", got)
	}
}

// TestUnknownWriteIsFoundByItsBeat: a write whose answer was lost counts from
// its beginning.
func TestUnknownWriteIsFoundByItsBeat(t *testing.T) {
	t.Parallel()
	m := newModel(Caps{Connections: 8})
	a := hold8(t, m)
	m.now = m.now.Add(3 * time.Second)
	began := m.now
	m.fetch(a)
	m.plan(a)
	m.arrive(*a.swapping)
	a.swapping = nil
	m.now = m.now.Add(time.Second)
	m.fetch(a)
	m.plan(a)
	if want := began.Add(9 * time.Second); !a.claim.until().Equal(want) {
		t.Errorf("the claim holds until %v, want %v", a.claim.until(), want)
	}
}

// TestOutageDropsNobody: tasks that could not read for long do not take the
// silence of the others for their death.
func TestOutageDropsNobody(t *testing.T) {
	t.Parallel()
	m := newModel(Caps{Connections: 8})
	a := hold8(t, m)
	b := m.join()
	b.waiting = 8
	m.exchange(b)
	m.now = m.now.Add(time.Minute)
	m.exchange(b)
	if m.book.find(a.claim.id).ID == "" {
		t.Fatal("a was dropped though nobody could have heard of it")
	}
	m.exchange(a)
	if !m.valid(a) || a.inUse != 8 {
		t.Error("a did not come back with what it has")
	}
	for range 11 {
		m.now = m.now.Add(time.Second)
		m.exchange(b)
	}
	if m.book.find(a.claim.id).ID != "" {
		t.Error("a was silent, b was not, and a was not dropped")
	}
}

// TestExclusiveDropsOthersAtOnce: but not what is open under the same owner.
func TestExclusiveDropsOthersAtOnce(t *testing.T) {
	t.Parallel()
	m := newModel(Caps{Connections: 8})
	hold8(t, m)
	b := m.join()
	b.claim.cfg.Exclusive = true
	b.waiting = 3
	m.exchange(b)
	if got := b.claim.usable().Connections; got != 8 {
		t.Errorf("%d connections, want all 8", got)
	}
	c := m.join()
	c.claim.cfg.Exclusive = true
	c.claim.id, c.claim.owner = b.claim.owner+"2", b.claim.owner
	c.waiting = 3
	m.exchange(c)
	if m.book.find(b.claim.id).ID == "" {
		t.Error("an entry of the same owner was dropped")
	}
}

func TestCapsAreLowered(t *testing.T) {
	t.Parallel()
	m := newModel(Caps{Connections: 8, Rate: 80})
	hold8(t, m)
	m.caps = Caps{Connections: 4, Rate: 40}
	b := m.join()
	b.waiting = 4
	m.exchange(b)
	if got := b.claim.usable(); got != (part{}) {
		t.Errorf("a task with lower caps uses %+v beside one that has more than them", got)
	}
}

func TestPurse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	end := now.Add(20 * time.Minute)
	p := purse{}
	p.put(block{slot: 10, left: 2, until: end})
	p.put(block{slot: 11, left: 3, until: end})
	p.put(block{slot: 11, left: 1, until: end})
	p.take()
	p.take()
	p.take() // of the second
	p.putBack()
	if len(p.blocks) != 2 || p.blocks[0].left != 1 || p.blocks[1].left != 3 {
		t.Errorf("blocks %+v: what is put back belongs to the oldest", p.blocks)
	}
	p.sort(12, now)
	if p.left() != 3 || len(p.rest) != 1 || p.rest[0].slot != 10 {
		t.Errorf("after the first block's time: %+v", p)
	}
	p.sort(11, end)
	if p.left() != 0 || len(p.rest) != 2 {
		t.Errorf("the clock was set back, but twenty minutes are over: %+v", p)
	}
	p.putBack()
	if p.left() != 0 {
		t.Errorf("put back into nothing: %+v", p)
	}
}

// TestNothingIsGivenBackTwice: a task whose entry is gone does not know whether
// its last writes were applied, so it does not repeat what they gave back.
func TestNothingIsGivenBackTwice(t *testing.T) {
	t.Parallel()
	m := newModel(Caps{Connections: 8, Daily: 1000})
	a, b := m.join(), m.join()
	a.waiting, b.waiting = 1, 1
	m.exchange(a)
	m.exchange(b)
	if got := m.book.Day.sum(); got != 20 {
		t.Fatalf("%d messages are reserved, want two blocks of 10", got)
	}
	m.now = m.now.Add(3 * time.Second)
	m.fetch(a)
	m.plan(a) // a beat, which never arrives
	a.swapping = nil
	a.waiting = 0
	m.fetch(a)
	m.plan(a) // it gives back, and the answer is lost
	m.arrive(*a.swapping)
	a.swapping = nil
	if got := m.book.Day.sum(); got != 10 {
		t.Fatalf("%d messages are reserved after one wants nothing any more, want 10", got)
	}
	m.version++ // b drops it
	m.book = m.book.without(func(e entry) bool { return e.ID == a.claim.id })
	a.waiting = 1
	m.exchange(a)
	if got := m.book.Day.sum(); got != 20 || a.claim.purse.left() != 10 {
		t.Errorf("%d messages are reserved and a has %d, want 20 and 10", got, a.claim.purse.left())
	}
}
