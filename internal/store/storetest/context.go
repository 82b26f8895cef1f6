package storetest

import (
	"context"
	"errors"

	"postern/internal/campaign"
	"postern/internal/store"
)

// testEndedContext sees that a call whose context has ended does nothing and
// says why.
func testEndedContext(k kit) {
	held := k.chunk(5)
	ctx, cancel := context.WithCancel(k.Context())
	cancel()
	n := k.submission()
	id := held.Key.CampaignID
	errs := map[string]error{}
	_, _, errs["CreateCampaign"] = k.s.CreateCampaign(ctx, n)
	_, errs["FindByKey"] = k.s.FindByKey(ctx, k.prefix, "digest")
	_, errs["GetCampaign"] = k.s.GetCampaign(ctx, id)
	_, errs["ListCampaigns"] = k.s.ListCampaigns(ctx, "", 1)
	_, errs["Transition"] = k.s.Transition(ctx, id, store.Transition{To: campaign.StatusFailed, At: k.at})
	_, errs["Restart"] = k.s.Restart(ctx, id, store.Restart{From: campaign.StatusPending, To: campaign.StatusInProgress, DueAt: k.at, At: k.at})
	_, errs["Signal"] = k.s.Signal(ctx)
	errs["SetNotice"] = k.s.SetNotice(ctx, id, "x", k.at)
	_, errs["Totals"] = k.s.Totals(ctx, id)
	errs["UpsertContacts"] = k.s.UpsertContacts(ctx, []campaign.ContactChange{{Address: k.address(1)}}, k.at)
	_, errs["GetContacts"] = k.s.GetContacts(ctx, []string{"a@example.org"})
	_, _, errs["ListContacts"] = k.s.ListContacts(ctx, "", 1)
	_, errs["StatusesAfter"] = k.s.StatusesAfter(ctx, "a@example.org", 1)
	_, errs["DueLeases"] = k.s.DueLeases(ctx, k.at, 1)
	_, errs["GetLease"] = k.s.GetLease(ctx, held.Key)
	_, errs["RenewLease"] = k.s.RenewLease(ctx, held)
	_, errs["Checkpoint"] = k.s.Checkpoint(ctx, held, k.checkpoint(5, 0, 2, campaign.DeliverySent))
	_, errs["CloseLease"] = k.s.CloseLease(ctx, held, campaign.StatusPending)
	errs["Absorb"] = k.s.Absorb(ctx, held.Key, k.checkpoint(5, 0, 2, campaign.DeliverySent).Deliveries)
	errs["CountSent"] = k.s.CountSent(ctx, id, sentTo(k.at, campaign.Key(k.address(1))))
	_, errs["MarkCounted"] = k.s.MarkCounted(ctx, held)
	_, errs["FinishChunk"] = k.s.FinishChunk(ctx, held)
	_, errs["GetCell"] = k.s.GetCell(ctx, k.prefix)
	_, errs["SwapCell"] = k.s.SwapCell(ctx, k.prefix, store.Cell{}, []byte("x"))
	_, errs["AppendEvent"] = k.s.AppendEvent(ctx, id, k.campaign(id).Log, campaign.Event{At: k.at})
	_, errs["AuditLinks"] = k.s.AuditLinks(ctx, held.Key, 0, 1)
	_, errs["Deliveries"] = k.s.Deliveries(ctx, held.Key)
	errs["Ping"] = k.s.Ping(ctx)
	for _, name := range sortedKeys(errs) {
		if !errors.Is(errs[name], context.Canceled) {
			k.Errorf("%s with an ended context: %v", name, errs[name])
		}
	}
	k.same(k.lease(held.Key), held, "the lease")
	k.isAbsent(n.Campaign.ID)
}
