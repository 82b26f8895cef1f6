package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"postern/internal/campaign"
	"postern/internal/store"
)

func absorbTests() []test {
	return []test{
		{"absorb/over rows of every state", testAbsorbRows},
		{"absorb/leases of every state", testAbsorbLeases},
		{"absorb/a chunk that was reopened", testAbsorbReopened},
		{"absorb/the holder goes on", testAbsorbHolder},
		{"absorb/the holder's write is still recognised", testAbsorbHidesNothing},
		{"absorb/97 rows", testAbsorbFull},
		{"absorb/nothing there", testAbsorbNothing},
		{"absorb/who is erased", testAbsorbErased},
		{"absorb/concurrent", testAbsorbRace},
	}
}

// late gives the row of a message that was acknowledged under a lost lease.
func (k kit) late(index int) campaign.Delivery {
	d := k.delivery(index, campaign.DeliverySent)
	d.Attempts, d.Reply, d.UpdatedAt = 9, "250 late", k.later(500)
	return d
}

func (k kit) absorb(key store.LeaseKey, indexes ...int) {
	k.Helper()
	var sent []campaign.Delivery
	for _, i := range indexes {
		sent = append(sent, k.late(i))
	}
	k.ok(k.s.Absorb(k.Context(), key, sent), "Absorb")
}

// mixed gives a checkpoint of a chunk of 12 with recipients of every kind:
// 0 sent, 1 failed, 2 unknown, 3 suppressed, 4 and 5 deferred (4 with a row),
// 6 and 7 intents, 8 and more untried.
func (k kit) mixed() store.Checkpoint {
	p := campaign.Progress{
		Settled: campaign.NewBitmap(12), Intents: campaign.NewBitmap(12), Counted: campaign.NewBitmap(12),
		Deferred: []campaign.Deferred{
			{Index: 5, Attempts: 2, Next: k.later(90), Reply: "451 five"},
			{Index: 4, Attempts: 1, Next: k.later(60), Reply: "451 four"},
		},
	}
	cp := store.Checkpoint{Progress: p, Deliveries: []campaign.Delivery{k.delivery(4, campaign.DeliveryPending)}}
	for i, state := range terminalStates() {
		p.Settled.Add(i)
		cp.Deliveries = append(cp.Deliveries, k.delivery(i, state))
	}
	p.Intents.Add(6)
	p.Intents.Add(7)
	p.Counted.Add(0)
	return cp
}

func terminalStates() []campaign.DeliveryState {
	return []campaign.DeliveryState{
		campaign.DeliverySent, campaign.DeliveryFailed, campaign.DeliveryUnknown, campaign.DeliverySuppressed,
	}
}

func testAbsorbRows(k kit) {
	held, err := k.s.Checkpoint(k.Context(), k.chunk(12), k.mixed())
	k.ok(err, "Checkpoint")
	id := held.Key.CampaignID
	k.absorb(held.Key, 0, 1, 2, 3, 4, 6, 8)

	want := next(held)
	want.Progress = held.Progress.Clone()
	want.Progress.Deferred = want.Progress.Deferred[:1]
	for _, i := range []int{4, 6, 8} {
		want.Progress.Settled.Add(i)
		want.Progress.Intents.Remove(i)
	}
	k.same(k.lease(held.Key), want, "the lease")
	k.same(k.deliveries(held.Key), []campaign.Delivery{
		k.delivery(0, campaign.DeliverySent), k.late(1), k.late(2), k.late(3), k.late(4), k.late(6), k.late(8),
	}, "deliveries")
	k.same(k.tallied(id), campaign.Totals{Total: 12, Sent: 7, Chunks: 1, UpdatedAt: k.at}, "totals")

	before := k.state(held.Key)
	k.absorb(held.Key, 0, 1, 2, 3, 4, 6, 8)
	k.absorb(held.Key, 8)
	k.absorb(held.Key)
	if after := k.state(held.Key); after != before {
		k.Fatalf("a repeated Absorb changed\n%s\nto\n%s", before, after)
	}
	k.absorb(held.Key, 6, 9) // one is sent already
	want = next(want)
	want.Progress.Settled.Add(9)
	k.same(k.lease(held.Key), want, "the lease after a third Absorb")
}

