package storetest

import (
	"testing"

	"postern/internal/campaign"
	"postern/internal/store"
)

// testDurable sees that everything is still there behind a restart.
func testDurable(t *testing.T, h Harness) {
	k := newKit(t, h.Open(t))
	keys := k.people(3)
	n := k.submission()
	n.IdempotencyKey, n.RequestDigest = k.prefix, "digest"
	c := k.create(n)
	control, err := k.s.AddChunk(k.Context(), k.hold(store.LeaseKey{CampaignID: c.ID}), store.Chunk{Size: 5, Packed: []byte("audience"), DueAt: k.at}, "cursor")
	k.ok(err, "AddChunk")
	held := k.hold(store.LeaseKey{CampaignID: c.ID, Number: 1})
	cp := k.checkpoint(5, 0, 5, campaign.DeliverySent)
	after, err := k.s.Checkpoint(k.Context(), held, cp)
	k.ok(err, "Checkpoint")
	before := k.tallied(c.ID)
	k.count(c.ID, sentTo(k.later(1), keys[0]))
	person := k.contact(keys[0])
	log, trail := k.trail(control.Key), k.trail(held.Key)

	k.s = h.Reopen(t, k.s)
	k.same(k.campaign(c.ID), c, "the campaign")
	k.same(k.lease(control.Key), control, "the control lease")
	k.same(k.lease(held.Key), after, "the chunk's lease")
	k.same(k.deliveries(held.Key), cp.Deliveries, "deliveries")
	k.same(k.trail(control.Key), log, "the campaign's own chain")
	k.same(k.trail(held.Key), trail, "the chunk's chain")
	k.same(k.tallied(c.ID), before, "totals")
	k.same(k.contact(keys[0]).Address, k.address(0), "a contact")
	k.same(k.contact(keys[0]), person, "a contact with statistics")
	audience, err := k.s.GetAudience(k.Context(), held.Key)
	k.ok(err, "GetAudience")
	k.same(audience, []byte("audience"), "the audience")
	content, err := k.s.GetContent(k.Context(), c.ID, digestOf([]byte("body")))
	k.ok(err, "GetContent")
	k.same(content, []byte("body"), "content")
	k.named(k.at, dueLimit, control.Key, held.Key)

	again, err := k.s.Checkpoint(k.Context(), held, cp)
	k.ok(err, "the same Checkpoint again, behind the restart")
	k.same(again, after, "what the repeated Checkpoint returned")
	k.same(k.trail(held.Key), trail, "the chunk's chain after the repeated Checkpoint")
	k.same(k.tallied(c.ID), before, "totals after the repeated Checkpoint")
	k.isKnown(n)
	repeated := k.submission()
	repeated.IdempotencyKey, repeated.RequestDigest = n.IdempotencyKey, n.RequestDigest
	got, created, err := k.s.CreateCampaign(k.Context(), repeated)
	k.ok(err, "CreateCampaign")
	if created || got.ID != c.ID {
		k.Fatalf("the Idempotency-Key was forgotten")
	}
}
