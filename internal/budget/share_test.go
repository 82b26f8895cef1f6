package budget

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var ten = Caps{Connections: 10, Rate: 500}

func TestOneTaskHasAllAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := newSite(m, ten, Config{})
		time.Sleep(time.Hour)
		if gets, swaps := m.calls(); gets != 0 || swaps != 0 {
			t.Errorf("a share that nobody uses reads %d times and writes %d times an hour", gets, swaps)
		}
		start := time.Now()
		for range 10 {
			if _, err := s.share.Acquire(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
		if gets, swaps := m.calls(); gets != 1 || swaps != 1 {
			t.Errorf("%d reads and %d writes, want one of each", gets, swaps)
		}
		if got, want := s.share.Stats(), (Stats{Connections: 10, InUse: 10, Rate: 500}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		time.Sleep(time.Minute)
		if gets, swaps := m.calls(); gets > 65 || swaps > 35 {
			t.Errorf("%d reads and %d writes in a quiet minute", gets, swaps)
		}
		s.leave(t.Context())
	})
}

func TestNewcomerAndLeaver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := newMemory(), &relay{}
		a := newSite(m, ten, Config{})
		a.employ(10, r)
		for _, wait := range []time.Duration{0, 300 * time.Millisecond, 900 * time.Millisecond, time.Second} {
			time.Sleep(10*time.Second + wait)
			b := newSite(m, ten, Config{})
			b.employ(10, r)
			eventually(t, 2*time.Second, "the newcomer's part", func() bool { return b.good() == 5 && b.share.Stats().Rate == 250 })
			if a.good() != 5 {
				t.Errorf("%d connections stay with the first", a.good())
			}
			b.leave(t.Context())
			if got := len(m.read(account).Tasks); got != 1 {
				t.Errorf("%d entries after one of two has left", got)
			}
			eventually(t, 2*time.Second, "the leaver's part", func() bool { return a.good() == 10 && a.share.Stats().Rate == 500 })
		}
		a.leave(t.Context())
		if got := m.read(account).Tasks; len(got) != 0 {
			t.Errorf("entries %+v after all have left", got)
		}
	})
}

// TestIdleBudgetFlows: what a task does not use any more goes to one that can,
// and comes back when it is wanted.
func TestIdleBudgetFlows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := newMemory(), &relay{}
		a, b := newSite(m, ten, Config{}), newSite(m, ten, Config{})
		a.employ(10, r)
		for range 3 {
			ctx, enough := context.WithCancel(t.Context())
			for range 10 {
				go func() {
					if p, err := b.share.Acquire(ctx, nil); err == nil {
						b.note(p, true)
					}
				}()
			}
			eventually(t, 2*time.Second, "b's part", func() bool { return b.good() == 5 })
			enough()
			synctest.Wait()
			for _, p := range b.held() {
				b.note(p, false)
				p.Release()
			}
			eventually(t, 2*time.Second, "what b gave back", func() bool { return a.good() == 10 })
		}
		a.leave(t.Context())
		b.leave(t.Context())
	})
}

func TestDeadTaskIsSwept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := newMemory(), &relay{}
		a, b := newSite(m, ten, Config{}), newSite(m, ten, Config{})
		a.employ(10, r)
		b.employ(10, r)
		eventually(t, 3*time.Second, "halves", func() bool { return a.good() == 5 && b.good() == 5 })
		time.Sleep(5 * time.Second)
		a.die()
		took := eventually(t, 13*time.Second, "the dead task's part", func() bool { return b.good() == 10 })
		if took < 8*time.Second {
			t.Errorf("the part of a task was taken %v after its death: its beat may have been 2 s old, no more", took)
		}
		b.leave(t.Context())
	})
}

func TestExclusiveTaskSweepsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := newMemory(), &relay{}
		a := newSite(m, ten, Config{Exclusive: true})
		a.employ(10, r)
		time.Sleep(time.Second)
		a.die()
		b := newSite(m, ten, Config{Exclusive: true})
		b.employ(10, r)
		synctest.Wait()
		if b.good() != 10 {
			t.Errorf("%d connections after a restart, want all", b.good())
		}
		b.leave(t.Context())
	})
}

