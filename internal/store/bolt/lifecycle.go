package bolt

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Transition implements store.Campaigns.
func (s *Store) Transition(ctx context.Context, id string, to store.Transition) (campaign.Campaign, error) {
	return s.changeCampaign(ctx, id, func(t *tx, v *campaignValue) (bool, error) {
		c := &v.Campaign
		if c.Status == to.To {
			return false, nil
		}
		if !mayTransition(c.Status, to.To) {
			return false, errCannotBecome(c.Status, to.To)
		}
		if !to.Since.IsZero() && !c.RunningSince.Equal(milliseconds(to.Since)) {
			return false, campaign.Errorf(campaign.CodeConflict, "the campaign has been taken up again meanwhile")
		}
		if err := t.logEvent(c, to.Event(c.Status)); err != nil {
			return false, err
		}
		if c.Status.Shelved() {
			if err := t.openControl(id, to.At); err != nil {
				return false, err
			}
		}
		transition(c, to)
		return true, t.signalStop(to.To)
	})
}

// mayTransition says whether a campaign may become what it is to be without a
// Restart.
func mayTransition(from, to campaign.Status) bool {
	return from.CanBecome(to) && (!from.Shelved() || to == campaign.StatusCancelled)
}

// openControl takes the control lease from whoever has it and lets its next
// holder look at the campaign.
func (t *tx) openControl(id string, dueAt time.Time) error {
	v, err := t.lease(store.LeaseKey{CampaignID: id})
	if err != nil {
		return err
	}
	old := v.Lease
	v.open(dueAt)
	_, err = t.replaceLease(old, v)
	return err
}

func errCannotBecome(from, to campaign.Status) error {
	return campaign.Errorf(campaign.CodeConflict, "a campaign that is %s cannot become %s", from, to)
}

func transition(c *campaign.Campaign, to store.Transition) {
	at := milliseconds(to.At)
	c.Status, c.Reason, c.UpdatedAt = to.To, to.Reason, at
	if to.To == campaign.StatusInProgress {
		c.RunningSince = at
		if c.StartedAt.IsZero() {
			c.StartedAt = at
		}
	}
	if to.To.Ended() {
		c.FinishedAt, c.Notice, c.Relay.SealedPassword = at, "", nil
	}
}

// SetNotice implements store.Campaigns.
func (s *Store) SetNotice(ctx context.Context, id, notice string, at time.Time) error {
	_, err := s.changeCampaign(ctx, id, func(_ *tx, v *campaignValue) (bool, error) {
		if v.Campaign.Status.Ended() {
			return false, nil
		}
		v.Campaign.Notice, v.Campaign.UpdatedAt = notice, milliseconds(at)
		return true, nil
	})
	return err
}

// changeCampaign stores what change makes of a campaign, unless it says that
// there is nothing to change, and returns the campaign.
func (s *Store) changeCampaign(ctx context.Context, id string, change func(*tx, *campaignValue) (bool, error)) (campaign.Campaign, error) {
	var out campaign.Campaign
	err := s.update(ctx, func(t *tx) error {
		v, err := t.campaign(id)
		if err != nil {
			return err
		}
		changed, err := change(t, &v)
		if err != nil {
			return err
		}
		out = v.Campaign
		if !changed {
			return nil
		}
		return t.putCampaign(v)
	})
	if err != nil {
		return campaign.Campaign{}, err
	}
	return out, nil
}

// Restart implements store.Campaigns.
func (s *Store) Restart(ctx context.Context, id string, r store.Restart) (campaign.Campaign, error) {
	r.At, r.DueAt = milliseconds(r.At), milliseconds(r.DueAt)
	arguments, err := json.Marshal(r)
	if err != nil {
		return campaign.Campaign{}, campaign.Wrap(campaign.CodeInternal, err, "cannot encode a restart of campaign %s", id)
	}
	own := tokenOf("Restart", arguments)
	return s.changeCampaign(ctx, id, func(t *tx, v *campaignValue) (bool, error) {
		if v.Restart == own {
			return false, nil
		}
		if v.Campaign.Status != r.From || !r.From.CanBecome(r.To) {
			return false, errCannotBecome(v.Campaign.Status, r.To)
		}
		if !v.Campaign.ExpiredAt.IsZero() {
			return false, store.ErrExpired()
		}
		v.Restart = own
		if err := t.logEvent(&v.Campaign, r.Event()); err != nil {
			return false, err
		}
		restart(&v.Campaign, r)
		if err := t.restartControl(id, r); err != nil {
			return false, err
		}
		return true, t.raiseSignal()
	})
}

func restart(c *campaign.Campaign, r store.Restart) {
	c.Status, c.Reason, c.Notice = r.To, "", ""
	c.UpdatedAt, c.FinishedAt = r.At, time.Time{}
	if r.Relay != nil {
		c.Relay = *r.Relay
	}
	if r.To == campaign.StatusInProgress {
		c.RunningSince = r.At
	}
}

// restartControl takes the control lease from whoever has it and lets its next
// holder reopen the chunks.
func (t *tx) restartControl(id string, r store.Restart) error {
	v, err := t.lease(store.LeaseKey{CampaignID: id})
	if err != nil {
		return err
	}
	old := v.Lease
	v.open(r.DueAt)
	v.Reopen = reopening(old.Reopen, r.States)
	_, err = t.replaceLease(old, v)
	return err
}

// reopening begins with the first chunk. A retry that was interrupted goes on
// with its states where it had come to; a new one has its own.
func reopening(earlier store.Reopen, states []campaign.DeliveryState) store.Reopen {
	if len(states) == 0 && earlier.Next > 0 {
		return store.Reopen{Next: 1, States: earlier.States, StatesFrom: max(earlier.StatesFrom, earlier.Next)}
	}
	return store.Reopen{Next: 1, States: slices.Clone(states), StatesFrom: 1}
}

const signalKey = "signal"

// Signal implements store.Campaigns.
func (s *Store) Signal(ctx context.Context) (int64, error) {
	var out int64
	err := s.view(ctx, func(t *tx) (err error) {
		out, err = t.signal()
		return err
	})
	return out, err
}

func (t *tx) signal() (int64, error) {
	value := t.get(metaBucket, []byte(signalKey))
	if value == nil {
		return 0, nil
	}
	if len(value) != timeKeySize {
		return 0, damaged(metaBucket, []byte(signalKey), errValue)
	}
	return int64(binary.BigEndian.Uint64(value)), nil
}

// signalStop raises the Signal where a status stops the tasks' work.
func (t *tx) signalStop(status campaign.Status) error {
	if !slices.Contains([]campaign.Status{campaign.StatusPaused, campaign.StatusFailed, campaign.StatusCancelled}, status) {
		return nil
	}
	return t.raiseSignal()
}

func (t *tx) raiseSignal() error {
	n, err := t.signal()
	if err != nil {
		return err
	}
	return t.put(metaBucket, []byte(signalKey), binary.BigEndian.AppendUint64(nil, uint64(n+1)))
}
