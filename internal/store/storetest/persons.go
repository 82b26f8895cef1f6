package storetest

import (
	"fmt"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

func personTests() []test {
	return []test{
		{"persons/out of a chunk", testEraseRecipient},
		{"persons/who has no row", testErasePending},
		{"persons/while others write", testEraseRecipientStale},
		{"persons/out of a selection", testEraseAddresses},
		{"persons/out of a campaign that is over", testExpire},
		{"persons/not out of one that goes on", testExpireRefused},
	}
}

// erase takes a recipient out of a chunk, twice: the repeated call is
// recognised.
func (k kit) erase(seen store.Lease, e store.Erasure) store.Lease {
	k.Helper()
	var got store.Lease
	for _, what := range []string{"EraseRecipient", "the same EraseRecipient again"} {
		var err error
		got, err = k.s.EraseRecipient(k.Context(), seen, e)
		k.ok(err, what)
		k.same(k.lease(seen.Key), got, "the lease behind "+what)
	}
	packed, err := k.s.GetAudience(k.Context(), seen.Key)
	k.ok(err, "GetAudience")
	k.same(packed, e.Packed, "the audience behind EraseRecipient")
	return got
}

func testEraseRecipient(k kit) {
	control := k.completed(terminalStates())
	key := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 1}
	before, rows, totals, trail := k.lease(key), k.deliveries(key), k.totals(key.CampaignID), k.trail(key)
	want := next(before)
	k.same(k.erase(before, store.Erasure{Index: 1, Packed: []byte{9}}), want, "the lease that EraseRecipient returned")
	rows[1].Address, rows[1].Reply, rows[1].MessageID = "", "", ""
	k.same(k.deliveries(key), rows, "rows")
	k.same(k.totals(key.CampaignID), totals, "totals")
	k.same(k.trail(key), trail, "the audit trail")

	// The recipient can be opened again by a retry, whose record is the last.
	control = k.retry(control, campaign.DeliveryFailed)
	k.reopen(control, 30, store.Reopen{})
	if opened := k.lease(key); opened.Progress.Settled.Has(1) || opened.Closed {
		k.Fatalf("behind a retry the chunk's lease is %+v", opened)
	}
}

// testErasePending erases one who was put off when the campaign was stopped,
// and has no row.
func testErasePending(k kit) {
	held := k.chunk(3)
	cp := k.checkpoint(3, 0, 1, campaign.DeliverySent)
	cp.Progress.Deferred = []campaign.Deferred{{Index: 2, Attempts: 1, Next: k.later(60), Reply: "450 <c@example.org> later"}}
	held, err := k.s.Checkpoint(k.Context(), held, cp)
	k.ok(err, "Checkpoint")
	k.pause(held.Key.CampaignID)
	closed, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
	k.ok(err, "CloseLease")
	want := next(closed)
	want.Progress = closed.Progress.Clone()
	want.Progress.Deferred[0].Reply = ""
	k.same(k.erase(closed, store.Erasure{Index: 2, Packed: []byte{8}}), want, "the lease that EraseRecipient returned")
	k.same(len(k.deliveries(held.Key)), 1, "rows")
}

func testEraseRecipientStale(k kit) {
	control := k.chunked(4)
	key := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 1}
	refused := func(seen store.Lease, what string) {
		k.Helper()
		lease, rows := k.lease(key), k.deliveries(key)
		_, err := k.s.EraseRecipient(k.Context(), seen, store.Erasure{Index: 0, Packed: []byte{7}})
		k.fails(err, campaign.CodeConflict, "EraseRecipient of "+what)
		k.same(k.lease(key), lease, "the lease of "+what)
		k.same(k.deliveries(key), rows, "the rows of "+what)
		packed, err := k.s.GetAudience(k.Context(), key)
		k.ok(err, "GetAudience")
		k.same(packed, []byte{1, 0, 0}, "the audience of "+what)
	}
	refused(k.lease(key), "a free chunk")
	held, err := k.s.Checkpoint(k.Context(), k.hold(key), k.checkpoint(4, 0, 2, campaign.DeliverySent))
	k.ok(err, "Checkpoint")
	refused(held, "a held chunk")
	k.pause(key.CampaignID)
	closed, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
	k.ok(err, "CloseLease")
	k.absorb(key, 2)
	refused(closed, "a chunk into which a message was absorbed since")
	_, err = k.s.EraseRecipient(k.Context(), store.Lease{Key: store.LeaseKey{CampaignID: key.CampaignID, Number: 7}}, store.Erasure{})
	k.fails(err, campaign.CodeNotFound, "EraseRecipient of a chunk that is not there")
}