// testAbsorbLeases absorbs into a chunk whose only result is a failure, while
// its lease is in every state.
func testAbsorbLeases(k kit) {
	for what, prepare := range map[string]func(held store.Lease) (store.Lease, error){
		"held": func(held store.Lease) (store.Lease, error) { return held, nil },
		"free": func(held store.Lease) (store.Lease, error) { return k.s.ReleaseLease(k.Context(), held, k.later(30)) },
		"shelved": func(held store.Lease) (store.Lease, error) {
			return k.s.CloseLease(k.Context(), held, campaign.StatusPending)
		},
		"finished": func(held store.Lease) (store.Lease, error) {
			return k.s.FinishChunk(k.Context(), held)
		},
	} {
		held, err := k.s.Checkpoint(k.Context(), k.chunk(1), k.checkpoint(1, 0, 1, campaign.DeliveryFailed))
		k.ok(err, "Checkpoint")
		before, err := prepare(held)
		k.ok(err, what)
		totals := k.tallied(held.Key.CampaignID)
		k.absorb(held.Key, 0)
		k.same(k.lease(held.Key), next(before), "the lease of a chunk that is "+what)
		k.same(k.deliveries(held.Key), []campaign.Delivery{k.late(0)}, "the row of a chunk that is "+what)
		totals.Failed, totals.Sent = 0, 1
		k.same(k.tallied(held.Key.CampaignID), totals, "totals with a chunk that is "+what)
	}
	untouched := store.LeaseKey{CampaignID: k.chunked(3).Key.CampaignID, Number: 1}
	want := next(k.lease(untouched))
	want.Progress.Settled = campaign.NewBitmap(3)
	want.Progress.Settled.Add(2)
	k.absorb(untouched, 2)
	k.same(k.lease(untouched), want, "the lease of a chunk that nobody has held")
}

// testAbsorbReopened: what was reopened has left the totals already.
func testAbsorbReopened(k kit) {
	control, chunk := k.retried(campaign.DeliveryFailed, campaign.DeliveryUnknown)
	_, err := k.s.ReopenChunk(k.Context(), control, k.later(50))
	k.ok(err, "ReopenChunk")
	open := k.lease(chunk)
	k.same(k.tallied(chunk.CampaignID), campaign.Totals{Total: 4, Sent: 1, Suppressed: 1, Chunks: 1, Final: true, UpdatedAt: k.at}, "totals")
	k.absorb(chunk, 1)
	want := next(open)
	want.Progress = open.Progress.Clone()
	want.Progress.Settled.Add(1)
	k.same(k.lease(chunk), want, "the lease of the reopened chunk")
	k.same(k.tallied(chunk.CampaignID), campaign.Totals{Total: 4, Sent: 2, Suppressed: 1, Chunks: 1, Final: true, UpdatedAt: k.at}, "totals after Absorb")
}

// testAbsorbHolder: the holder's next write is refused, it reads the lease
// again and goes on with it.
func testAbsorbHolder(k kit) {
	held := k.chunk(6)
	held, err := k.s.Checkpoint(k.Context(), held, k.checkpoint(6, 0, 2, campaign.DeliveryUnknown))
	k.ok(err, "Checkpoint")
	k.absorb(held.Key, 0, 2)
	k.eachChunkWrite(func(c call) {
		_, err := c.make(k.Context(), held)
		k.fails(err, campaign.CodeConflict, c.name+" with the lease as it was before Absorb")
	})
	again := k.lease(held.Key)
	if again.Owner != held.Owner || again.Fence != held.Fence || again.Version != held.Version+1 {
		k.Fatalf("the lease is %+v after Absorb, it was %+v", again, held)
	}
	progress := again.Progress.Clone()
	progress.Settled.Add(3)
	cp := store.Checkpoint{Progress: progress, Deliveries: []campaign.Delivery{k.delivery(3, campaign.DeliveryFailed)}}
	again, err = k.s.Checkpoint(k.Context(), again, cp)
	k.ok(err, "Checkpoint with the lease as it is behind Absorb")
	k.same(k.tallied(held.Key.CampaignID), campaign.Totals{Total: 6, Sent: 2, Failed: 1, Unknown: 1, Chunks: 1, UpdatedAt: k.at}, "totals")
	_, err = k.s.ReleaseLease(k.Context(), again, k.later(1))
	k.ok(err, "ReleaseLease")
}

func (k kit) eachChunkWrite(run func(c call)) {
	for _, c := range k.chunkCalls() {
		run(c)
	}
}

