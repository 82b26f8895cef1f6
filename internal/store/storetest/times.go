package storetest

import (
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// testTimes hands times of another zone in, finer than a millisecond: what
// is stored is in UTC. (A lease that Checkpoint returns may have its progress
// as the caller gave it.)
func testTimes(k kit) {
	ctx := k.Context()
	local := k.at.Add(123 * time.Microsecond).In(time.FixedZone("east", 2*3600))
	change := campaign.ContactChange{Address: k.address(1)}
	k.ok(k.s.UpsertContacts(ctx, []campaign.ContactChange{change}, local), "UpsertContacts")
	updated, err := k.s.UpdateContact(ctx, change, local)
	k.ok(err, "UpdateContact")
	want := campaign.Contact{Address: change.Address, Status: campaign.ContactActive, CreatedAt: k.at, UpdatedAt: k.at}
	k.same(updated, want, "the updated contact")
	k.same(k.contact(change.Address), want, "the contact")

	c := k.start()
	moved, err := k.s.Transition(ctx, c.ID, store.Transition{To: campaign.StatusInProgress, At: local})
	k.ok(err, "Transition")
	k.same(moved.StartedAt, k.at, "the campaign's start")
	k.same(moved.RunningSince, k.at, "the time since when it runs")
	k.same(k.campaign(c.ID), moved, "the campaign")
	k.transition(c.ID, store.Transition{To: campaign.StatusPaused, At: local})
	k.restart(c.ID, store.Restart{From: campaign.StatusPaused, To: campaign.StatusInProgress, DueAt: local, At: local})
	k.same(k.campaign(c.ID).RunningSince, k.at, "the time since when it runs again")
	k.same(k.lease(store.LeaseKey{CampaignID: c.ID}).DueAt, k.at, "the due time of its control lease")

	timed := k.submission()
	timed.Campaign.Status, timed.Campaign.SendAt = campaign.StatusScheduled, local
	_, _, err = k.s.CreateCampaign(ctx, timed)
	k.ok(err, "CreateCampaign")
	k.same(k.campaign(timed.Campaign.ID).SendAt, k.at, "the time of a scheduled campaign")

	held := k.chunk(3)
	d := k.delivery(0, campaign.DeliveryPending)
	stored := d
	stored.UpdatedAt, stored.NextAttempt = k.at, k.at
	d.UpdatedAt, d.NextAttempt = local, local
	p := campaign.Progress{Deferred: []campaign.Deferred{{Attempts: 1, Next: local}}}
	held, err = k.s.Checkpoint(ctx, held, store.Checkpoint{Deliveries: []campaign.Delivery{d}, Progress: p})
	k.ok(err, "Checkpoint")
	k.same(k.lease(held.Key).Progress.Deferred, []campaign.Deferred{{Attempts: 1, Next: k.at}}, "the deferred recipient")
	k.same(k.deliveries(held.Key), []campaign.Delivery{stored}, "the delivery")
	released, err := k.s.ReleaseLease(ctx, held, local)
	k.ok(err, "ReleaseLease")
	k.same(released.DueAt, k.at, "the due time")
	k.same(k.lease(held.Key), released, "the released lease")
}
