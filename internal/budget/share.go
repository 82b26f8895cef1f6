package budget

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"postern/internal/store"
)

// Share is this task's part of an account's budget. Its methods are safe for
// concurrent use.
type Share struct {
	budgets *Budgets
	account Account
	cells   store.Cells
	cfg     Config
	log     zerolog.Logger

	wake    chan struct{} // something is wanted
	stop    context.CancelFunc
	stopped chan struct{} // keep has ended
	// until is the claim's, on the monotonic clock.
	until atomic.Pointer[time.Time]
	// front is held by the one who spends next. Those behind it wait in the
	// order of their coming.
	front chan struct{}

	mu      sync.Mutex
	claim   claim
	permits []*Permit      // in use, oldest first
	waiting []chan *Permit // each with room for one
	meter   meter
	closed  bool
	changed chan struct{} // closed, and made anew, when spending may have become possible
}

// Stats tell how a Share stands.
type Stats struct {
	Connections int     // that the task may use now
	InUse       int     // permits that are not released
	Waiting     int     // calls of Acquire
	Rate        float64 // messages a second that the task may send; 0 without a cap
}

// Stats gives a snapshot.
func (s *Share) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{Connections: s.limit(), InUse: len(s.permits), Waiting: len(s.waiting)}
	if s.mayUse() {
		stats.Rate = s.meter.rate
	}
	return stats
}

// Acquire gives a permit for a connection, and waits in turn while the task
// has none to give. Its error is the context's.
func (s *Share) Acquire(ctx context.Context) (*Permit, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	granted := make(chan *Permit, 1)
	s.mu.Lock()
	s.waiting = append(s.waiting, granted)
	s.grant()
	if len(s.waiting) > 0 {
		s.wakeUp()
	}
	s.mu.Unlock()
	select {
	case p := <-granted:
		return p, nil
	case <-ctx.Done():
	}
	s.forget(granted)
	select {
	case p := <-granted:
		p.Release()
	default:
	}
	return nil, ctx.Err()
}

// forget takes a waiting call out of the queue.
func (s *Share) forget(granted chan *Permit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(w chan *Permit) bool { return w == granted })
}

// mayUse says whether the claim holds.
func (s *Share) mayUse() bool { return !s.closed && time.Now().Before(s.claim.until()) }

// limit is how many connections may be in use.
func (s *Share) limit() int {
	if !s.mayUse() {
		return 0
	}
	return s.claim.usable().Connections
}

// grant serves the calls that wait, as far as the limit allows.
func (s *Share) grant() {
	for limit := s.limit(); len(s.waiting) > 0 && len(s.permits) < limit; s.waiting = s.waiting[1:] {
		p := &Permit{share: s, revoked: make(chan struct{})}
		s.permits = append(s.permits, p)
		s.waiting[0] <- p
	}
}

// release takes a permit back. When it was revoked, others wait for it.
func (s *Share) release(p *Permit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.permits, p)
	if i < 0 {
		return
	}
	s.permits = slices.Delete(s.permits, i, i+1)
	s.grant()
	if p.isRevoked() {
		s.wakeUp()
	}
}

// revoke calls back permits, newest first, until no more than n are good.
func (s *Share) revoke(n int) {
	good := 0
	for _, p := range s.permits {
		if p.isRevoked() {
			continue
		}
		if good++; good > n {
			close(p.revoked)
		}
	}
}

// wakeUp has the book looked at at once.
func (s *Share) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close takes a reference back. The last one gives the task's part back in the
// store, trying until the context ends; if it ends first, the others take the
// part when LeaseTime is over. All permits have been released by then.
func (s *Share) Close(ctx context.Context) {
	if !s.budgets.leave(s.account) {
		return
	}
	s.stop()
	<-s.stopped
	s.shut()
	s.giveBack(ctx)
}

// shut ends the use of the part.
func (s *Share) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.revoke(0)
	s.adjust()
}
