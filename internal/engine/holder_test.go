package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

const testLease = 10 * time.Second

// leases is a store.Work of which only these methods are called.
type leases struct {
	store.Work
	renew leaseWrite
	close func(ctx context.Context, held store.Lease, status campaign.Status) (store.Lease, error)
	get   func() store.Lease
}

func (l leases) RenewLease(ctx context.Context, held store.Lease) (store.Lease, error) {
	return l.renew(ctx, held)
}

func (l leases) CloseLease(ctx context.Context, held store.Lease, status campaign.Status) (store.Lease, error) {
	return l.close(ctx, held, status)
}

func (l leases) GetLease(context.Context, store.LeaseKey) (store.Lease, error) { return l.get(), nil }

// takenOver is a lease as another holder has it.
func takenOver() store.Lease { return store.Lease{Owner: "another", Fence: 2, Version: 9} }

func refuse(context.Context, store.Lease) (store.Lease, error) {
	return store.Lease{}, campaign.Errorf(campaign.CodeConflict, "changed meanwhile")
}

func moved(_ context.Context, held store.Lease) (store.Lease, error) {
	held.Version++
	return held, nil
}

func TestHolderRenewsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		h := newHolder(leases{renew: moved}, store.Lease{Version: 1}, time.Now(), testLease, cancel)
		go h.keep(ctx)
		for range 100 {
			time.Sleep(testLease / 2)
			if err := h.valid(); err != nil {
				t.Fatalf("a renewed lease: %v", err)
			}
		}
		cancel(nil)
		synctest.Wait()
		if v := h.current().Version; v < 100 || v > 200 {
			t.Errorf("%d renewals in 50 lease times", v)
		}
	})
}

func TestHolderStopsWhenTheStoreIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		var down atomic.Bool
		down.Store(true)
		h := newHolder(leases{renew: func(ctx context.Context, held store.Lease) (store.Lease, error) {
			if down.Load() {
				return store.Lease{}, campaign.Errorf(campaign.CodeUnavailable, "down")
			}
			return moved(ctx, held)
		}}, store.Lease{Version: 1}, time.Now(), testLease, cancel)
		go h.keep(ctx)
		time.Sleep(testLease - time.Millisecond)
		if err := h.valid(); err != nil {
			t.Errorf("before the deadline: %v", err)
		}
		time.Sleep(2 * time.Millisecond)
		if err := h.valid(); !errors.Is(err, errLeaseLost) {
			t.Errorf("past the deadline: %v; want errLeaseLost", err)
		}
		down.Store(false)
		time.Sleep(2 * storeRetryMax)
		if err := h.valid(); err != nil {
			t.Errorf("once the store is back and nobody has taken the lease: %v", err)
		}
	})
}

func TestHolderLosesALeaseTakenOver(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	h := newHolder(leases{get: takenOver}, store.Lease{Version: 1}, time.Now(), testLease, cancel)
	err := h.write(ctx, refuse)
	if !errors.Is(err, errLeaseLost) || !errors.Is(context.Cause(ctx), errLeaseLost) {
		t.Errorf("write: %v, cause: %v; want errLeaseLost", err, context.Cause(ctx))
	}
}

func TestHolderCountsTheDeadlineFromBeforeTheWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		h := newHolder(leases{}, store.Lease{}, time.Now(), testLease, cancel)
		began := time.Now()
		_ = h.write(ctx, func(ctx context.Context, held store.Lease) (store.Lease, error) {
			time.Sleep(4 * time.Second) // the store has it at once, the answer is slow
			return moved(ctx, held)
		})
		if got := h.deadline.Load().Sub(began); got != testLease {
			t.Errorf("the lease holds for %v from the write's begin; want %v", got, testLease)
		}
	})
}

func TestHolderAsksNoMoreOnceTheLeaseIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, lose := context.WithCancelCause(ctx)
		var asked atomic.Int64
		h := newHolder(leases{get: takenOver, renew: func(ctx context.Context, held store.Lease) (store.Lease, error) {
			asked.Add(1)
			return refuse(ctx, held)
		}}, store.Lease{}, time.Now(), testLease, lose)
		go h.keep(ctx)
		time.Sleep(testLease / 2)
		if err := h.valid(); !errors.Is(err, errLeaseLost) {
			t.Errorf("a lease known to be lost: %v; want errLeaseLost before its deadline", err)
		}
		time.Sleep(10 * testLease)
		if n := asked.Load(); n != 1 {
			t.Errorf("a lost lease was renewed %d times", n)
		}
	})
}

func TestHolderCountsFromTheFirstOfSeveralTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		h := newHolder(leases{}, store.Lease{}, time.Now(), testLease, cancel)
		began, tries := time.Now(), 0
		_ = h.write(ctx, func(ctx context.Context, held store.Lease) (store.Lease, error) {
			if tries++; tries == 1 {
				time.Sleep(5 * time.Second) // applied, and the answer lost
				return store.Lease{}, campaign.Errorf(campaign.CodeUnavailable, "no answer")
			}
			return moved(ctx, held)
		})
		if got := h.deadline.Load().Sub(began); got != testLease {
			t.Errorf("the lease holds for %v from the first try; want %v", got, testLease)
		}
	})
}

func TestHolderGoesOnAfterAnAbsorb(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	held := store.Lease{Owner: "me", Fence: 3, Version: 7}
	absorbed := held
	absorbed.Version, absorbed.Progress.Settled = 8, campaign.Bitmap{1}
	h := newHolder(leases{get: func() store.Lease { return absorbed }}, held, time.Now(), testLease, cancel)
	var seen []int64
	err := h.write(ctx, func(ctx context.Context, l store.Lease) (store.Lease, error) {
		seen = append(seen, l.Version)
		if l.Version == held.Version {
			return refuse(ctx, l)
		}
		return moved(ctx, l)
	})
	if err != nil || len(seen) != 2 || seen[1] != 8 || h.current().Version != 9 || !h.current().Progress.Settled.Has(0) {
		t.Errorf("write: %v, tried upon versions %v, lease now %+v; want it done again upon what the Absorb left", err, seen, h.current())
	}
	if h.valid() != nil || ctx.Err() != nil {
		t.Error("the lease is given up after an Absorb")
	}
}

func TestHolderKeepsALeaseWhoseCampaignGoesOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	held := store.Lease{Owner: "me", Fence: 3, Version: 7}
	h := newHolder(leases{
		get: func() store.Lease { return held },
		close: func(ctx context.Context, l store.Lease, _ campaign.Status) (store.Lease, error) {
			return refuse(ctx, l)
		},
	}, held, time.Now(), testLease, cancel)
	closed, err := h.close(ctx, campaign.StatusPaused)
	if closed || err != nil || h.valid() != nil || ctx.Err() != nil {
		t.Errorf("close: %v, %v, then valid: %v; want the lease still held", closed, err, h.valid())
	}
}
