package storetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

func chunkTests() []test {
	return []test{
		{"freeze/chunks and totals", testFreeze},
		{"freeze/largest chunk", testLargestChunk},
		{"checkpoint/97 rows", testFullCheckpoint},
		{"checkpoint/progress and deferred", testProgress},
		{"checkpoint/rows are replaced", testRowsReplaced},
		{"checkpoint/odd replies", testOddReplies},
		{"checkpoint/whole chunk deferred", testAllDeferred},
		{"checkpoint/concurrent chunks add up", testConcurrentChunks},
		{"finish/closed and done", testFinishChunk},
		{"finish/with the last results", testLastCheckpoint},
	}
}

// delivery gives a full row.
func (k kit) delivery(index int, state campaign.DeliveryState) campaign.Delivery {
	d := campaign.Delivery{
		Index: index, Address: k.address(index), State: state, Attempts: 1 + index%3,
		Reply:     fmt.Sprintf("250 2.0.0 queued as %d", index),
		MessageID: fmt.Sprintf("%s.%d@example.org", k.prefix, index),
		UpdatedAt: k.later(index % 60),
	}
	if state == campaign.DeliverySent {
		digest := sha256.Sum256([]byte(d.MessageID))
		d.Digest = digest[:]
	}
	if state == campaign.DeliveryPending {
		d.Reply, d.NextAttempt = "451 4.7.1 greylisted", k.later(300)
	}
	return d
}

// checkpoint gives one for a chunk of size recipients, of which from..to-1
// have the state, and all before them are settled.
func (k kit) checkpoint(size, from, to int, state campaign.DeliveryState) store.Checkpoint {
	cp := store.Checkpoint{Progress: campaign.Progress{Settled: campaign.NewBitmap(size)}}
	for i := range to {
		cp.Progress.Settled.Add(i)
	}
	for i := from; i < to; i++ {
		cp.Deliveries = append(cp.Deliveries, k.delivery(i, state))
	}
	return cp
}

// lastCheckpoint gives one for a chunk of size recipients, of which those from
// an index on have the state, that finishes the chunk.
func (k kit) lastCheckpoint(size, from int, state campaign.DeliveryState) store.Checkpoint {
	cp := k.checkpoint(size, from, size, state)
	cp.Finish = true
	return cp
}

func (k kit) deliveries(key store.LeaseKey) []campaign.Delivery {
	k.Helper()
	rows, err := k.s.Deliveries(k.Context(), key)
	k.ok(err, "Deliveries")
	return rows
}

// chunk holds the only chunk, of a size, of a new campaign.
func (k kit) chunk(size int) store.Lease {
	k.Helper()
	return k.hold(store.LeaseKey{CampaignID: k.chunked(size).Key.CampaignID, Number: 1})
}

// tallied gives totals without the time of their last change, which must not
// be zero.
func (k kit) tallied(id string) campaign.Totals {
	k.Helper()
	t := k.totals(id)
	if t.UpdatedAt.IsZero() {
		k.Fatalf("totals %+v have no time of their last change", t)
	}
	t.UpdatedAt = k.at
	return t
}