// testAbsorbHidesNothing: a holder's write whose answer was lost is recognised
// when it is repeated, though an Absorb came in between; else a checkpoint
// would be counted twice.
func testAbsorbHidesNothing(k kit) {
	k.eachChunkWrite(func(c call) {
		held := k.chunk(10)
		first, err := c.make(k.Context(), held)
		k.ok(err, c.name)
		for _, index := range []int{9, 8} {
			k.absorb(held.Key, index)
			before := k.state(held.Key)
			again, err := c.make(k.Context(), held)
			k.ok(err, c.name+" again, after an Absorb")
			k.same(again, k.lease(held.Key), "what the repeated "+c.name+" returned")
			if after := k.state(held.Key); after != before {
				k.Fatalf("a repeated %s after an Absorb changed\n%s\nto\n%s", c.name, before, after)
			}
		}
		if now := k.lease(held.Key); now.Version != first.Version+2 {
			k.Fatalf("after two Absorbs version is %d, it was %d", now.Version, first.Version)
		}
		k.eachChunkWrite(func(other call) {
			if other.name != c.name {
				_, err := other.make(k.Context(), held)
				k.fails(err, campaign.CodeConflict, other.name+" with the lease as it was before "+c.name+" and an Absorb")
			}
		})
	})
	key := store.LeaseKey{CampaignID: k.chunked(2).Key.CampaignID, Number: 1}
	seen, me := k.lease(key), owner()
	_, err := k.s.AcquireLease(k.Context(), seen, me)
	k.ok(err, "AcquireLease")
	k.absorb(key, 1)
	again, err := k.s.AcquireLease(k.Context(), seen, me)
	k.ok(err, "the same AcquireLease again, after an Absorb")
	k.same(again, k.lease(key), "what the repeated AcquireLease returned")
	_, err = k.s.AcquireLease(k.Context(), seen, owner())
	k.fails(err, campaign.CodeConflict, "another's AcquireLease")
}

func testAbsorbFull(k kit) {
	held := k.chunk(store.MaxChunkRecipients)
	_, err := k.s.Checkpoint(k.Context(), held, k.checkpoint(store.MaxChunkRecipients, 0, store.MaxCheckpoint, campaign.DeliveryUnknown))
	k.ok(err, "Checkpoint")
	var indexes []int
	var rows []campaign.Delivery
	for i := range store.MaxCheckpoint {
		indexes = append(indexes, store.MaxChunkRecipients-1-i*10)
	}
	k.absorb(held.Key, indexes...)
	want := campaign.Totals{Total: store.MaxChunkRecipients, Chunks: 1, UpdatedAt: k.at}
	for i := range store.MaxChunkRecipients {
		switch {
		case slices.Contains(indexes, i):
			rows = append(rows, k.late(i))
			want.Sent++
		case i < store.MaxCheckpoint:
			rows = append(rows, k.delivery(i, campaign.DeliveryUnknown))
			want.Unknown++
		}
	}
	k.same(k.deliveries(held.Key), rows, "deliveries")
	k.same(k.tallied(held.Key.CampaignID), want, "totals")
}

func testAbsorbNothing(k kit) {
	control := k.chunked(1)
	key := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 2}
	k.fails(k.s.Absorb(k.Context(), key, []campaign.Delivery{k.late(0)}), campaign.CodeNotFound, "Absorb into no chunk")
	k.same(k.lease(control.Key), control, "the control lease")
	k.same(k.tallied(control.Key.CampaignID), campaign.Totals{Total: 1, Chunks: 1, UpdatedAt: k.at}, "totals")
}

// testAbsorbErased: a message that was acknowledged under a lost lease names
// nobody who was erased in between, by himself or with all others.
func testAbsorbErased(k kit) {
	audience := campaign.Audience{Recipients: []campaign.Recipient{{Address: "a@example.org"}, {Address: "b@example.org"}, {Address: "c@example.org"}}}
	c := k.start()
	key := store.LeaseKey{CampaignID: c.ID, Number: 1}
	_, err := k.s.AddChunk(k.Context(), k.hold(store.LeaseKey{CampaignID: c.ID}), store.Chunk{Size: 3, Packed: audience.Pack(), DueAt: k.at}, "c")
	k.ok(err, "AddChunk")
	k.transition(c.ID, store.Transition{To: campaign.StatusCancelled, At: k.later(40)})
	closed, err := k.s.CloseLease(k.Context(), k.hold(key), campaign.StatusCancelled)
	k.ok(err, "CloseLease")
	k.erase(closed, store.Erasure{Index: 1, Packed: audience.Without(1).Pack()})
	nameless := func(index int) campaign.Delivery {
		d := k.late(index)
		d.Address, d.Reply, d.MessageID = "", "", ""
		return d
	}
	k.absorb(key, 0, 1)
	k.same(k.deliveries(key), []campaign.Delivery{k.late(0), nameless(1)}, "rows of one who is there and one who is erased")

	k.ok(k.s.Expire(k.Context(), c.ID, k.later(1000), k.later(1000)), "Expire")
	k.ok(k.s.EraseChunk(k.Context(), key), "EraseChunk")
	k.absorb(key, 2)
	k.same(k.deliveries(key), []campaign.Delivery{nameless(2)}, "rows of an erased chunk")
	k.ok(k.s.EraseChunk(k.Context(), key), "EraseChunk")
	k.same(len(k.deliveries(key)), 0, "rows of a chunk that is erased again")

	var told [][]byte
	links, err := k.s.AuditLinks(k.Context(), key, 0, 10)
	k.ok(err, "AuditLinks")
	for _, link := range links {
		told = append(told, link.Payload)
	}
	k.same(told, [][]byte{
		campaign.EncodeResults([]campaign.Delivery{k.late(0), k.late(1)}), campaign.EncodeResults([]campaign.Delivery{k.late(2)}),
	}, "the audit trail")
}

