package budget

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"postern/internal/store"
)

// relay is what a scripted relay would see.
type relay struct {
	mu      sync.Mutex
	busy    int // connections with a message under way
	maxBusy int
	sent    []time.Time // when each message began
}

// message takes some time on one connection.
func (r *relay) message(ctx context.Context, takes time.Duration) {
	r.mu.Lock()
	r.busy++
	r.maxBusy = max(r.maxBusy, r.busy)
	r.sent = append(r.sent, time.Now())
	r.mu.Unlock()
	_ = sleep(ctx, takes)
	r.mu.Lock()
	r.busy--
	r.mu.Unlock()
}

// busiest gives the largest number of messages that began within any window.
func (r *relay) busiest(window time.Duration) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	most, from := 0, 0
	for i, at := range r.sent {
		for at.Sub(r.sent[from]) >= window {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// since counts the messages from a moment on.
func (r *relay) since(at time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.sent {
		if !s.Before(at) {
			n++
		}
	}
	return n
}

var account = Account{Host: "relay.example", Port: 587, Username: "mailer"}

// site is a task: its own Budgets, and workers as a lane has them.
type site struct {
	link  *link
	share *Share
	takes time.Duration // a message

	ctx     context.Context
	stop    context.CancelFunc
	workers sync.WaitGroup

	mu      sync.Mutex
	permits map[*Permit]struct{}
}

func newSite(cells store.Cells, caps Caps, cfg Config) *site {
	l := newLink(cells)
	s := &site{link: l, share: New(l, cfg).Open(account, caps), takes: 10 * time.Millisecond, permits: map[*Permit]struct{}{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// employ starts workers that send to the relay until the site ends.
func (s *site) employ(n int, r *relay) {
	for range n {
		s.workers.Go(func() {
			for s.session(s.ctx, r) == nil {
			}
		})
	}
}

// session is one connection, from its permit on until that is called back.
func (s *site) session(ctx context.Context, r *relay) error {
	p, err := s.share.Acquire(ctx)
	if err != nil {
		return err
	}
	s.note(p, true)
	for !p.isRevoked() && ctx.Err() == nil {
		s.send(ctx, p, r)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.note(p, false)
	p.Release()
	return nil
}

func (s *site) send(ctx context.Context, p *Permit, r *relay) {
	patience, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	switch {
	case errors.Is(p.Err(), ErrLapsed):
		_ = sleep(ctx, 100*time.Millisecond)
	case s.share.Spend(patience) != nil:
	case p.Err() != nil:
		s.share.Refund()
	default:
		r.message(ctx, s.takes)
	}
}

func (s *site) note(p *Permit, held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held {
		s.permits[p] = struct{}{}
	} else {
		delete(s.permits, p)
	}
}

// good is how many permits may be used now.
func (s *site) good() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for p := range s.permits {
		if p.Err() == nil {
			n++
		}
	}
	return n
}

// leave is a clean stop.
func (s *site) leave(ctx context.Context) {
	s.stop()
	s.workers.Wait()
	for p := range s.permits {
		p.Release()
		delete(s.permits, p)
	}
	s.share.Close(ctx)
}

// die stops at once and leaves everything as it is. What Close ends is the
// goroutine that a real death would end.
func (s *site) die() {
	s.link.cut()
	s.stop()
	s.workers.Wait()
	dead, cancel := context.WithCancel(context.Background())
	cancel()
	s.share.Close(dead)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.permits = map[*Permit]struct{}{}
}

// eventually fails unless the condition holds within d. It gives how long it took.
func eventually(t *testing.T, d time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > d {
			t.Fatalf("%s: not within %v", what, d)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}
