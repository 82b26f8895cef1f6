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
	permits []*Permit // in use, oldest first
	waiting []*call
	meter   meter
	closed  bool
	// watchers want the book read although nothing is wanted of it.
	watchers int
	changed  chan struct{} // closed, and made anew, when spending may have become possible
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

// call is an Acquire that waits.
type call struct {
	party   any
	granted chan *Permit // has room for one
}

// Acquire gives a permit for a connection, and waits in turn while the task
// has none to give. Its error is the context's.
//
// The party is who asks: a lane, of which a relay's account may have several
// with different passwords. A party that has fewer permits than another is
// served first, and has one of the other's called back.
func (s *Share) Acquire(ctx context.Context, party any) (*Permit, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &call{party: party, granted: make(chan *Permit, 1)}
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	s.grant()
	if len(s.waiting) > 0 {
		s.wakeUp()
		s.balance(party)
	}
	s.mu.Unlock()
	select {
	case p := <-c.granted:
		return p, nil
	case <-ctx.Done():
	}
	s.forget(c)
	select {
	case p := <-c.granted:
		p.Release()
	default:
	}
	return nil, ctx.Err()
}

// forget takes a waiting call out of the queue.
func (s *Share) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(w *call) bool { return w == c })
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

// grant serves the calls that wait, as far as the limit allows: of the parties
// with the fewest permits the first.
func (s *Share) grant() {
	for limit := s.limit(); len(s.waiting) > 0 && len(s.permits) < limit; {
		first := 0
		for i, c := range s.waiting {
			if s.holds(c.party) < s.holds(s.waiting[first].party) {
				first = i
			}
		}
		c := s.waiting[first]
		s.waiting = slices.Delete(s.waiting, first, first+1)
		p := &Permit{share: s, party: c.party, since: time.Now(), revoked: make(chan struct{})}
		s.permits = append(s.permits, p)
		c.granted <- p
	}
}

// holds counts a party's permits that are good.
func (s *Share) holds(party any) (n int) {
	for _, p := range s.permits {
		if p.party == party && !p.isRevoked() {
			n++
		}
	}
	return n
}

// turnTime is how long a party may keep a task's last permit from another.
const turnTime = time.Second

// balance calls back the newest permit of the party that has most, where the
// party that waits would still have no more than that one afterwards; or, where
// it has none and the other one, where that one has had its turn.
func (s *Share) balance(party any) {
	own := s.holds(party)
	var most *Permit
	for _, p := range s.permits {
		if p.isRevoked() {
			if p.party != party {
				return // one is on its way back already
			}
			continue
		}
		if most == nil || s.holds(p.party) >= s.holds(most.party) {
			most = p
		}
	}
	if most == nil || most.party == party {
		return
	}
	others := s.holds(most.party)
	if others-own >= 2 || own == 0 && time.Since(most.since) >= turnTime {
		close(most.revoked)
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

// wakeUp has the book read without waiting for its time.
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
