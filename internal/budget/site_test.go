package budget

import (
	"context"
	"errors"
	"maps"
	"slices"
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

// total is how many messages there were.
func (r *relay) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent)
}

// peak is on how many connections messages were under way at the same time.
func (r *relay) peak() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.maxBusy
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

// order is in which order goroutines came by.
type order struct {
	mu   sync.Mutex
	came []int
}

func (o *order) note(i int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.came = append(o.came, i)
}

func (o *order) is(want ...int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Equal(o.came, want)
}

var account = Account{Host: "relay.example", Port: 587, Username: "mailer"}

// site is a task: its own Budgets, and workers as a lane has them.
type site struct {
	link  *link
	share *Share
	takes time.Duration // a message
	// patience is how long a worker waits for a message before it looks
	// whether its permit is still good.
	patience time.Duration

	working context.Context //nolint:containedctx // the site's lifetime
	stop    context.CancelFunc
	workers sync.WaitGroup

	mu      sync.Mutex
	permits map[*Permit]struct{}
}

func newSite(cells store.Cells, caps Caps, cfg Config) *site {
	l := newLink(cells)
	s := &site{
		link: l, share: New(l, cfg).Open(account, caps),
		takes: 10 * time.Millisecond, patience: 500 * time.Millisecond,
		permits: map[*Permit]struct{}{},
	}
	s.working, s.stop = context.WithCancel(context.Background())
	return s
}

// employ starts workers that send to the relay until the site ends.
func (s *site) employ(n int, r *relay) {
	for range n {
		s.workers.Go(func() {
			for s.working.Err() == nil {
				s.session(s.working, r)
			}
		})
	}
}

// session is one connection, from its permit on until that is called back.
func (s *site) session(ctx context.Context, r *relay) {
	p, err := s.share.Acquire(ctx, nil)
	if err != nil {
		return
	}
	s.note(p, true)
	for !p.isRevoked() && ctx.Err() == nil {
		s.send(ctx, p, r)
	}
	if ctx.Err() != nil {
		return // leave releases it, die does not
	}
	s.note(p, false)
	p.Release()
}

func (s *site) send(ctx context.Context, p *Permit, r *relay) {
	patience, cancel := context.WithTimeout(ctx, s.patience)
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

// held gives the permits.
func (s *site) held() []*Permit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.permits))
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
	for _, p := range s.held() {
		p.Release()
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