func testEraseAddresses(k kit) {
	many := k.submission()
	for n := range 900 { // more than a DynamoDB item of a campaign is to hold
		many.Campaign.Audience.Addresses = append(many.Campaign.Audience.Addresses, fmt.Sprintf("%0240d@example.org", n))
	}
	for what, n := range map[string]store.NewCampaign{"a small selection": k.submission(), "a large selection": many} {
		c := k.create(n)
		k.fails(k.s.EraseAddresses(k.Context(), c.ID), campaign.CodeConflict, "EraseAddresses of "+what+" before the audience is final")
		k.same(k.campaign(c.ID), c, "the campaign of "+what)
		_, err := k.s.FinishFreeze(k.Context(), k.hold(store.LeaseKey{CampaignID: c.ID}))
		k.ok(err, "FinishFreeze")
		want := c
		want.Audience.Addresses = nil
		for range 2 {
			k.ok(k.s.EraseAddresses(k.Context(), c.ID), "EraseAddresses of "+what)
			k.same(k.campaign(c.ID), want, "the campaign of "+what)
		}
	}
	k.fails(k.s.EraseAddresses(k.Context(), k.prefix), campaign.CodeNotFound, "EraseAddresses of no campaign")
}

func testExpire(k kit) {
	control := k.completed(terminalStates(), terminalStates())
	id := control.Key.CampaignID
	key := store.LeaseKey{CampaignID: id, Number: 1}
	want, totals, lease, trail := k.campaign(id), k.totals(id), k.lease(key), k.trail(key)
	want.ExpiredAt = k.later(50)
	for n, at := range []time.Time{k.later(50), k.later(51)} {
		k.ok(k.s.Expire(k.Context(), id, at), fmt.Sprint("Expire, call ", n+1))
		k.same(k.campaign(id), want, "the expired campaign")
	}
	_, err := k.s.Restart(k.Context(), id, store.Restart{
		From: campaign.StatusCompleted, To: campaign.StatusInProgress, DueAt: k.at, At: k.later(60),
	})
	k.fails(err, campaign.CodeConflict, "Restart of an expired campaign")

	for range 2 {
		k.ok(k.s.EraseChunk(k.Context(), key), "EraseChunk")
		_, err := k.s.GetAudience(k.Context(), key)
		k.fails(err, campaign.CodeNotFound, "GetAudience of an erased chunk")
		k.same(k.deliveries(key), []campaign.Delivery{}, "rows of an erased chunk")
	}
	k.same(k.lease(key), lease, "the lease of an erased chunk")
	k.same(k.trail(key), trail, "the audit trail of an erased chunk")
	k.same(k.totals(id), totals, "totals of an expired campaign")
	other := store.LeaseKey{CampaignID: id, Number: 2}
	if _, err := k.s.GetAudience(k.Context(), other); err != nil || len(k.deliveries(other)) != len(terminalStates()) {
		k.Fatalf("another chunk was erased: %v", err)
	}
}

func testExpireRefused(k kit) {
	c := k.start()
	k.fails(k.s.Expire(k.Context(), c.ID, k.at), campaign.CodeConflict, "Expire of a pending campaign")
	k.pause(c.ID)
	k.fails(k.s.Expire(k.Context(), c.ID, k.at), campaign.CodeConflict, "Expire of a paused campaign")
	if got := k.campaign(c.ID); !got.ExpiredAt.IsZero() {
		k.Fatalf("the campaign expired at %s", got.ExpiredAt)
	}
	k.fails(k.s.Expire(k.Context(), k.prefix, k.at), campaign.CodeNotFound, "Expire of no campaign")
}