func testFreeze(k kit) {
	ctx := k.Context()
	control := k.hold(store.LeaseKey{CampaignID: k.start().ID})
	id, sum := control.Key.CampaignID, int64(0)
	for n, size := range []int{3, 1, 1000} {
		chunk := store.Chunk{Size: size, Packed: randomBytes(size), DueAt: k.later(n)}
		want := next(control)
		want.Freeze = store.Freeze{Cursor: fmt.Sprint("ü cursor ", n), Chunks: n + 1}
		var err error
		control, err = k.s.AddChunk(ctx, control, chunk, want.Freeze.Cursor)
		k.ok(err, "AddChunk")
		k.same(control, want, "the control lease")
		k.same(k.lease(control.Key), want, "the stored control lease")

		key := store.LeaseKey{CampaignID: id, Number: n + 1}
		l := k.lease(key)
		k.same(l, store.Lease{Key: key, Fence: l.Fence, Version: l.Version, DueAt: chunk.DueAt, Size: size}, "the chunk's lease")
		packed, err := k.s.GetAudience(ctx, key)
		k.ok(err, "GetAudience")
		k.same(packed, chunk.Packed, "the packed audience")
		sum += int64(size)
		k.same(k.tallied(id), campaign.Totals{Total: sum, Chunks: int64(n + 1), UpdatedAt: k.at}, "totals")
	}
	want := next(control)
	want.Freeze.Final = true
	control, err := k.s.FinishFreeze(ctx, control)
	k.ok(err, "FinishFreeze")
	k.same(control, want, "the control lease after FinishFreeze")
	k.same(k.tallied(id), campaign.Totals{Total: sum, Chunks: 3, Final: true, UpdatedAt: k.at}, "final totals")
	_, err = k.s.GetAudience(ctx, store.LeaseKey{CampaignID: id, Number: 4})
	k.fails(err, campaign.CodeNotFound, "GetAudience of no chunk")
	k.same(k.deliveries(store.LeaseKey{CampaignID: id, Number: 1}), []campaign.Delivery{}, "deliveries before the first checkpoint")
}

func testLargestChunk(k kit) {
	control := k.hold(store.LeaseKey{CampaignID: k.start().ID})
	packed := randomBytes(store.MaxChunkOctets)
	_, err := k.s.AddChunk(k.Context(), control, store.Chunk{Size: store.MaxChunkRecipients, Packed: packed, DueAt: k.at}, "c")
	k.ok(err, "AddChunk")
	got, err := k.s.GetAudience(k.Context(), store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 1})
	k.ok(err, "GetAudience")
	if !bytes.Equal(got, packed) {
		k.Fatalf("a packed audience of %d octets came back with %d or others", len(packed), len(got))
	}
}

func testFullCheckpoint(k kit) {
	held := k.chunk(250)
	id, states := held.Key.CampaignID, campaign.DeliveryStates
	var rows []campaign.Delivery
	want := campaign.Totals{Total: 250, Chunks: 1, UpdatedAt: k.at}
	settled := campaign.NewBitmap(250)
	for from := 0; from < 250; from += store.MaxCheckpoint {
		cp := store.Checkpoint{}
		for i := from; i < min(from+store.MaxCheckpoint, 250); i++ {
			d := k.delivery(i, states[i%len(states)])
			if d.State.Terminal() {
				settled.Add(i)
			}
			want.Count(d.State, 1)
			cp.Deliveries, rows = append(cp.Deliveries, d), append(rows, d)
		}
		cp.Progress = campaign.Progress{Settled: settled}.Clone()
		expect := next(held)
		expect.Progress = cp.Progress
		var err error
		held, err = k.s.Checkpoint(k.Context(), held, cp)
		k.ok(err, "Checkpoint")
		k.same(held, expect, "the chunk's lease")
		k.same(k.lease(held.Key), expect, "the chunk's stored lease")
		k.same(k.tallied(id), want, "totals")
		k.same(k.deliveries(held.Key), rows, "deliveries")
	}
}

func testProgress(k kit) {
	held := k.chunk(20)
	p := campaign.Progress{Settled: campaign.NewBitmap(20), Deferred: []campaign.Deferred{
		{Index: 19, Attempts: 3, Next: k.later(600), Reply: "451 4.7.1 später ☂"},
		{Index: 2, Attempts: 1, Next: k.later(60), Reply: ""},
	}}
	p.Settled.Add(17)
	p.Intents, p.Counted = campaign.NewBitmap(20), campaign.NewBitmap(20)
	p.Intents.Add(0)
	p.Intents.Add(19)
	p.Counted.Add(17)
	cp := store.Checkpoint{Progress: p, Deliveries: []campaign.Delivery{
		k.delivery(17, campaign.DeliveryFailed), k.delivery(2, campaign.DeliveryPending),
	}}
	held, err := k.s.Checkpoint(k.Context(), held, cp)
	k.ok(err, "Checkpoint")
	k.same(held.Progress, p, "progress")
	released, err := k.s.ReleaseLease(k.Context(), held, k.later(60))
	k.ok(err, "ReleaseLease")
	k.same(released.Progress, p, "progress of a released chunk")
	taken := k.hold(held.Key)
	k.same(taken.Progress, p, "progress as the next holder sees it")

	empty := campaign.Progress{Settled: p.Settled}
	taken, err = k.s.Checkpoint(k.Context(), taken, store.Checkpoint{Progress: empty})
	k.ok(err, "Checkpoint without deliveries")
	k.same(taken.Progress, empty, "progress without deferred recipients")
	k.same(k.deliveries(held.Key), []campaign.Delivery{k.delivery(2, campaign.DeliveryPending), k.delivery(17, campaign.DeliveryFailed)}, "deliveries")
}

