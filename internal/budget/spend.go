package budget

import (
	"context"
	"time"
)

// Spend waits until one message may be sent, under the rate and the daily cap.
// Its callers hold a permit, and are served in the order of their coming. Its
// error is the context's: who holds a permit that is revoked has to end the
// wait, for the connection is nobody's until it is released, and the rate may be
// where the connection goes.
func (s *Share) Spend(ctx context.Context) error {
	if err := ctx.Err(); err != nil || !s.claim.caps.counted() {
		return err
	}
	select {
	case s.front <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.front }()
	for {
		ok, again, changed := s.spend()
		if ok {
			return nil
		}
		if err := wait(ctx, again, changed); err != nil {
			return err
		}
	}
}

// TrySpend is Spend without waiting. It is false while others wait.
func (s *Share) TrySpend() bool {
	if !s.claim.caps.counted() {
		return true
	}
	select {
	case s.front <- struct{}{}:
	default:
		return false
	}
	defer func() { <-s.front }()
	ok, _, _ := s.spend()
	return ok
}

// spend takes a message, if one may be sent now. Else it says when to try
// again: after some time, where that is not 0, or when changed is closed.
func (s *Share) spend() (ok bool, again time.Duration, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.mayUse() || !s.dayAllows(now) {
		return false, 0, s.changed
	}
	if ok, again = s.meter.take(now); !ok {
		return false, again, s.changed
	}
	if s.claim.caps.Daily > 0 {
		s.claim.purse.take()
		s.orderBlock()
	}
	return true, 0, nil
}

// dayAllows says whether there is a message of the day.
func (s *Share) dayAllows(now time.Time) bool {
	if s.claim.caps.Daily == 0 {
		return true
	}
	s.claim.purse.sort(slotOf(s.cfg.Now()), now)
	if s.claim.purse.left() > 0 {
		return true
	}
	s.orderBlock()
	return false
}

// orderBlock has a block fetched when it is time, unless there is none.
func (s *Share) orderBlock() {
	if s.claim.full.IsZero() && s.claim.needsBlock() {
		s.wakeUp()
	}
}

// Refund takes a Spend back whose message was not sent after all.
func (s *Share) Refund() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meter.refunded++
	s.claim.purse.putBack()
	s.announce()
}

// DayExhausted says whether no message may be sent because of the daily cap,
// and until when, on the wall clock, unless another task gives some back. It
// is known from the last time that Spend found nothing.
func (s *Share) DayExhausted() (until time.Time, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claim.purse.left() > 0 || !s.cfg.Now().Before(s.claim.full) {
		return time.Time{}, false
	}
	return s.claim.full, true
}

// announce has those who wait to spend look again.
func (s *Share) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait waits for some time, where that is not 0, for a change, or for the
// context's end, whose error it returns.
func wait(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
	case <-changed:
	}
	return nil
}