// TestStoreOutage: permits end at the deadline, and come back with the store,
// for all tasks that missed it.
func TestStoreOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := newMemory(), &relay{}
		a, b := newSite(m, ten, Config{}), newSite(m, ten, Config{})
		a.employ(10, r)
		b.employ(10, r)
		eventually(t, 3*time.Second, "halves", func() bool { return a.good() == 5 && b.good() == 5 })
		held := a.held()
		mendA, mendB := a.link.cut(), b.link.cut()
		time.Sleep(6 * time.Second)
		if a.good() != 5 || b.good() != 5 {
			t.Error("permits ended before the deadline")
		}
		time.Sleep(4 * time.Second)
		for _, p := range held {
			if !errors.Is(p.Err(), ErrLapsed) {
				t.Errorf("after the deadline: %v", p.Err())
			}
		}
		if got := a.share.Stats(); got.Connections != 0 || got.Rate != 0 {
			t.Errorf("after the deadline: %+v", got)
		}
		if a.share.TrySpend() {
			t.Error("a message was spent after the deadline")
		}
		time.Sleep(10 * time.Second)
		silent := time.Now()
		time.Sleep(10 * time.Second)
		if n := r.since(silent); n != 0 {
			t.Errorf("%d messages without a store", n)
		}
		mendA()
		mendB()
		eventually(t, 2*time.Second, "all permits", func() bool { return a.good() == 5 && b.good() == 5 })
		for _, p := range held {
			if p.Err() != nil {
				t.Errorf("a permit that nobody took: %v", p.Err())
			}
		}
		a.leave(t.Context())
		b.leave(t.Context())
	})
}

// TestPausedTaskComesBack: one task's store is away for longer than the lease.
// Others take its part; it comes back as a newcomer.
func TestPausedTaskComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := newMemory(), &relay{}
		a, b := newSite(m, ten, Config{}), newSite(m, ten, Config{})
		a.employ(10, r)
		b.employ(10, r)
		eventually(t, 3*time.Second, "halves", func() bool { return a.good() == 5 && b.good() == 5 })
		held := a.held()
		mend := a.link.cut()
		eventually(t, 13*time.Second, "b has all", func() bool { return b.good() == 10 })
		if a.good() != 0 {
			t.Error("a has permits too")
		}
		mend()
		eventually(t, 4*time.Second, "halves", func() bool { return a.good() == 5 && b.good() == 5 })
		for _, p := range held {
			if !errors.Is(p.Err(), ErrLapsed) || !p.isRevoked() {
				t.Errorf("a permit that others had meanwhile: %v, revoked %t", p.Err(), p.isRevoked())
			}
		}
		a.leave(t.Context())
		b.leave(t.Context())
	})
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := newMemory(), &relay{}
		caps := Caps{Connections: 10, Rate: 500, Daily: 100_000}
		a, b := newSite(m, caps, Config{}), newSite(m, caps, Config{})
		for _, s := range []*site{a, b} {
			n := 0
			s.link.lose = func() bool { n++; return n%3 != 0 }
			s.employ(10, r)
		}
		eventually(t, 5*time.Second, "halves", func() bool { return a.good() == 5 && b.good() == 5 })
		time.Sleep(20 * time.Second)
		if a.good() != 5 || b.good() != 5 {
			t.Errorf("%d and %d connections", a.good(), b.good())
		}
		a.leave(t.Context())
		b.leave(t.Context())
		book := m.read(account)
		if sent := r.total(); len(book.Tasks) != 0 || book.Day.sum() < sent || book.Day.sum() > sent+20 {
			t.Errorf("%d messages were sent; in the end the book says %+v", sent, book)
		}
	})
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(newMemory(), ten, Config{})
		p, err := s.share.Acquire(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		s.link.cut()
		p.Release()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		s.share.Close(ctx)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("Close took %v of the 5 s", took)
		}
	})
}

