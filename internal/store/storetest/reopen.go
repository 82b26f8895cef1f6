package storetest

import (
	"fmt"

	"postern/internal/campaign"
	"postern/internal/store"
)

func reopenTests() []test {
	return []test{
		{"reopen/a retry of finished chunks", testReopenFinished},
		{"reopen/shelved chunks", testReopenShelved},
		{"reopen/a retry that is shelved", testReopenRetry},
		{"reopen/open chunks", testReopenOpen},
		{"reopen/no chunks", testReopenNoChunks},
		{"reopen/an interrupted retry", testReopenInterrupted},
		{"reopen/a shelved chunk that Absorb has settled", testReopenAbsorbed},
		{"reopen/the same call again", testReopenAgain},
	}
}

// finish records a result of each recipient, in the order of the states, and
// finishes the chunk.
func (k kit) finish(key store.LeaseKey, states ...campaign.DeliveryState) {
	k.Helper()
	held := k.hold(key)
	cp := store.Checkpoint{Progress: held.Progress.Clone()}
	if len(cp.Progress.Settled) == 0 {
		cp.Progress.Settled = campaign.NewBitmap(held.Size)
	}
	for i, state := range states {
		if !cp.Progress.Settled.Has(i) {
			cp.Progress.Settled.Add(i)
			cp.Deliveries = append(cp.Deliveries, k.delivery(i, state))
		}
	}
	held, err := k.s.Checkpoint(k.Context(), held, cp)
	k.ok(err, "Checkpoint")
	_, err = k.s.FinishChunk(k.Context(), held)
	k.ok(err, "FinishChunk")
}

// completed brings a campaign with one chunk for each list of states to its
// end and gives its held control lease, which is left open.
func (k kit) completed(chunks ...[]campaign.DeliveryState) store.Lease {
	k.Helper()
	sizes := make([]int, len(chunks))
	for i := range chunks {
		sizes[i] = len(chunks[i])
	}
	control := k.chunked(sizes...)
	id := control.Key.CampaignID
	control, err := k.s.FinishFreeze(k.Context(), control)
	k.ok(err, "FinishFreeze")
	for i, states := range chunks {
		k.finish(store.LeaseKey{CampaignID: id, Number: i + 1}, states...)
	}
	if totals := k.totals(id); !totals.Complete() {
		k.Fatalf("totals are %+v at the campaign's end", totals)
	}
	k.transition(id, store.Transition{To: campaign.StatusInProgress, At: k.later(1)})
	k.transition(id, store.Transition{To: campaign.StatusCompleted, At: k.later(2)})
	return control
}

// retry restarts a completed campaign and gives its control lease, held.
func (k kit) retry(control store.Lease, states ...campaign.DeliveryState) store.Lease {
	k.Helper()
	k.restart(control.Key.CampaignID, store.Restart{
		From: campaign.StatusCompleted, To: campaign.StatusInProgress, States: states, DueAt: k.at, At: k.later(20),
	})
	return k.hold(control.Key)
}

// retried is the control lease of a campaign of one chunk, with one recipient
// of each terminal state, whose retry has been asked for, and the chunk's key.
func (k kit) retried(states ...campaign.DeliveryState) (control store.Lease, chunk store.LeaseKey) {
	k.Helper()
	control = k.retry(k.completed(terminalStates()), states...)
	return control, store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 1}
}

// reopen makes a ReopenChunk that must succeed and looks at the control lease.
func (k kit) reopen(control store.Lease, n int, want store.Reopen) store.Lease {
	k.Helper()
	got, err := k.s.ReopenChunk(k.Context(), control, k.later(n))
	k.ok(err, "ReopenChunk")
	after := next(control)
	after.Reopen = want
	k.same(got, after, "the control lease that ReopenChunk returned")
	k.same(k.lease(control.Key), after, "the control lease behind ReopenChunk")
	return got
}

// setOf is a set of some of n.
func setOf(n int, members ...int) campaign.Bitmap {
	set := campaign.NewBitmap(n)
	for _, i := range members {
		set.Add(i)
	}
	return set
}