// testAbsorbRace lets a holder record failures while former holders absorb
// some of the same recipients, several at a time: each counts once, as sent
// where anybody says so.
func testAbsorbRace(k kit) {
	const size, absorbers = 60, 4
	held := k.chunk(size)
	key := held.Key
	var group sync.WaitGroup
	group.Go(func() {
		if err := k.recordFailures(held); err != nil {
			k.Errorf("the holder: %v", err)
		}
	})
	for a := range absorbers {
		group.Go(func() {
			for from := a % 2; from < size; from += 10 { // two of them absorb the same
				sent := []campaign.Delivery{k.late(from), k.late(from + 2)}
				if err := k.absorbAgain(key, sent); err != nil {
					k.Errorf("Absorb: %v", err)
				}
			}
		})
	}
	group.Wait()
	sent := int64(size * 4 / 10)
	k.same(k.tallied(key.CampaignID), campaign.Totals{Total: size, Sent: sent, Failed: size - sent, Chunks: 1, UpdatedAt: k.at}, "totals")
	rows, progress := k.deliveries(key), k.lease(key).Progress
	if len(rows) != size || progress.Settled.Len() != size {
		k.Fatalf("%d rows and %d settled of %d", len(rows), progress.Settled.Len(), size)
	}
	for i, d := range rows {
		want := campaign.DeliveryFailed
		if i%10 < 4 {
			want = campaign.DeliverySent
		}
		if d.State != want {
			k.Fatalf("recipient %d is %s, want %s", i, d.State, want)
		}
	}
}

// absorbAgain is Absorb, made again where others change the lease for longer than
// the store waits for it to rest.
func (k kit) absorbAgain(key store.LeaseKey, sent []campaign.Delivery) error {
	for {
		err := k.s.Absorb(k.Context(), key, sent)
		if campaign.CodeOf(err) != campaign.CodeUnavailable {
			return err
		}
	}
}

// recordFailures checkpoints a failure of every recipient that has no result,
// three at a time, reading the lease again after each conflict.
func (k kit) recordFailures(held store.Lease) error {
	for held.Progress.Settled.Len() < held.Size {
		cp := store.Checkpoint{Progress: held.Progress.Clone()}
		if len(cp.Progress.Settled) == 0 {
			cp.Progress.Settled = campaign.NewBitmap(held.Size)
		}
		for i := 0; i < held.Size && len(cp.Deliveries) < 3; i++ {
			if !cp.Progress.Settled.Has(i) {
				cp.Progress.Settled.Add(i)
				cp.Deliveries = append(cp.Deliveries, k.delivery(i, campaign.DeliveryFailed))
			}
		}
		var err error
		if held, err = k.checkpointOrRead(k.Context(), held, cp); err != nil {
			return err
		}
	}
	return nil
}

// checkpointOrRead gives the lease as it is behind the checkpoint or, after a
// conflict, without it.
func (k kit) checkpointOrRead(ctx context.Context, held store.Lease, cp store.Checkpoint) (store.Lease, error) {
	after, err := k.s.Checkpoint(ctx, held, cp)
	if campaign.CodeOf(err) != campaign.CodeConflict {
		return after, err
	}
	now, err := k.s.GetLease(ctx, held.Key)
	if err == nil && (now.Owner != held.Owner || now.Fence != held.Fence) {
		err = fmt.Errorf("the lease was lost to %+v", now)
	}
	return now, err
}
