package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// errLeaseLost is the cause of a context that ended because another task may
// hold the lease by now.
var errLeaseLost = errors.New("the lease is lost")

// errStillHeld: the store refused a write although the lease is as its holder
// has it. Only CloseLease has a condition besides the lease.
var errStillHeld = errors.New("the write was refused, and the lease is still held")

// Delays between tries of a write while the store is out of reach.
const (
	storeRetryMin = 50 * time.Millisecond
	storeRetryMax = 2 * time.Second
)

// holder keeps one lease: it puts the writes under it in order, repeats those
// that the store did not answer, and renews the lease in between.
type holder struct {
	work      store.Work
	leaseTime time.Duration
	// end ends the work under the lease, with the cause.
	end context.CancelCauseFunc

	mu    sync.Mutex // serialises writes
	lease store.Lease

	// deadline is on this process's monotonic clock: the last moment at which
	// no other task can have taken the lease over.
	deadline atomic.Pointer[time.Time]
}

// newHolder takes a lease that was acquired by a call that began at asked.
func newHolder(work store.Work, lease store.Lease, asked time.Time, leaseTime time.Duration, end context.CancelCauseFunc) *holder {
	h := &holder{work: work, leaseTime: leaseTime, end: end, lease: lease}
	h.extend(asked)
	return h
}

// hold takes an acquired lease and renews it until letGo. The context ends
// when nothing more must be started under it: its cause is errLeaseLost, what
// holder.end was called with, or the task's stop.
func (e *Engine) hold(lease store.Lease, asked time.Time) (ctx context.Context, h *holder, letGo func()) {
	ctx, end := context.WithCancelCause(e.feeding)
	h = newHolder(e.store, lease, asked, e.cfg.LeaseTime, end)
	keeping, stop := context.WithCancel(e.working)
	e.background.Go(func() { h.keep(keeping) })
	return ctx, h, func() {
		stop()
		end(nil)
	}
}

func (h *holder) extend(written time.Time) {
	deadline := written.Add(h.leaseTime)
	h.deadline.Store(&deadline)
}

// valid fails when another task may hold the lease.
func (h *holder) valid() error {
	if time.Now().After(*h.deadline.Load()) {
		return errLeaseLost
	}
	return nil
}

// lost says whether the lease is known to be lost.
func (h *holder) lost() bool { return h.deadline.Load().IsZero() }

// current gives the lease as of the last write.
func (h *holder) current() store.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lease
}

// leaseWrite is a method of store.Work that writes under a held lease.
type leaseWrite func(ctx context.Context, held store.Lease) (store.Lease, error)

// write does one write under the lease, again and again while the store is
// out of reach: what was acknowledged must be recorded, and the contract
// makes the repeated call safe. Where an Absorb has changed the lease
// meanwhile, op is called again with the lease as it is then. It returns
// errLeaseLost, errStillHeld, another fault of the store, or the context's
// error.
func (h *holder) write(ctx context.Context, op leaseWrite) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Of several tries the first may have been applied, and its answer lost:
	// others count from then.
	began := time.Now()
	for try := 1; ; try++ {
		lease, err := op(ctx, h.lease)
		if err == nil {
			h.lease = lease
			h.extend(began)
			return nil
		}
		if campaign.CodeOf(err) == campaign.CodeConflict {
			if err = h.adopt(ctx); err == nil {
				continue
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errStillHeld):
			return err
		case campaign.CodeOf(err) != campaign.CodeUnavailable && !errors.Is(err, context.DeadlineExceeded):
			h.giveUp(err)
			return err
		}
		if err := sleep(ctx, jitter(backoff(storeRetryMin, storeRetryMax, try))); err != nil {
			return err
		}
	}
}

// adopt reads the lease again after a refused write. It returns nil when the
// lease is still this holder's and has been changed by an Absorb;
// errStillHeld when it is unchanged; errLeaseLost.
func (h *holder) adopt(ctx context.Context) error {
	now, err := h.work.GetLease(ctx, h.lease.Key)
	switch {
	case err != nil && campaign.CodeOf(err) != campaign.CodeNotFound:
		return err
	case err != nil, now.Fence != h.lease.Fence, now.Owner != h.lease.Owner:
		return errLeaseLost
	case now.Version == h.lease.Version:
		return errStillHeld
	}
	h.lease = now
	return nil
}

// close shelves or ends the lease of a campaign that has the status. It says
// no, without an error, when the campaign has another status by now: then the
// lease is still held.
func (h *holder) close(ctx context.Context, status campaign.Status) (closed bool, err error) {
	err = h.write(ctx, func(ctx context.Context, held store.Lease) (store.Lease, error) {
		return h.work.CloseLease(ctx, held, status)
	})
	if errors.Is(err, errStillHeld) {
		return false, nil
	}
	return err == nil, err
}

// giveUp ends the right to send at once, then whatever else the lease allowed.
func (h *holder) giveUp(cause error) {
	h.deadline.Store(&time.Time{})
	h.end(cause)
}

// keep renews the lease until the context ends or the lease is lost.
func (h *holder) keep(ctx context.Context) {
	for sleep(ctx, h.untilRenewal()) == nil {
		if h.untilRenewal() <= 0 && h.write(ctx, h.renew) != nil {
			return
		}
	}
}

// renew leaves a lease alone that the last write has closed.
func (h *holder) renew(ctx context.Context, held store.Lease) (store.Lease, error) {
	if held.Closed {
		return held, nil
	}
	return h.work.RenewLease(ctx, held)
}

// untilRenewal: two thirds of the lease time remain for renewals that fail.
func (h *holder) untilRenewal() time.Duration {
	return time.Until(*h.deadline.Load()) - h.leaseTime*2/3
}

// sleep waits for d or the context's end, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