func testReopenFinished(k kit) {
	const sent, failed, unknown, suppressed = campaign.DeliverySent, campaign.DeliveryFailed, campaign.DeliveryUnknown, campaign.DeliverySuppressed
	states := []campaign.DeliveryState{failed, unknown}
	control := k.retry(k.completed(
		[]campaign.DeliveryState{sent, failed, unknown, suppressed, failed},
		[]campaign.DeliveryState{sent, sent},
		[]campaign.DeliveryState{unknown},
	), states...)
	id := control.Key.CampaignID
	key := func(n int) store.LeaseKey { return store.LeaseKey{CampaignID: id, Number: n} }
	total := func(want campaign.Totals, what string) {
		k.Helper()
		want.Total, want.Chunks, want.Final, want.UpdatedAt = 8, 3, true, k.at
		k.same(k.tallied(id), want, what)
	}
	total(campaign.Totals{Sent: 3, Failed: 2, Unknown: 2, Suppressed: 1, ChunksDone: 3}, "totals before")
	first, second, rows := k.mark(key(1)), k.lease(key(2)), k.deliveries(key(1))

	control = k.reopen(control, 100, store.Reopen{Next: 2, States: states, StatesFrom: 1})
	want := next(first)
	want.Closed, want.DueAt = false, k.later(100)
	want.Progress = campaign.Progress{Settled: setOf(5, 0, 3), Counted: setOf(5, 0, 3)}
	k.same(k.lease(key(1)), want, "the first chunk")
	k.same(k.deliveries(key(1)), rows, "its rows")
	total(campaign.Totals{Sent: 3, Unknown: 1, Suppressed: 1, ChunksDone: 2}, "totals behind the first chunk")

	control = k.reopen(control, 101, store.Reopen{Next: 3, States: states, StatesFrom: 1})
	k.same(k.lease(key(2)), second, "the second chunk, of which all are sent")
	k.reopen(control, 102, store.Reopen{})
	total(campaign.Totals{Sent: 3, Suppressed: 1, ChunksDone: 1}, "totals behind the last chunk")
	k.named(k.later(102), dueLimit, key(1), key(3))

	k.finish(key(1), sent, sent, failed, sent, sent)
	k.finish(key(3), unknown)
	total(campaign.Totals{Sent: 5, Failed: 1, Unknown: 1, Suppressed: 1, ChunksDone: 3}, "totals at the second end")
	k.same(k.lease(key(1)).Progress.Counted, setOf(5, 0, 3), "those whom the statistics had before")
}

// mark marks a closed chunk as counted.
func (k kit) mark(key store.LeaseKey) store.Lease {
	k.Helper()
	marked, err := k.s.MarkCounted(k.Context(), k.lease(key))
	k.ok(err, "MarkCounted")
	return marked
}

// testReopenShelved takes up chunks as they were shelved.
func testReopenShelved(k kit) {
	control := k.chunked(12, 12)
	id := control.Key.CampaignID
	var shelved []store.Lease
	for n := 1; n <= 2; n++ {
		held, err := k.s.Checkpoint(k.Context(), k.hold(store.LeaseKey{CampaignID: id, Number: n}), k.mixed())
		k.ok(err, "Checkpoint")
		shelved = append(shelved, held)
	}
	k.pause(id)
	for i, held := range shelved {
		closed, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
		k.ok(err, "CloseLease")
		shelved[i] = closed
	}
	totals := k.tallied(id)
	k.restart(id, k.resumption(40))
	control = k.reopen(k.hold(control.Key), 40, store.Reopen{Next: 2, StatesFrom: 1})
	control = k.reopen(control, 41, store.Reopen{})
	for i, before := range shelved {
		want := next(before)
		want.Closed, want.DueAt = false, k.later(40+i)
		k.same(k.lease(want.Key), want, "a chunk that is not shelved any more")
	}
	k.same(k.tallied(id), totals, "totals")
	k.named(k.later(41), dueLimit, shelved[0].Key, shelved[1].Key)

	held := k.hold(shelved[0].Key)
	k.transition(id, store.Transition{To: campaign.StatusPaused, At: k.later(60)})
	_, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
	k.ok(err, "CloseLease")
	k.restart(id, k.resumption(70, campaign.DeliveryFailed))
	k.reopen(k.hold(control.Key), 70, store.Reopen{Next: 2, States: []campaign.DeliveryState{campaign.DeliveryFailed}, StatesFrom: 1})
	want := shelved[0].Progress.Clone()
	want.Settled.Remove(1)
	k.same(k.lease(held.Key).Progress, want, "progress of a shelved chunk whose failures are to be mailed again")
	totals.Failed--
	k.same(k.tallied(id), totals, "totals without the failure")
}

