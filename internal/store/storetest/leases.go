package storetest

import (
	"context"
	"fmt"
	"sync"

	"postern/internal/campaign"
	"postern/internal/store"
)

func leaseTests() []test {
	return []test{
		{"leases/way of a lease", testLeaseWay},
		{"leases/acquire refuses what changed", testAcquireStale},
		{"leases/race for one lease", testAcquireRace},
		{"leases/race of one holder", testHolderRace},
		{"leases/the same call again", testSameCallAgain},
		{"leases/another call with the same lease", testOtherCall},
		{"leases/a newer fence", testNewerFence},
		{"leases/closed", testClosedLease},
		{"leases/closed for a status", testCloseStatus},
		{"leases/closed again", testCloseAgain},
	}
}

// next is a lease after a write by its holder.
func next(l store.Lease) store.Lease {
	l.Version++
	return l
}

func testLeaseWay(k kit) {
	key := store.LeaseKey{CampaignID: k.start().ID}
	ctx, free, me := k.Context(), k.lease(key), owner()
	if free.Owner != "" || free.Closed {
		k.Fatalf("the lease of a new campaign is not free: %+v", free)
	}
	want := next(free)
	want.Owner, want.Fence, want.DueAt = me, free.Fence+1, store.HeldDue
	step := func(got store.Lease, err error, call string) {
		k.Helper()
		k.ok(err, call)
		k.same(got, want, call)
		k.same(k.lease(key), want, "GetLease after "+call)
	}
	held, err := k.s.AcquireLease(ctx, free, me)
	step(held, err, "AcquireLease")
	for range 3 {
		want = next(want)
		held, err = k.s.RenewLease(ctx, held)
		step(held, err, "RenewLease")
	}
	want = next(want)
	want.Owner, want.DueAt = "", k.later(30)
	held, err = k.s.ReleaseLease(ctx, held, k.later(30))
	step(held, err, "ReleaseLease")

	want = next(want)
	want.Owner, want.Fence, want.DueAt = owner(), want.Fence+1, store.HeldDue
	held, err = k.s.AcquireLease(ctx, held, want.Owner)
	step(held, err, "AcquireLease of a released lease")

	want = next(want)
	want.Owner, want.Fence = owner(), want.Fence+1
	held, err = k.s.AcquireLease(ctx, held, want.Owner)
	step(held, err, "AcquireLease of another's lease, seen as it is")
}

func testAcquireStale(k kit) {
	key := store.LeaseKey{CampaignID: k.start().ID}
	free := k.lease(key)
	held := k.hold(key)
	_, err := k.s.AcquireLease(k.Context(), free, owner())
	k.fails(err, campaign.CodeConflict, "AcquireLease of a lease that another took meanwhile")
	renewed, err := k.s.RenewLease(k.Context(), held)
	k.ok(err, "RenewLease")
	_, err = k.s.AcquireLease(k.Context(), held, owner())
	k.fails(err, campaign.CodeConflict, "AcquireLease of a lease whose holder lives")
	k.same(k.lease(key), renewed, "the lease after refused acquisitions")

	_, err = k.s.AcquireLease(k.Context(), store.Lease{Key: store.LeaseKey{CampaignID: key.CampaignID, Number: 7}}, owner())
	k.fails(err, campaign.CodeNotFound, "AcquireLease of a chunk that is not there")
	_, err = k.s.GetLease(k.Context(), store.LeaseKey{CampaignID: key.CampaignID, Number: 7})
	k.fails(err, campaign.CodeNotFound, "GetLease of a chunk that is not there")
}

func testAcquireRace(k kit) {
	key := store.LeaseKey{CampaignID: k.start().ID}
	for range 5 {
		seen := k.lease(key)
		won := k.race(8, func(ctx context.Context) (store.Lease, error) {
			return k.s.AcquireLease(ctx, seen, owner())
		})
		if won.Fence != seen.Fence+1 || won.Version != seen.Version+1 {
			k.Fatalf("the winner has %+v after %+v", won, seen)
		}
		k.same(k.lease(key), won, "the lease after the race")
	}
}

// race makes n different calls at once, of which exactly one must succeed.
func (k kit) race(n int, call func(context.Context) (store.Lease, error)) store.Lease {
	k.Helper()
	var mu sync.Mutex
	var won []store.Lease
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			l, err := call(k.Context())
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, l)
			case campaign.CodeOf(err) != campaign.CodeConflict:
				k.Errorf("a loser's error is %v, want code %s", err, campaign.CodeConflict)
			}
		})
	}
	group.Wait()
	if len(won) != 1 {
		k.Fatalf("%d of %d racing calls succeeded, want 1: %+v", len(won), n, won)
	}
	return won[0]
}

