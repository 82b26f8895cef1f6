package dynamo

import (
	"bytes"
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Restart implements store.Campaigns with one transaction of the campaign, the
// event in its audit trail, its control lease and the signal. The campaign keeps the call's stamp, by which
// a repeated call is recognised.
func (s *Store) Restart(ctx context.Context, id string, r store.Restart) (campaign.Campaign, error) {
	if id == "" {
		return campaign.Campaign{}, noCampaign()
	}
	mark, err := stamp("restart", r)
	if err != nil {
		return campaign.Campaign{}, err
	}
	control := store.LeaseKey{CampaignID: id}
	err = s.untilStill(ctx, control, func(seen seenLease) (bool, error) { return s.restart(ctx, seen.Lease, r, mark) })
	if err != nil {
		return campaign.Campaign{}, err
	}
	return s.GetCampaign(ctx, id)
}

// restart tries with the control lease as seen.
func (s *Store) restart(ctx context.Context, seen store.Lease, r store.Restart, mark types.AttributeValue) (still bool, err error) {
	if !r.From.CanBecome(r.To) {
		return false, cannotBecome(r.From, r.To)
	}
	id := seen.Key.CampaignID
	now, _, err := s.getItem(ctx, s.campaigns, campaignKey(id))
	if err != nil {
		return false, err
	}
	if len(now) > 0 {
		if _, err := s.readCampaign(ctx, now); err != nil {
			return false, err
		}
	}
	if done, err := restartedAlready(now, r, mark); done || err != nil {
		return done, err
	}
	u := restartUpdate(r, mark)
	link, err := s.logEvent(u, id, chainOf(now, attrLog, attrLogHead), r.Event())
	if err != nil {
		return false, err
	}
	lease := changeOf(seen)
	lease.free(seen.Key, r.DueAt)
	lease.setReopen(reopenAfter(seen.Reopen, r.States))
	refused, err := s.transact(ctx, s.campaigns,
		u.part(s.campaigns, campaignKey(id)), link,
		lease.part(s.work, leaseItemKey(seen.Key)),
		raise().part(s.work, signalKey()))
	return err == nil && len(refused) == 0, err
}

// restartedAlready recognises the call in the campaign as it is. The error says
// why it must not be made.
func restartedAlready(now item, r store.Restart, mark types.AttributeValue) (bool, error) {
	switch {
	case len(now) == 0:
		return false, noCampaign()
	case bytes.Equal(octets(now[attrRestarted]), octets(mark)):
		return true, nil
	case text(now[attrStatus]) != string(r.From):
		return false, campaign.Errorf(campaign.CodeConflict, "the campaign is %s, not %s", text(now[attrStatus]), r.From)
	case now[attrExpiredAt] != nil:
		return false, store.ErrExpired()
	}
	return false, nil
}

// reopenAfter is what a Restart makes of an earlier one's Reopen.
func reopenAfter(earlier store.Reopen, states []campaign.DeliveryState) store.Reopen {
	if len(states) > 0 || earlier.Next == 0 {
		return store.Reopen{Next: 1, States: states, StatesFrom: 1}
	}
	return store.Reopen{Next: 1, States: earlier.States, StatesFrom: max(earlier.StatesFrom, earlier.Next)}
}

func restartUpdate(r store.Restart, mark types.AttributeValue) *update {
	u := newUpdate()
	u.require("%s=%s", attrStatus, str(string(r.From)))
	u.require("(attribute_not_exists(%[1]s) OR %[1]s<>%[2]s)", attrRestarted, mark)
	u.require("attribute_not_exists(%s)", attrExpiredAt)
	u.set(attrRestarted, mark)
	u.set(attrStatus, str(string(r.To)))
	u.set(attrUpdatedAt, when(r.At))
	if r.To == campaign.StatusInProgress {
		u.set(attrRunning, when(r.At))
	}
	for _, gone := range []string{attrReason, attrNotice, attrFinishedAt} {
		u.remove(gone)
	}
	if r.Relay != nil {
		u.setRelay(*r.Relay)
	}
	return u
}

func (u *update) setRelay(r campaign.Relay) {
	it := relayItem(r)
	for _, attribute := range relayAttributes {
		if value, is := it[attribute]; is {
			u.set(attribute, value)
		} else {
			u.remove(attribute)
		}
	}
}
