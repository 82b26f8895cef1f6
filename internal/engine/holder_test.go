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

// renewals is a store.Work of which only RenewLease is called.
type renewals struct {
	store.Work
	renew leaseWrite
}

func (r renewals) RenewLease(ctx context.Context, held store.Lease) (store.Lease, error) {
	return r.renew(ctx, held)
}

func moved(_ context.Context, held store.Lease) (store.Lease, error) {
	held.Version++
	return held, nil
}

func TestHolderRenewsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		h := newHolder(store.Lease{Version: 1}, time.Now(), testLease, cancel)
		go h.keep(ctx, renewals{renew: moved})
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
		h := newHolder(store.Lease{Version: 1}, time.Now(), testLease, cancel)
		go h.keep(ctx, renewals{renew: func(ctx context.Context, held store.Lease) (store.Lease, error) {
			if down.Load() {
				return store.Lease{}, campaign.Errorf(campaign.CodeUnavailable, "down")
			}
			return moved(ctx, held)
		}})
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
	h := newHolder(store.Lease{Version: 1}, time.Now(), testLease, cancel)
	err := h.write(ctx, func(context.Context, store.Lease) (store.Lease, error) {
		return store.Lease{}, campaign.Errorf(campaign.CodeConflict, "another fence")
	})
	if !errors.Is(err, errLeaseLost) || !errors.Is(context.Cause(ctx), errLeaseLost) {
		t.Errorf("write: %v, cause: %v; want errLeaseLost", err, context.Cause(ctx))
	}
}

func TestHolderCountsTheDeadlineFromBeforeTheWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		h := newHolder(store.Lease{}, time.Now(), testLease, cancel)
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
		h := newHolder(store.Lease{}, time.Now(), testLease, lose)
		var asked atomic.Int64
		go h.keep(ctx, renewals{renew: func(context.Context, store.Lease) (store.Lease, error) {
			asked.Add(1)
			return store.Lease{}, campaign.Errorf(campaign.CodeConflict, "another fence")
		}})
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
		h := newHolder(store.Lease{}, time.Now(), testLease, cancel)
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