// testHolderRace: different writes under one version exclude each other.
func testHolderRace(k kit) {
	key := store.LeaseKey{CampaignID: k.start().ID}
	held := k.hold(key)
	seconds := make(chan int, 8)
	for i := range cap(seconds) {
		seconds <- i
	}
	won := k.race(cap(seconds), func(ctx context.Context) (store.Lease, error) {
		return k.s.ReleaseLease(ctx, held, k.later(<-seconds))
	})
	k.same(k.lease(key), won, "the lease after the race")
}

// call is a lease method with its arguments, to be made more than once.
type call struct {
	name string
	make func(ctx context.Context, held store.Lease) (store.Lease, error)
}

func (k kit) commonCalls() []call {
	return []call{
		{"RenewLease", k.s.RenewLease},
		{"ReleaseLease", func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return k.s.ReleaseLease(ctx, held, k.later(12))
		}},
		{"CloseLease", func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return k.s.CloseLease(ctx, held, campaign.StatusPending)
		}},
	}
}

func (k kit) controlCalls() []call {
	return append(k.commonCalls(),
		call{"AddChunk", func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return k.s.AddChunk(ctx, held, store.Chunk{Size: 10, Packed: []byte("packed"), DueAt: k.at}, "c")
		}},
		call{"FinishFreeze", k.s.FinishFreeze})
}

func (k kit) chunkCalls() []call {
	return append(k.commonCalls(),
		call{"Checkpoint", func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return k.s.Checkpoint(ctx, held, k.checkpoint(10, 0, 4, campaign.DeliverySent))
		}},
		call{"Checkpoint that finishes", func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return k.s.Checkpoint(ctx, held, k.lastCheckpoint(10, 6, campaign.DeliveryFailed))
		}},
		call{"FinishChunk", k.s.FinishChunk})
}

// eachCall runs a test for every lease method, with a lease that it may be
// called with.
func (k kit) eachCall(run func(c call, calls []call, held store.Lease)) {
	k.Helper()
	for _, c := range k.controlCalls() {
		run(c, k.controlCalls(), k.chunked(5))
	}
	for _, c := range k.chunkCalls() {
		control := k.chunked(10)
		run(c, k.chunkCalls(), k.hold(store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 1}))
	}
}

// state is what a repeated call must not change.
func (k kit) state(key store.LeaseKey) string {
	k.Helper()
	chunk := store.LeaseKey{CampaignID: key.CampaignID, Number: 1}
	rows, err := k.s.Deliveries(k.Context(), chunk)
	k.ok(err, "Deliveries")
	totals := k.totals(key.CampaignID)
	return fmt.Sprintf("%+v\n%+v\n%+v", normal(k.lease(key)), normal(rows), normal(totals))
}

// testSameCallAgain: a write whose answer was lost is made again and is
// recognised.
func testSameCallAgain(k kit) {
	k.eachCall(func(c call, _ []call, held store.Lease) {
		first, err := c.make(k.Context(), held)
		k.ok(err, c.name)
		k.same(k.lease(held.Key), first, "the lease after "+c.name)
		before := k.state(held.Key)
		for range 2 {
			again, err := c.make(k.Context(), held)
			k.ok(err, c.name+" with the same lease again")
			k.same(again, first, "what the repeated "+c.name+" returned")
		}
		if after := k.state(held.Key); after != before {
			k.Fatalf("a repeated %s changed\n%s\nto\n%s", c.name, before, after)
		}
	})
	key := store.LeaseKey{CampaignID: k.start().ID}
	seen, me := k.lease(key), owner()
	first, err := k.s.AcquireLease(k.Context(), seen, me)
	k.ok(err, "AcquireLease")
	again, err := k.s.AcquireLease(k.Context(), seen, me)
	k.ok(err, "the same AcquireLease again")
	k.same(again, first, "what the repeated AcquireLease returned")
}

