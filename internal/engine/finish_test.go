package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// countStub stands before a store's CountSent.
type countStub struct {
	store.Store

	before func(ctx context.Context) error
	after  func() error
}

func (s *countStub) CountSent(ctx context.Context, campaignID string, sent store.Sent) error {
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return err
		}
	}
	err := s.Store.CountSent(ctx, campaignID, sent)
	if err == nil && s.after != nil {
		return s.after()
	}
	return err
}

// on gives rig options for several tasks on a store with the stub before it.
func (s *countStub) on(leaseTime time.Duration) rigOptions {
	return rigOptions{
		shared: true,
		config: func(c *Config) { c.LeaseTime = leaseTime },
		wrap: func(inner store.Store) store.Store {
			s.Store = inner
			return s
		},
	}
}

// counted fails the test unless the statistics of n contacts have one message
// of the campaign each.
func (r *rig) counted(t *testing.T, id string, n int) {
	t.Helper()
	keys := make([]string, n)
	for i := range keys {
		keys[i] = campaign.Key(address(i))
	}
	contacts, err := r.store.GetContacts(t.Context(), keys)
	if err != nil || len(contacts) != n {
		t.Fatalf("%d contacts of %d, %v", len(contacts), n, err)
	}
	for _, c := range contacts {
		if c.EmailCount != 1 || c.LastCampaign != id {
			t.Errorf("%s was counted %d times, last for %q; want once for %q", c.Address, c.EmailCount, c.LastCampaign, id)
		}
	}
}

// TestFinishSlowStatistics: statistics may take longer than a lease lasts, and
// the tasks do not take the chunk from each other for that. A task may notice
// after two lease times only that a lease has run out.
func TestFinishSlowStatistics(t *testing.T) {
	t.Parallel()
	const leaseTime = time.Second
	stub := &countStub{before: func(ctx context.Context) error { return sleep(ctx, 3*leaseTime) }}
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
	r.counted(t, id, 3)
	lease, err := r.store.GetLease(t.Context(), store.LeaseKey{CampaignID: id, Number: 1})
	if err != nil || lease.Fence != 1 {
		t.Errorf("the chunk was taken up %d times, %v; want once", lease.Fence, err)
	}
}

// TestFinishOutOfReach: a call that the store did not answer is made again,
// whether it was applied or not, and what comes after it is made too.
func TestFinishOutOfReach(t *testing.T) {
	t.Parallel()
	refused, lost := 0, 0
	stub := &countStub{
		before: func(context.Context) error {
			if refused++; refused == 1 {
				return errUnavailable()
			}
			return nil
		},
		after: func() error {
			if lost++; lost == 1 {
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
	if want := people/countAtOnce + 3; refused != want {
		t.Errorf("%d calls; want %d", refused, want)
	}
}

// TestFinishLostLease: whoever has lost the lease leaves the statistics to its
// new holder, though the store is still out of reach for them.
func TestFinishLostLease(t *testing.T) {
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
	key := store.LeaseKey{CampaignID: id, Number: 1}
	r.steal(t, key)
	r.await(t, id, "the task to let the chunk go", func(Report) bool { return !r.claims.holds(key) })
	close(back)
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.counted(t, id, 3)
}

// steal takes a lease that is held, for an owner who does nothing with it.
func (r *rig) steal(t *testing.T, key store.LeaseKey) {
	t.Helper()
	for {
		seen, err := r.store.GetLease(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.store.AcquireLease(t.Context(), seen, "a thief")
		if err == nil {
			return
		}
		if campaign.CodeOf(err) != campaign.CodeConflict { // renewed in between
			t.Fatal(err)
		}
	}
}
