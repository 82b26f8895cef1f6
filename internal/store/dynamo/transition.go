package dynamo

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Transition implements store.Campaigns. Where the campaign stops, the write
// is in one transaction with the signal.
func (s *Store) Transition(ctx context.Context, id string, t store.Transition) (campaign.Campaign, error) {
	if id == "" {
		return campaign.Campaign{}, noCampaign()
	}
	if !isStop(t.To) {
		return s.move(ctx, id, t)
	}
	refused, err := s.transact(ctx, s.campaigns,
		transitionUpdate(t).part(s.campaigns, campaignKey(id)), raise().part(s.work, signalKey()))
	if err != nil {
		return campaign.Campaign{}, err
	}
	if old, is := refused[0]; is {
		return s.notMoved(ctx, old, t.To)
	}
	return s.GetCampaign(ctx, id)
}

// isStop says whether tasks have to leave a campaign of the status alone.
func isStop(status campaign.Status) bool {
	return status == campaign.StatusPaused || status == campaign.StatusFailed || status == campaign.StatusCancelled
}

// move makes a transition that no task needs to be told of.
func (s *Store) move(ctx context.Context, id string, t store.Transition) (campaign.Campaign, error) {
	out, err := s.db.UpdateItem(ctx, transitionUpdate(t).input(s.campaigns, campaignKey(id)))
	if old, failed := conditionFailed(err); failed {
		return s.notMoved(ctx, old, t.To)
	}
	if err != nil {
		return campaign.Campaign{}, call{opUpdate, s.campaigns}.fail(ctx, err)
	}
	return s.readCampaign(ctx, out.Attributes)
}

// notMoved tells apart why a transition's condition did not hold.
func (s *Store) notMoved(ctx context.Context, old item, to campaign.Status) (campaign.Campaign, error) {
	if len(old) == 0 {
		return campaign.Campaign{}, noCampaign()
	}
	status := campaign.Status(text(old[attrStatus]))
	switch {
	case status == to:
		return s.readCampaign(ctx, old)
	case mayMove(status, to):
		return campaign.Campaign{}, campaign.Errorf(campaign.CodeConflict, "the campaign has been started anew meanwhile")
	}
	return campaign.Campaign{}, cannotBecome(status, to)
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
	if !t.Since.IsZero() {
		u.require("%s=%s", attrRunning, when(t.Since))
	}
	u.requireStatus(func(s campaign.Status) bool { return mayMove(s, t.To) })
	return u
}

// mayMove says whether a transition is legal without a Restart, which alone
// takes back what is shelved.
func mayMove(from, to campaign.Status) bool {
	shelved := from == campaign.StatusPaused || from == campaign.StatusCompleted || from == campaign.StatusFailed
	return from.CanBecome(to) && (!shelved || to == campaign.StatusCancelled)
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
