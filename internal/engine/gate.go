package engine

import (
	"context"
	"sync"
	"time"
)

// Delays between the probes of a relay that does not answer.
const (
	gateMin = time.Second
	gateMax = time.Minute
	// parkAfter is how many probes fail before chunks that only wait give
	// their places back.
	parkAfter = 3
)

// gate stands before a relay. It is closed at first, so that wrong
// credentials are tried once and not on every connection, and again while the
// relay as a whole is in trouble. A closed gate lets one probe at a time
// through, with growing delays between failed ones.
type gate struct {
	mu       sync.Mutex
	open     bool
	failures int       // in a row
	since    time.Time // of the first of them
	nextAt   time.Time
	probing  bool
	changed  chan struct{} // closed at each change
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

// pass waits until a message may be tried, or the context's end. probe says
// that this one stands for all: its holder must call succeed, fail or abandon.
func (g *gate) pass(ctx context.Context) (probe bool, err error) {
	for {
		probe, wait, changed := g.try()
		if wait == 0 {
			return probe, ctx.Err()
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false, ctx.Err()
		case <-timer.C:
		case <-changed:
			timer.Stop()
		}
	}
}

// try gives wait 0 when the caller may go on.
func (g *gate) try() (probe bool, wait time.Duration, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open {
		return false, 0, nil
	}
	wait = time.Until(g.nextAt)
	if wait > 0 || g.probing {
		return false, max(wait, gateMin), g.changed
	}
	g.probing = true
	return true, 0, nil
}

// succeed opens the gate.
func (g *gate) succeed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open {
		return
	}
	g.open, g.failures, g.probing = true, 0, false
	g.announce()
}

// fail closes the gate, or keeps it closed for longer after a probe. Messages
// that were under way when it closed tell nothing new. It says since when the
// relay has been in trouble.
func (g *gate) fail(probe bool) (since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.open && !probe {
		return g.since
	}
	now := time.Now()
	if g.failures == 0 {
		g.since = now
	}
	g.failures++
	g.open, g.probing = false, false
	g.nextAt = now.Add(jitter(backoff(gateMin, gateMax, g.failures)))
	g.announce()
	return g.since
}

func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// troubled says whether probes have failed repeatedly, and how long it is
// until the next one.
func (g *gate) troubled() (wait time.Duration, is bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(time.Until(g.nextAt), gateMin), g.failures >= parkAfter
}

// abandon gives a probe back that found out nothing.
func (g *gate) abandon(probe bool) {
	if !probe {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probing = false
	g.announce()
}

func (g *gate) announce() {
	close(g.changed)
	g.changed = make(chan struct{})
}