// testReopenRetry shelves a chunk whose failures are being mailed again: what
// was finished once counts as such once.
func testReopenRetry(k kit) {
	control, chunk := k.retried(campaign.DeliveryFailed, campaign.DeliveryUnknown)
	id := chunk.CampaignID
	k.reopen(control, 30, store.Reopen{})
	held := k.hold(chunk)
	progress := held.Progress.Clone()
	progress.Settled.Add(1)
	progress.Intents = setOf(4, 1, 2)
	held, err := k.s.Checkpoint(k.Context(), held, store.Checkpoint{
		Progress: progress, Deliveries: []campaign.Delivery{k.delivery(1, campaign.DeliveryUnknown)},
	})
	k.ok(err, "Checkpoint")
	shelve := func(n int, states ...campaign.DeliveryState) {
		k.Helper()
		k.transition(id, store.Transition{To: campaign.StatusPaused, At: k.later(n)})
		_, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
		k.ok(err, "CloseLease")
		k.restart(id, k.resumption(n+1, states...))
		k.reopen(k.hold(control.Key), n+1, store.Reopen{})
	}
	totals := campaign.Totals{Total: 4, Sent: 1, Unknown: 1, Suppressed: 1, Chunks: 1, Final: true, UpdatedAt: k.at}
	shelve(40)
	k.same(k.lease(chunk).Progress, progress, "progress")
	k.same(k.tallied(id), totals, "totals")

	held = k.hold(chunk)
	shelve(50, campaign.DeliveryUnknown)
	progress.Settled, progress.Intents = setOf(4, 0, 3), setOf(4, 2)
	k.same(k.lease(chunk).Progress, progress, "progress when the unknown one is to be mailed again too")
	totals.Unknown = 0
	k.same(k.tallied(id), totals, "totals without the unknown one")
	k.finish(chunk, terminalStates()...)
	if totals := k.totals(id); !totals.Complete() || totals.ChunksDone != 1 {
		k.Fatalf("totals are %+v at the second end", totals)
	}
}

// testReopenOpen leaves chunks alone that are not closed, but does not let
// them wait for longer.
func testReopenOpen(k kit) {
	control := k.chunked(1, 1, 1)
	id := control.Key.CampaignID
	key := func(n int) store.LeaseKey { return store.LeaseKey{CampaignID: id, Number: n} }
	held := k.hold(key(1))
	held, err := k.s.Checkpoint(k.Context(), held, k.checkpoint(1, 0, 1, campaign.DeliveryFailed))
	k.ok(err, "Checkpoint")
	waiting, err := k.s.ReleaseLease(k.Context(), k.hold(key(2)), k.later(5000))
	k.ok(err, "ReleaseLease")
	due := k.lease(key(3))
	totals := k.tallied(id)
	k.pause(id)
	k.restart(id, k.resumption(40, campaign.DeliveryFailed))
	control = k.hold(control.Key)
	for range 3 {
		control, err = k.s.ReopenChunk(k.Context(), control, k.later(40))
		k.ok(err, "ReopenChunk")
	}
	k.same(k.lease(key(1)), held, "a held chunk")
	want := next(waiting)
	want.DueAt = k.later(40)
	k.same(k.lease(key(2)), want, "a chunk that waited")
	k.same(k.lease(key(3)), due, "a chunk that is due")
	k.same(k.tallied(id), totals, "totals")
	_, err = k.s.AcquireLease(k.Context(), waiting, owner())
	k.fails(err, campaign.CodeConflict, "AcquireLease of the chunk as it was while it waited")
	_, err = k.s.RenewLease(k.Context(), held)
	k.ok(err, "RenewLease of the held chunk")
}

func testReopenNoChunks(k kit) {
	control := k.chunked()
	k.pause(control.Key.CampaignID)
	k.restart(control.Key.CampaignID, k.resumption(10, campaign.DeliveryUnknown))
	k.reopen(k.hold(control.Key), 10, store.Reopen{})
}

