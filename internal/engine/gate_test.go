package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestGateLetsOneProbeThroughAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		if probe, err := g.pass(t.Context()); probe || err != nil {
			t.Fatalf("an open gate: probe %v, %v", probe, err)
		}
		since := g.fail(false)
		time.Sleep(time.Millisecond)
		if g.isOpen() || !g.fail(false).Equal(since) {
			t.Fatal("the gate is open after a failure, or a message that was under way told something new")
		}
		passed := make(chan bool, 3)
		for range 3 {
			go func() {
				probe, err := g.pass(t.Context())
				if err != nil {
					t.Error(err)
				}
				passed <- probe
			}()
		}
		time.Sleep(2 * gateMin)
		synctest.Wait()
		if len(passed) != 1 || !<-passed {
			t.Fatal("not exactly one probe was let through")
		}
		g.succeed()
		synctest.Wait()
		if len(passed) != 2 || <-passed || <-passed {
			t.Error("the others did not pass as ordinary messages once the probe had succeeded")
		}
	})
}

// openGate is a gate whose first probe has succeeded.
func openGate(t *testing.T) *gate {
	t.Helper()
	g := newGate()
	if probe, err := g.pass(t.Context()); !probe || err != nil {
		t.Fatalf("the first message is not a probe: %v, %v", probe, err)
	}
	g.succeed()
	return g
}

func TestGateDelaysGrowAndAreCapped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		since := g.fail(false)
		var delays []time.Duration
		for range 10 {
			began := time.Now()
			probe, err := g.pass(t.Context())
			if !probe || err != nil {
				t.Fatalf("probe %v, %v", probe, err)
			}
			delays = append(delays, time.Since(began))
			if again := g.fail(true); !again.Equal(since) {
				t.Errorf("the trouble began at %v, and at %v", since, again)
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

func TestGateGivesUpWaitingWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		g.fail(false)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := g.pass(ctx); err == nil {
			t.Error("a closed gate let a message pass at once")
		}
	})
}

func TestGateTakesBackAProbeThatFoundOutNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		g.fail(false)
		probe, _ := g.pass(t.Context())
		g.abandon(probe)
		if again, err := g.pass(t.Context()); !again || err != nil {
			t.Errorf("after an abandoned probe: probe %v, %v", again, err)
		}
	})
}
