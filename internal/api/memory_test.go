package api

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// client is a transfer whose client is at the same piece since at.
type client struct {
	at    time.Time
	onCut func()
	cuts  int
}

func (c *client) since() time.Time { return c.at }

func (c *client) cut() {
	c.cuts++
	if c.onCut != nil {
		go c.onCut()
	}
}

// TestMemoryOfStalledTransfers: whoever waits gets the memory of those who do
// not move on, after pressPatience and not before, and of nobody else.
func TestMemoryOfStalledTransfers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(100)
		stalled, brisk, ours := &client{at: time.Now()}, &client{}, &client{}
		own, ok := m.try(60, stalled)
		if !ok {
			t.Fatal("there is no memory at first")
		}
		stalled.onCut = own.release
		if _, ok := m.try(40, brisk); !ok || m.has(1) {
			t.Fatal("the memory is not 100")
		}
		began := time.Now()
		p, err := m.wait(t.Context(), 50, ours)
		if err != nil || stalled.cuts != 1 || brisk.cuts != 0 {
			t.Fatalf("%v; %d and %d times cut off", err, stalled.cuts, brisk.cuts)
		}
		if waited := time.Since(began); waited < pressPatience || waited > pressPatience+2*pressEvery {
			t.Errorf("waited %s", waited)
		}
		p.shrink(20)
		p.shrink(30) // is no way to more
		if !m.has(40) || m.has(41) {
			t.Error("what is not needed was not given back")
		}
		p.release()

		brisk.at = time.Now() // stalls from now on, and takes its time to end
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.wait(ctx, 90, ours); !errors.Is(err, context.DeadlineExceeded) || brisk.cuts != 0 {
			t.Errorf("%v; cut off %d times before its time", err, brisk.cuts)
		}
		time.Sleep(pressPatience)
		if _, ok := m.try(90, ours); ok || brisk.cuts != 1 {
			t.Errorf("given %t; cut off %d times", ok, brisk.cuts)
		}
	})
}
