package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// TestAccountsSlow: statistics may take longer than a lease lasts, and the
// tasks do not take the control lease from each other for that.
func TestAccountsSlow(t *testing.T) {
	t.Parallel()
	const leaseTime = 6 * time.Second // renewed by thirds: far more than a slow machine keeps a renewal waiting
	counting := make(chan struct{}, 1)
	stub := &countStub{before: func(ctx context.Context) error {
		select {
		case counting <- struct{}{}:
		default: // the test knows
		}
		return sleep(ctx, leaseTime*3/2)
	}}
	r := newRig(t, stub.on(leaseTime))
	runTask(t, r.Engine)
	for n := range 2 {
		cfg := r.cfg
		cfg.Owner = fmt.Sprint("another task ", n)
		runTask(t, newTask(t, r.store, cfg))
	}
	r.contacts(t, 3)
	id := r.submit(t, letter())
	r.awaitStatus(t, id, campaign.StatusCompleted)
	<-counting // the lease may have changed hands before
	key := store.LeaseKey{CampaignID: id}
	before, err := r.store.GetLease(t.Context(), key)
	if err != nil || before.Owner == "" {
		t.Errorf("the control lease of whoever counts is %+v, %v", before, err)
	}
	r.counted(t, id, 3)
	if after, err := r.store.GetLease(t.Context(), key); err != nil || after.Fence != before.Fence {
		t.Errorf("the control lease was taken up %d times, %v; want %d", after.Fence, err, before.Fence)
	}
}

// TestAccountsOutOfReach: a call that the store did not answer is made again,
// whether it was applied or not, and what comes after it is made too.
func TestAccountsOutOfReach(t *testing.T) {
	t.Parallel()
	var calls, answered atomic.Int64
	stub := &countStub{
		before: func(context.Context) error {
			if calls.Add(1) == 1 {
				return errUnavailable()
			}
			return nil
		},
		after: func() error {
			if answered.Add(1) == 1 {
				return errUnavailable()
			}
			return nil
		},
	}
	r := newRig(t, stub.on(time.Minute))
	runTask(t, r.Engine)
	const people = 2*countAtOnce + 1
	r.contacts(t, people)
	id := r.submit(t, letter())
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.counted(t, id, people)
	if want := int64(people/countAtOnce + 3); calls.Load() != want {
		t.Errorf("%d calls; want %d", calls.Load(), want)
	}
}

// TestAccountsLostLease: whoever has lost the control lease leaves the rest to
// its new holder, though the store is still out of reach for it.
func TestAccountsLostLease(t *testing.T) {
	t.Parallel()
	called, back := make(chan struct{}, 1), make(chan struct{})
	stub := &countStub{before: func(context.Context) error {
		select {
		case called <- struct{}{}:
		default: // the test has not looked since
		}
		select {
		case <-back:
			return nil
		default:
			return errUnavailable()
		}
	}}
	r := newRig(t, stub.on(time.Second))
	runTask(t, r.Engine)
	r.contacts(t, 3)
	id := r.submit(t, letter())
	<-called
	key := store.LeaseKey{CampaignID: id}
	stolen := r.steal(t, key)
	r.await(t, id, "the task to let the control lease go", func(Report) bool {
		lease, err := r.store.GetLease(t.Context(), key)
		return !r.claims.holds(key) || err == nil && lease.Fence > stolen.Fence // it has, and has taken it over since
	})
	close(back)
	r.counted(t, id, 3)
}

// TestAccountsAfterCrash cuts a task off at each of its calls in turn, before
// and behind it, and has another one go on.
func TestAccountsAfterCrash(t *testing.T) {
	t.Parallel()
	const people = 2*countAtOnce + 1
	for dies := range people/countAtOnce + 1 {
		for _, applied := range []bool{false, true} {
			t.Run(fmt.Sprintf("at call %d, applied %v", dies+1, applied), func(t *testing.T) {
				t.Parallel()
				var calls atomic.Int64
				var first *Engine
				dead := make(chan struct{})
				die := func() error {
					if calls.Add(1) != int64(dies+1) {
						return nil
					}
					first.stopFeeding()
					first.stopWorking()
					close(dead)
					return errUnavailable()
				}
				stub := &countStub{}
				if applied {
					stub.after = die
				} else {
					stub.before = func(context.Context) error { return die() }
				}
				r := newRig(t, stub.on(time.Second))
				first = r.Engine
				runUntilDead(t, first)
				r.contacts(t, people)
				id := r.submit(t, letter())
				<-dead
				cfg := r.cfg
				cfg.Owner = "the next task"
				runTask(t, newTask(t, r.store, cfg))
				r.counted(t, id, people)
			})
		}
	}
}

// runUntilDead runs a task that the test cuts off, and waits for what is left of
// it at the test's end.
func runUntilDead(t *testing.T, e *Engine) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}
