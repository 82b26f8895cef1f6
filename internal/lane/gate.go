package lane

import (
	"math/rand/v2"
	"time"
)

// Delays between the probes of a relay that does not answer.
const (
	gateMin = time.Second
	gateMax = time.Minute
	// parkAfter is how many probes fail in a row before sources that only
	// wait should give their places to other relays'.
	parkAfter = 3
)

// gate stands before a relay. It is closed at first, so that wrong
// credentials are tried once and not on every connection, and again while the
// relay as a whole is in trouble. A closed gate lets one probe at a time
// through, with growing delays between failed ones.
//
// It is used under the lane's lock. Time is the monotonic clock's.
type gate struct {
	open     bool
	probing  bool
	failures int       // in a row
	since    time.Time // of the first of them
	nextAt   time.Time // the next probe's time
}

// try says whether a message may be sent now. As a probe it stands for all:
// its holder must let succeed, fail or abandon follow.
func (g *gate) try() (probe, ok bool) {
	if g.open {
		return false, true
	}
	if !g.passable() {
		return false, false
	}
	g.probing = true
	return true, true
}

// passable says what try would.
func (g *gate) passable() bool {
	return g.open || !g.probing && time.Until(g.nextAt) <= 0
}

// succeed opens the gate.
func (g *gate) succeed() {
	if !g.open {
		*g = gate{open: true}
	}
}

// fail closes the gate, or keeps it closed for longer after a probe, until
// wait is over. Messages that were under way when it closed tell nothing new:
// counts is false.
func (g *gate) fail(probe bool) (wait time.Duration, counts bool) {
	if !g.open && !probe {
		return 0, false
	}
	now := time.Now()
	if g.failures == 0 {
		g.since = now
	}
	g.failures++
	g.open, g.probing = false, false
	wait = jitter(backoff(gateMin, gateMax, g.failures))
	g.nextAt = now.Add(wait)
	return wait, true
}

// abandon gives a probe back that found out nothing.
func (g *gate) abandon(probe bool) {
	if probe {
		g.probing = false
	}
}

// backoff is least doubled n-1 times, at most most.
func backoff(least, most time.Duration, n int) time.Duration {
	d := least
	for i := 1; i < n && d < most; i++ {
		d *= 2
	}
	return min(d, most)
}

// jitter spreads d over [3/4, 5/4), so that tasks do not probe together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + rand.Float64()/2)) //nolint:gosec // G404: spreading needs no secrecy
}
