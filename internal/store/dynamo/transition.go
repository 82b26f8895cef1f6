package dynamo

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Transition implements store.Campaigns with one transaction of the campaign,
// the event in its audit trail and, where it stops, the signal; of one whose work
// is shelved, of the control lease too. The event tells what the campaign was
// before, so it is read first, and the write has the condition that it is still
// so.
func (s *Store) Transition(ctx context.Context, id string, t store.Transition) (campaign.Campaign, error) {
	if id == "" {
		return campaign.Campaign{}, noCampaign()
	}
	for wait := newBackoff(); ; {
		it, found, err := s.getItem(ctx, s.campaigns, campaignKey(id))
		switch {
		case err != nil:
			return campaign.Campaign{}, err
		case !found:
			return campaign.Campaign{}, noCampaign()
		}
		if _, err := s.readCampaign(ctx, it); err != nil {
			return campaign.Campaign{}, err
		}
		switch may, err := mayTransition(it, t); {
		case err != nil:
			return campaign.Campaign{}, err
		case !may:
			return s.readCampaign(ctx, it)
		}
		moved, err := s.move(ctx, it, t)
		switch {
		case err != nil:
			return campaign.Campaign{}, err
		case moved:
			return s.GetCampaign(ctx, id)
		}
		restless := campaign.Errorf(campaign.CodeUnavailable, "campaign %s changes all the time", id)
		if err := wait.next(ctx, restless); err != nil {
			return campaign.Campaign{}, call{opTransact, s.campaigns}.fail(ctx, err)
		}
	}
}

// isStop says whether tasks have to leave a campaign of the status alone.
func isStop(status campaign.Status) bool {
	return status == campaign.StatusPaused || status == campaign.StatusFailed || status == campaign.StatusCancelled
}

// mayTransition says whether a campaign is to be moved: not when it is there
// already. The error says why it must not.
func mayTransition(it item, t store.Transition) (bool, error) {
	status := campaign.Status(text(it[attrStatus]))
	switch {
	case status == t.To:
		return false, nil
	case !mayMove(status, t.To):
		return false, cannotBecome(status, t.To)
	case !t.Since.IsZero() && text(it[attrRunning]) != text(when(t.Since)):
		return false, campaign.Errorf(campaign.CodeConflict, "the campaign has been started anew meanwhile")
	}
	return true, nil
}

// move makes a transition of a campaign as seen. It says no when the campaign
// is not so any more.
func (s *Store) move(ctx context.Context, seen item, t store.Transition) (moved bool, err error) {
	id, from := text(seen[attrCampaignID]), campaign.Status(text(seen[attrStatus]))
	u := transitionUpdate(t)
	u.require("%s=%s", attrStatus, str(string(from)))
	if running, is := seen[attrRunning]; is {
		u.require("%s=%s", attrRunning, running)
	}
	link, err := s.logEvent(u, id, chainOf(seen, attrLog, attrLogHead), t.Event(from))
	if err != nil {
		return false, err
	}
	parts := []types.TransactWriteItem{u.part(s.campaigns, campaignKey(id)), link}
	if from.Shelved() {
		control, err := s.GetLease(ctx, store.LeaseKey{CampaignID: id})
		if err != nil {
			return false, err
		}
		lease := changeOf(control)
		lease.free(control.Key, t.At)
		parts = append(parts, lease.part(s.work, leaseItemKey(control.Key)))
	}
	if isStop(t.To) {
		parts = append(parts, raise().part(s.work, signalKey()))
	}
	refused, err := s.transact(ctx, s.campaigns, parts...)
	return err == nil && len(refused) == 0, err
}

func cannotBecome(from, to campaign.Status) error {
	return campaign.Errorf(campaign.CodeConflict, "a campaign that is %s cannot become %s", from, to)
}

func transitionUpdate(t store.Transition) *update {
	u := newUpdate()
	u.set(attrStatus, str(string(t.To)))
	u.set(attrReason, str(t.Reason))
	u.set(attrUpdatedAt, when(t.At))
	if t.To == campaign.StatusInProgress {
		u.set(attrRunning, when(t.At))
		u.setOnce(attrStartedAt, when(t.At))
	}
	if t.To.Ended() {
		u.set(attrFinishedAt, when(t.At))
		u.remove(attrSealed)
		u.remove(attrNotice)
	}
	return u
}

// mayMove says whether a transition is legal without a Restart, which alone
// takes back what is shelved.
func mayMove(from, to campaign.Status) bool {
	return from.CanBecome(to) && (!from.Shelved() || to == campaign.StatusCancelled)
}

// requireStatus adds the condition that the stored status is one of those
// allowed.
func (u *update) requireStatus(allowed func(campaign.Status) bool) {
	var values []types.AttributeValue
	for _, status := range campaign.Statuses {
		if allowed(status) {
			values = append(values, str(string(status)))
		}
	}
	if len(values) == 0 { // no status may become this one
		values = append(values, str("none"))
	}
	list := strings.Repeat(",%s", len(values))[1:]
	u.require("%s IN ("+list+")", attrStatus, values...)
}

// SetNotice implements store.Campaigns.
func (s *Store) SetNotice(ctx context.Context, id, notice string, at time.Time) error {
	if id == "" {
		return noCampaign()
	}
	u := newUpdate()
	u.set(attrNotice, str(notice))
	u.set(attrUpdatedAt, when(at))
	u.requireStatus(func(s campaign.Status) bool { return !s.Ended() })
	_, err := s.db.UpdateItem(ctx, u.input(s.campaigns, campaignKey(id)))
	if old, failed := conditionFailed(err); failed {
		if len(old) == 0 {
			return noCampaign()
		}
		return nil
	}
	if err != nil {
		return call{opUpdate, s.campaigns}.fail(ctx, err)
	}
	return nil
}

// attrSignal is the number in the signal's item.
const attrSignal = "n"

func signalKey() item { return workKey("signal", "stops") }

// raise is a part of the write that tasks have to hear of.
func raise() *update {
	u := newUpdate()
	u.add(attrSignal, 1)
	return u
}

// Signal implements store.Campaigns.
func (s *Store) Signal(ctx context.Context) (int64, error) {
	it, _, err := s.getItem(ctx, s.work, signalKey())
	return integer(it[attrSignal]), err
}