// testRowsReplaced writes a recipient's row again and again, as retries do.
func testRowsReplaced(k kit) {
	held := k.chunk(6)
	var err error
	for attempt := range 4 {
		d := k.delivery(3, campaign.DeliveryPending)
		d.Attempts, d.Reply = attempt+1, fmt.Sprint("451 attempt ", attempt)
		cp := store.Checkpoint{Deliveries: []campaign.Delivery{d}, Progress: held.Progress}
		held, err = k.s.Checkpoint(k.Context(), held, cp)
		k.ok(err, "Checkpoint")
		k.same(k.deliveries(held.Key), []campaign.Delivery{d}, "the delivery that waits")
	}
	held = k.hold(held.Key) // another task goes on
	cp := k.checkpoint(6, 3, 5, campaign.DeliverySent)
	_, err = k.s.Checkpoint(k.Context(), held, cp)
	k.ok(err, "Checkpoint")
	k.same(k.deliveries(held.Key), cp.Deliveries, "the settled deliveries")
	k.same(k.tallied(held.Key.CampaignID), campaign.Totals{Total: 6, Sent: 2, Chunks: 1, UpdatedAt: k.at}, "totals")
}

func testOddReplies(k kit) {
	held := k.chunk(6)
	cp := k.checkpoint(6, 0, 6, campaign.DeliveryFailed)
	replies := []string{
		"", strings.Repeat("x", campaign.MaxReplyOctets), strings.Repeat("日", campaign.MaxReplyOctets/3),
		"550 5.1.1\r\n\t\x00\x1b[0m", `550 "quoted" <a@b> {"a":1}`, "é",
	}
	for i := range cp.Deliveries {
		cp.Deliveries[i].Reply = replies[i]
		cp.Deliveries[i].Address = `O'Brien+"tag"@Exämple.org`
		cp.Deliveries[i].MessageID = ""
		cp.Deliveries[i].Attempts = i * 1000
	}
	_, err := k.s.Checkpoint(k.Context(), held, cp)
	k.ok(err, "Checkpoint")
	k.same(k.deliveries(held.Key), cp.Deliveries, "deliveries with odd replies")
}

func testAllDeferred(k kit) {
	held := k.chunk(store.MaxChunkRecipients)
	p := campaign.Progress{Settled: campaign.NewBitmap(store.MaxChunkRecipients)}
	for i := range store.MaxChunkRecipients {
		p.Deferred = append(p.Deferred, campaign.Deferred{
			Index: i, Attempts: 2, Next: k.later(i), Reply: strings.Repeat("r", campaign.MaxDeferredReplyOctets),
		})
	}
	held, err := k.s.Checkpoint(k.Context(), held, store.Checkpoint{Progress: p})
	k.ok(err, "Checkpoint")
	k.same(k.lease(held.Key).Progress, p, "progress with all recipients deferred")
}