// testOtherCall: a write that moved the version on is not taken for a
// different one that comes with the same lease.
func testOtherCall(k kit) {
	k.eachCall(func(c call, calls []call, held store.Lease) {
		after, err := c.make(k.Context(), held)
		k.ok(err, c.name)
		totals := k.totals(held.Key.CampaignID)
		for _, other := range calls {
			if other.name == c.name {
				continue
			}
			_, err = other.make(k.Context(), held)
			k.fails(err, campaign.CodeConflict, other.name+" with the lease as it was before "+c.name)
		}
		k.same(k.lease(held.Key), after, "the lease after refused calls")
		k.same(k.totals(held.Key.CampaignID), totals, "totals after refused calls")
	})
	held := k.chunk(10)
	_, err := k.s.Checkpoint(k.Context(), held, k.checkpoint(10, 0, 4, campaign.DeliverySent))
	k.ok(err, "Checkpoint")
	_, err = k.s.Checkpoint(k.Context(), held, k.checkpoint(10, 0, 5, campaign.DeliverySent))
	k.fails(err, campaign.CodeConflict, "another Checkpoint with the same lease")
	k.same(k.tallied(held.Key.CampaignID), campaign.Totals{Total: 10, Sent: 4, Chunks: 1, UpdatedAt: k.at}, "totals")
}

// testNewerFence: whoever lost the lease writes nothing, not even with a
// call that had succeeded.
func testNewerFence(k kit) {
	k.eachCall(func(c call, _ []call, held store.Lease) {
		newer := k.hold(held.Key)
		before := k.totals(held.Key.CampaignID)
		_, err := c.make(k.Context(), held)
		k.fails(err, campaign.CodeConflict, c.name+" of the former holder")
		k.same(k.lease(held.Key), newer, "the new holder's lease after "+c.name+" of the former")
		k.same(k.totals(held.Key.CampaignID), before, "totals after "+c.name+" of the former holder")
	})
}

func testClosedLease(k kit) {
	held := k.hold(store.LeaseKey{CampaignID: k.start().ID})
	closed, err := k.s.CloseLease(k.Context(), held, campaign.StatusPending)
	k.ok(err, "CloseLease")
	if !closed.Closed || !closed.DueAt.IsZero() || closed.Version != held.Version+1 || closed.Fence != held.Fence {
		k.Fatalf("closed lease is %+v after %+v", closed, held)
	}
	k.same(k.lease(held.Key), closed, "GetLease of a closed lease")
	for _, seen := range []store.Lease{held, closed} {
		_, err = k.s.AcquireLease(k.Context(), seen, owner())
		k.fails(err, campaign.CodeConflict, "AcquireLease of a closed lease")
	}
	k.same(k.lease(held.Key), closed, "a closed lease after refused acquisitions")
}

// testCloseStatus closes a lease under the condition that the campaign's
// status is the given one: when it has moved on, the lease is held as before.
func testCloseStatus(k kit) {
	for _, number := range []int{0, 1} {
		control := k.chunked(3)
		id := control.Key.CampaignID
		held := control
		if number > 0 {
			held = k.hold(store.LeaseKey{CampaignID: id, Number: number})
		}
		for _, other := range []campaign.Status{campaign.StatusPaused, campaign.StatusInProgress, campaign.StatusFailed} {
			_, err := k.s.CloseLease(k.Context(), held, other)
			k.fails(err, campaign.CodeConflict, fmt.Sprintf("CloseLease for a %s campaign that is pending", other))
			k.same(k.lease(held.Key), held, "the lease after a refused CloseLease")
		}
		k.transition(id, store.Transition{To: campaign.StatusCancelled, At: k.later(1)})
		_, err := k.s.CloseLease(k.Context(), held, campaign.StatusPending)
		k.fails(err, campaign.CodeConflict, "CloseLease for a pending campaign that is cancelled")
		held, err = k.s.RenewLease(k.Context(), held)
		k.ok(err, "RenewLease after a refused CloseLease")
		closed, err := k.s.CloseLease(k.Context(), held, campaign.StatusCancelled)
		k.ok(err, "CloseLease")
		k.same(k.lease(held.Key), closed, "the closed lease")
	}
}

// testCloseAgain repeats a CloseLease whose answer was lost after the
// campaign was resumed: it is recognised while the lease is as it made it, and
// refused once it is open again.
func testCloseAgain(k kit) {
	control := k.chunked(2)
	id := control.Key.CampaignID
	held := k.hold(store.LeaseKey{CampaignID: id, Number: 1})
	k.pause(id)
	closed, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
	k.ok(err, "CloseLease")
	k.restart(id, k.resumption(10))
	again, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
	k.ok(err, "the same CloseLease again after a Restart")
	k.same(again, closed, "what the repeated CloseLease returned")

	_, err = k.s.ReopenChunk(k.Context(), k.hold(control.Key), k.later(10))
	k.ok(err, "ReopenChunk")
	open := k.lease(held.Key)
	_, err = k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
	k.fails(err, campaign.CodeConflict, "the same CloseLease after ReopenChunk")
	k.same(k.lease(held.Key), open, "the chunk that was reopened")
}