func TestOneShareForAllReferences(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		b := New(m, Config{Owner: "task"})
		first, second := b.Open(account, ten), b.Open(account, Caps{Connections: 3})
		if first != second {
			t.Error("two shares of one account")
		}
		other := b.Open(Account{Host: "relay.example", Port: 587, Username: "else"}, ten)
		if other == first {
			t.Error("one share for two user names")
		}
		first.Close(t.Context())
		p, err := second.Acquire(t.Context(), nil)
		if err != nil || p.Err() != nil {
			t.Fatalf("after the first of two closes: %v, %v", err, p.Err())
		}
		p.Release()
		p.Release()
		if got := second.Stats().InUse; got != 0 {
			t.Errorf("%d in use", got)
		}
		second.Close(t.Context())
		third := b.Open(account, ten)
		if third == first {
			t.Error("a closed share was given out")
		}
		if _, err := third.Acquire(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if got := third.Stats().Connections; got != 10 {
			t.Errorf("%d connections after another share of the same task has left", got)
		}
		third.Close(t.Context())
		other.Close(t.Context())
	})
}

func TestAcquireInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(newMemory(), Caps{Connections: 1}, Config{})
		p, err := s.share.Acquire(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var served order
		impatient, cancel := context.WithCancel(t.Context())
		for i := range 4 {
			ctx := t.Context()
			if i == 1 {
				ctx = impatient
			}
			go func() {
				p, err := s.share.Acquire(ctx, nil)
				if i == 1 {
					if !errors.Is(err, context.Canceled) || p != nil {
						t.Errorf("a cancelled Acquire: %v, %v", p, err)
					}
					return
				}
				served.note(i)
				p.Release()
			}()
			synctest.Wait()
		}
		if got := s.share.Stats(); got.Waiting != 4 || got.InUse != 1 {
			t.Errorf("%+v", got)
		}
		cancel()
		synctest.Wait()
		p.Release()
		synctest.Wait()
		if !served.is(0, 2, 3) {
			t.Errorf("served in the order %v", served.came)
		}
		if _, err := s.share.Acquire(impatient, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("an Acquire whose context has ended: %v", err)
		}
		s.leave(t.Context())
	})
}

// TestTasksTakeTurns: three tasks and one connection.
func TestTasksTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		caps := Caps{Connections: 1, Rate: 50}
		var sites []*site
		var relays []*relay
		for range 3 {
			r, s := &relay{}, newSite(m, caps, Config{})
			s.employ(2, r)
			sites, relays = append(sites, s), append(relays, r)
		}
		time.Sleep(100 * time.Second)
		for i, r := range relays {
			if n := r.total(); n < 800 || n > 2200 {
				t.Errorf("task %d has sent %d messages of about 5000", i, n)
			}
		}
		for _, s := range sites {
			s.leave(t.Context())
		}
	})
}

// TestReleaseIsWrittenAtOnce: what was called back is in the book soon after
// its release, not at the next poll.
func TestReleaseIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		a, b := newSite(m, Caps{Connections: 2}, Config{}), newSite(m, Caps{Connections: 2}, Config{})
		first, _ := a.share.Acquire(t.Context(), nil)
		second, _ := a.share.Acquire(t.Context(), nil)
		go func() {
			if p, err := b.share.Acquire(t.Context(), nil); err == nil {
				b.note(p, true)
			}
		}()
		<-second.Revoked()
		if !errors.Is(second.Err(), ErrRevoked) || first.Err() != nil {
			t.Errorf("of two permits one is called back, the newer: %v, %v", first.Err(), second.Err())
		}
		time.Sleep(20 * time.Second)
		if a.share.Stats().Connections != 1 || m.read(account).free("", Caps{Connections: 2}).Connections != 0 {
			t.Errorf("%+v before the release", a.share.Stats())
		}
		second.Release()
		eventually(t, 60*time.Millisecond, "the book says so", func() bool {
			return m.read(account).free("", Caps{Connections: 2}).Connections == 1
		})
		eventually(t, 600*time.Millisecond, "the newcomer's connection", func() bool { return b.good() == 1 })
		first.Release()
		a.leave(t.Context())
		b.leave(t.Context())
	})
}