// testConcurrentChunks counts exactly while many chunks write at once.
func testConcurrentChunks(k kit) {
	const chunks, size, step = 12, 30, 10
	id := k.chunked(slices.Repeat([]int{size}, chunks)...).Key.CampaignID
	held := make([]store.Lease, chunks)
	for i := range held {
		held[i] = k.hold(store.LeaseKey{CampaignID: id, Number: i + 1})
	}
	states := []campaign.DeliveryState{campaign.DeliverySent, campaign.DeliveryFailed, campaign.DeliveryUnknown, campaign.DeliverySuppressed}
	want := campaign.Totals{Total: chunks * size, Chunks: chunks, ChunksDone: chunks, UpdatedAt: k.at}
	var group sync.WaitGroup
	for i, l := range held {
		want.Count(states[i%len(states)], size)
		group.Go(func() {
			var err error
			for from := 0; from < size; from += step {
				cp := k.checkpoint(size, from, from+step, states[i%len(states)])
				if l, err = k.s.Checkpoint(k.Context(), l, cp); err != nil {
					k.Errorf("Checkpoint: %v", err)
					return
				}
			}
			if _, err = k.s.FinishChunk(k.Context(), l); err != nil {
				k.Errorf("FinishChunk: %v", err)
			}
		})
	}
	group.Wait()
	k.same(k.tallied(id), want, "totals")
	for n := range chunks {
		if rows := k.deliveries(store.LeaseKey{CampaignID: id, Number: n + 1}); len(rows) != size {
			k.Fatalf("chunk %d has %d deliveries, want %d", n+1, len(rows), size)
		}
	}
}

// testLastCheckpoint finishes chunks with their last results, or with none.
func testLastCheckpoint(k kit) {
	held, err := k.s.Checkpoint(k.Context(), k.chunk(6), k.checkpoint(6, 0, 4, campaign.DeliverySent))
	k.ok(err, "Checkpoint")
	cp := k.lastCheckpoint(6, 4, campaign.DeliverySent)
	want := next(held)
	want.Owner, want.Closed, want.DueAt = "", true, time.Time{}
	want.Progress = cp.Progress
	for _, what := range []string{"Checkpoint", "the same Checkpoint again"} {
		closed, err := k.s.Checkpoint(k.Context(), held, cp)
		k.ok(err, what)
		closed.Progress.Chain = campaign.Chain{}
		k.same(closed, want, "the lease that "+what+" returned")
	}
	if stored := k.lease(held.Key); !stored.Closed || stored.Progress.Chain.Links != 2 {
		k.Fatalf("the finished chunk is %+v", stored)
	}
	if rows := k.deliveries(held.Key); len(rows) != 6 {
		k.Fatalf("%d deliveries of 6", len(rows))
	}
	k.same(k.tallied(held.Key.CampaignID), campaign.Totals{Total: 6, Sent: 6, Chunks: 1, ChunksDone: 1, UpdatedAt: k.at}, "totals")
	other := cp
	other.Finish = false
	_, err = k.s.Checkpoint(k.Context(), held, other)
	k.fails(err, campaign.CodeConflict, "the same Checkpoint that does not finish")

	held = k.chunk(1)
	k.absorb(held.Key, 0)
	closed, err := k.s.Checkpoint(k.Context(), k.lease(held.Key), store.Checkpoint{Progress: k.lease(held.Key).Progress, Finish: true})
	k.ok(err, "Checkpoint without results that finishes")
	if !closed.Closed {
		k.Fatalf("the finished chunk is %+v", closed)
	}
	k.same(k.tallied(held.Key.CampaignID), campaign.Totals{Total: 1, Sent: 1, Chunks: 1, ChunksDone: 1, UpdatedAt: k.at}, "totals")
}

func testFinishChunk(k kit) {
	keys := k.people(1)
	held := k.chunk(4)
	held, err := k.s.Checkpoint(k.Context(), held, k.checkpoint(4, 0, 4, campaign.DeliverySent))
	k.ok(err, "Checkpoint")
	uncounted := k.contact(keys[0])
	closed, err := k.s.FinishChunk(k.Context(), held)
	k.ok(err, "FinishChunk")
	k.same(k.lease(held.Key), closed, "GetLease of a finished chunk")
	if !closed.Closed || !closed.DueAt.IsZero() || closed.Version != held.Version+1 {
		k.Fatalf("finished chunk is %+v after %+v", closed, held)
	}
	k.same(closed.Progress, held.Progress, "progress of a finished chunk")
	k.same(k.tallied(held.Key.CampaignID), campaign.Totals{Total: 4, Sent: 4, Chunks: 1, ChunksDone: 1, UpdatedAt: k.at}, "totals")
	k.same(k.contact(keys[0]), uncounted, "a contact that CountSent was not told of")
}
