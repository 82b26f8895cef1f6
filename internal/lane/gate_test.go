package lane

import (
	"testing"
	"testing/synctest"
	"time"
)

// openGate is a gate whose first probe has succeeded.
func openGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{}
	if probe, ok := g.try(); !probe || !ok {
		t.Fatalf("the first message is not a probe: %v, %v", probe, ok)
	}
	g.succeed()
	return g
}

func TestGateLetsOneProbeThroughAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		if probe, ok := g.try(); probe || !ok {
			t.Fatalf("an open gate: probe %v, %v", probe, ok)
		}
		wait, counts := g.fail(false)
		since := g.since
		time.Sleep(time.Millisecond)
		if _, again := g.fail(false); g.open || !counts || again || !g.since.Equal(since) {
			t.Fatal("the gate is open after a failure, or a message that was under way told something new")
		}
		if _, ok := g.try(); ok || g.passable() {
			t.Fatal("a closed gate let a message pass at once")
		}
		time.Sleep(wait)
		if probe, ok := g.try(); !probe || !ok {
			t.Fatal("no probe was let through in time")
		}
		if _, ok := g.try(); ok || g.passable() {
			t.Fatal("a second probe was let through")
		}
		g.succeed()
		if probe, ok := g.try(); probe || !ok || g.failures != 0 {
			t.Error("messages do not pass once the probe has succeeded")
		}
	})
}

func TestGateDelaysGrowAndAreCapped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		wait, _ := g.fail(false)
		since := g.since
		var delays []time.Duration
		for range 10 {
			began := time.Now()
			time.Sleep(wait)
			if probe, ok := g.try(); !probe || !ok {
				t.Fatalf("probe %v, %v after the wait", probe, ok)
			}
			delays = append(delays, time.Since(began))
			if wait, _ = g.fail(true); !g.since.Equal(since) {
				t.Errorf("the trouble began at %v, and at %v", since, g.since)
			}
		}
		if first := delays[0]; first < gateMin*3/4 || first > gateMin*5/4 {
			t.Errorf("first delay %v", first)
		}
		if last := delays[9]; last < gateMax*3/4 || last > gateMax*5/4 {
			t.Errorf("delay after ten failures %v; want about %v", last, gateMax)
		}
	})
}

func TestGateTakesBackAProbeThatFoundOutNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		wait, _ := g.fail(false)
		time.Sleep(wait)
		probe, _ := g.try()
		g.abandon(false) // of a message that was no probe
		if g.passable() {
			t.Error("an ordinary message gave the probe back")
		}
		g.abandon(probe)
		if again, ok := g.try(); !again || !ok {
			t.Errorf("after an abandoned probe: probe %v, %v", again, ok)
		}
	})
}
