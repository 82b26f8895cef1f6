package budget

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestSpendKeepsTheRate(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0.5, 1, 7, 40, 500, 3000} {
		synctest.Test(t, func(t *testing.T) {
			r := &relay{}
			s := newSite(newMemory(), Caps{Connections: 10, Rate: rate}, Config{})
			s.takes = time.Microsecond
			s.employ(10, r)
			time.Sleep(3 * time.Second)
			if n := float64(r.total()); n < 2.9*rate-1 || n > 3*rate+1 {
				t.Errorf("%v messages in 3 s at %v a second", n, rate)
			}
			if n := r.busiest(time.Second); float64(n) > max(1, rate*1.02) {
				t.Errorf("%d messages in some second at %v a second", n, rate)
			}
			s.leave(t.Context())
		})
	}
}

// TestSpendAfterAPause: neither a long idle time nor workers that were held up
// make a second busier than it may be.
func TestSpendAfterAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &relay{}
		s := newSite(newMemory(), Caps{Connections: 10, Rate: 100}, Config{})
		s.takes = time.Microsecond
		p, err := s.share.Acquire(t.Context(), nil) // keeps the rate while nobody sends
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(10 * time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			for range 5 {
				go func() {
					for s.share.Spend(ctx) == nil {
						r.message(ctx, s.takes)
					}
				}()
			}
			<-ctx.Done()
			cancel()
		}
		if n := r.busiest(time.Second); n > 102 {
			t.Errorf("%d messages in some second at 100 a second", n)
		}
		p.Release()
		s.leave(t.Context())
	})
}

func TestSpendInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(newMemory(), Caps{Connections: 10, Rate: 2}, Config{})
		p, err := s.share.Acquire(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var served order
		impatient, cancel := context.WithCancel(t.Context())
		for i := range 5 {
			ctx := t.Context()
			if i == 2 {
				ctx = impatient
			}
			go func() {
				if err := s.share.Spend(ctx); i == 2 {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("a cancelled Spend: %v", err)
					}
					return
				}
				served.note(i)
			}()
			synctest.Wait()
		}
		cancel()
		if s.share.TrySpend() {
			t.Error("TrySpend overtook those who wait")
		}
		start := time.Now()
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		if !served.is(0, 1, 3, 4) {
			t.Errorf("after %v: served in the order %v", time.Since(start), served.came)
		}
		p.Release()
		s.leave(t.Context())
	})
}

func TestRefund(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(newMemory(), Caps{Connections: 1, Rate: 1, Daily: 100}, Config{})
		p, err := s.share.Acquire(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		spend := func(want time.Duration) {
			t.Helper()
			start := time.Now()
			if err := s.share.Spend(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start).Truncate(time.Millisecond); took != want {
				t.Errorf("a message after %v, want %v", took, want)
			}
		}
		spend(time.Second)
		s.share.Refund()
		spend(0)
		spend(time.Second)
		s.share.Refund()
		time.Sleep(5 * time.Second) // what was refunded and what has come since are one burst
		spend(0)
		spend(time.Second)
		s.share.Refund()
		s.share.mu.Lock() // the keeper goes on beside the test
		left := s.share.claim.purse.left()
		s.share.mu.Unlock()
		if left != 1 {
			t.Errorf("%d of the day's messages in the purse, want the block's last", left)
		}
		p.Release()
		s.leave(t.Context())
	})
}

// TestTheDay: two tasks send all that a day allows, and the same a day later.
func TestTheDay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := newMemory(), &relay{}
		caps := Caps{Connections: 4, Daily: 500}
		cfg := Config{LeaseTime: 10 * time.Minute, PollEvery: 10 * time.Second} // a day of polls would take long
		a, b := newSite(m, caps, cfg), newSite(m, caps, cfg)
		start := time.Now()
		for _, s := range []*site{a, b} {
			s.patience = time.Hour
			s.employ(2, r)
		}
		time.Sleep(5 * time.Minute)
		if n := r.total(); n > 500 || n < 490 {
			t.Errorf("%d messages of 500", n)
		}
		var until time.Time
		eventually(t, time.Second, "the day is exhausted", func() bool {
			u, is := a.share.DayExhausted()
			until = u
			return is
		})
		if d := until.Sub(start); d < 24*time.Hour || d > 24*time.Hour+20*time.Minute {
			t.Errorf("exhausted for %v", d)
		}
		if a.share.TrySpend() {
			t.Error("a message of an exhausted day")
		}
		time.Sleep(time.Until(until) - time.Minute)
		if n := r.total(); n > 500 {
			t.Errorf("%d messages of 500 in a day", n)
		}
		time.Sleep(time.Hour)
		if n := r.since(until); n < 490 || r.busiest(24*time.Hour) > 500 {
			t.Errorf("%d messages on the next day, %d in some 24 hours", n, r.busiest(24*time.Hour))
		}
		a.leave(t.Context())
		b.leave(t.Context())
	})
}

// TestTheDayAfterStops: a clean stop gives back what was not sent; a crash
// loses at most two blocks.
func TestTheDayAfterStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		caps := Caps{Connections: 1, Daily: 1000}
		session := func(n int) *site {
			s := newSite(m, caps, Config{Exclusive: true})
			p, err := s.share.Acquire(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			s.note(p, true)
			for range n {
				if err := s.share.Spend(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			return s
		}
		session(3).leave(t.Context())
		session(16).leave(t.Context())
		if got := m.read(account).Day.sum(); got != 19 {
			t.Errorf("%d messages counted after clean stops, 19 were sent", got)
		}
		session(7).die()
		if got := m.read(account).Day.sum(); got < 26 || got > 26+20 {
			t.Errorf("%d messages counted after a crash, 26 were sent", got)
		}
		// A block whose time is over is exchanged for another: only what was
		// sent stays counted.
		s := session(1)
		before := m.read(account).Day.sum()
		time.Sleep(25 * time.Minute)
		if got := m.read(account).Day.sum(); got != before+1 {
			t.Errorf("%d messages are reserved, %d were before, and one was sent", got, before)
		}
		s.leave(t.Context())
	})
}

func TestWithoutCapsNothingWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(newMemory(), Caps{}, Config{})
		for range 1000 {
			if err := s.share.Spend(t.Context()); err != nil || !s.share.TrySpend() {
				t.Fatal(err)
			}
		}
		s.share.Refund()
		if p, err := s.share.Acquire(t.Context(), nil); err != nil {
			t.Error(err)
		} else if p.Release(); s.share.Stats().Connections != 1 {
			t.Errorf("%+v: a relay has one connection at least", s.share.Stats())
		}
		s.leave(t.Context())
	})
}