// testReopenInterrupted pauses a retry behind its first chunk, which fails
// again: when it goes on, each failure of the beginning is mailed again once.
func testReopenInterrupted(k kit) {
	const failed = campaign.DeliveryFailed
	states := []campaign.DeliveryState{failed}
	one := []campaign.DeliveryState{failed, campaign.DeliverySent}
	control := k.retry(k.completed(one, one, one), failed)
	id := control.Key.CampaignID
	key := func(n int) store.LeaseKey { return store.LeaseKey{CampaignID: id, Number: n} }
	k.reopen(control, 30, store.Reopen{Next: 2, States: states, StatesFrom: 1})
	k.finish(key(1), failed, failed)
	again := k.lease(key(1))
	k.transition(id, store.Transition{To: campaign.StatusPaused, At: k.later(35)})
	k.restart(id, k.resumption(40))

	control = k.reopen(k.hold(control.Key), 40, store.Reopen{Next: 2, States: states, StatesFrom: 2})
	k.same(k.lease(key(1)), again, "the chunk that was mailed again before")
	control = k.reopen(control, 40, store.Reopen{Next: 3, States: states, StatesFrom: 2})
	k.reopen(control, 40, store.Reopen{})
	for _, n := range []int{2, 3} {
		l := k.lease(key(n))
		k.same(l.Progress.Settled, setOf(2, 1), fmt.Sprint("the settled recipients of chunk ", n))
		if l.Closed {
			k.Fatalf("chunk %d is closed: %+v", n, l)
		}
	}
	k.same(k.tallied(id), campaign.Totals{Total: 6, Sent: 3, Failed: 1, Chunks: 3, ChunksDone: 1, Final: true, UpdatedAt: k.at}, "totals")
}

// testReopenAbsorbed: somebody has to finish a chunk of which Absorb has
// settled the last recipients while it was shelved.
func testReopenAbsorbed(k kit) {
	control := k.chunked(2)
	id := control.Key.CampaignID
	control, err := k.s.FinishFreeze(k.Context(), control)
	k.ok(err, "FinishFreeze")
	held, err := k.s.Checkpoint(k.Context(), k.hold(store.LeaseKey{CampaignID: id, Number: 1}), k.checkpoint(2, 0, 1, campaign.DeliverySent))
	k.ok(err, "Checkpoint")
	k.pause(id)
	_, err = k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
	k.ok(err, "CloseLease")
	k.absorb(held.Key, 1)
	shelved := k.lease(held.Key)
	k.restart(id, k.resumption(10))
	k.reopen(k.hold(control.Key), 10, store.Reopen{})
	want := next(shelved)
	want.Closed, want.DueAt = false, k.later(10)
	k.same(k.lease(held.Key), want, "the chunk that nobody has finished")
	k.finish(held.Key)
	if totals := k.totals(id); !totals.Complete() {
		k.Fatalf("totals are %+v at the campaign's end", totals)
	}
}

// testReopenAgain repeats a call whose answer was lost: at once, and after the
// holder's next write.
func testReopenAgain(k kit) {
	control, chunk := k.retried(campaign.DeliveryFailed)
	first, err := k.s.ReopenChunk(k.Context(), control, k.later(30))
	k.ok(err, "ReopenChunk")
	before := k.state(control.Key) + k.state(chunk)
	again, err := k.s.ReopenChunk(k.Context(), control, k.later(30))
	k.ok(err, "the same ReopenChunk again")
	k.same(again, first, "what the repeated ReopenChunk returned")
	_, err = k.s.ReopenChunk(k.Context(), control, k.later(31))
	k.fails(err, campaign.CodeConflict, "another ReopenChunk with the same lease")
	_, err = k.s.RenewLease(k.Context(), control)
	k.fails(err, campaign.CodeConflict, "RenewLease with the lease as it was before ReopenChunk")
	if after := k.state(control.Key) + k.state(chunk); after != before {
		k.Fatalf("a repeated ReopenChunk changed\n%s\nto\n%s", before, after)
	}
	renewed, err := k.s.RenewLease(k.Context(), first)
	k.ok(err, "RenewLease")
	_, err = k.s.ReopenChunk(k.Context(), control, k.later(30))
	k.fails(err, campaign.CodeConflict, "the same ReopenChunk after the next write")
	k.same(k.lease(control.Key), renewed, "the control lease")
}
