package engine

import (
	"context"
	"slices"
	"strings"

	"postern/internal/campaign"
	"postern/internal/store"
)

// What callers may do, and from which statuses.
var (
	pausable    = []campaign.Status{campaign.StatusScheduled, campaign.StatusPending, campaign.StatusInProgress}
	cancellable = append(slices.Clone(pausable), campaign.StatusPaused, campaign.StatusFailed)
	resumable   = []campaign.Status{campaign.StatusPaused, campaign.StatusFailed}
	retryable   = []campaign.Status{campaign.StatusCompleted}
	// retryStates are the states of recipients who can be mailed again.
	retryStates = []campaign.DeliveryState{campaign.DeliveryFailed, campaign.DeliveryUnknown}
)

// Pause stops a campaign until it is resumed: one second after it returns no
// task begins a message of it, and what was under way finishes and counts. A
// campaign that is paused already stays as it is. CodeNotFound; CodeConflict
// when the campaign has ended.
func (e *Engine) Pause(ctx context.Context, id string) (Report, error) {
	return e.halt(ctx, id, halt{
		done: "paused", from: pausable,
		transition: store.Transition{To: campaign.StatusPaused, Reason: "paused by request; resume it, or cancel it"},
	})
}

// Cancel stops a campaign for good, as Pause does; recipients without a result
// stay pending. A campaign that is cancelled already stays as it is.
// CodeNotFound; CodeConflict when the campaign is completed.
func (e *Engine) Cancel(ctx context.Context, id string) (Report, error) {
	return e.halt(ctx, id, halt{
		done: "cancelled", from: cancellable,
		transition: store.Transition{To: campaign.StatusCancelled, Reason: "cancelled by request"},
	})
}

// halt is a way to stop a campaign.
type halt struct {
	done       string
	from       []campaign.Status
	transition store.Transition
}

func (e *Engine) halt(ctx context.Context, id string, h halt) (Report, error) {
	c, err := e.store.GetCampaign(ctx, id)
	before := c.Status
	if err == nil && before != h.transition.To {
		if err = mayBe(h.done, c, h.from); err == nil {
			c, err = e.transition(ctx, id, h.transition)
		}
	}
	if err != nil {
		return Report{}, err
	}
	if before.Shelved() {
		e.wake(store.LeaseKey{CampaignID: id}) // for the audit trail's signature
	}
	e.endRun(c)
	return e.Report(ctx, id)
}

// mayBe fails with CodeConflict, for the person who asked, unless the
// campaign's status is one of from.
func mayBe(done string, c campaign.Campaign, from []campaign.Status) error {
	if slices.Contains(from, c.Status) {
		return nil
	}
	names := make([]string, len(from))
	for i, s := range from {
		names[i] = string(s)
	}
	return campaign.Errorf(campaign.CodeConflict, "the campaign is %s, and only one that is %s can be %s",
		c.Status, strings.Join(names, ", "), done)
}

// Resume takes a paused or failed campaign up again, for the recipients
// without a result: scheduled where its time is still ahead and it never
// started. CodeNotFound; CodeConflict when it is neither paused nor failed;
// CodeInvalid when the relay cannot be used.
func (e *Engine) Resume(ctx context.Context, id string, o ResumeOptions) (Report, error) {
	c, err := e.store.GetCampaign(ctx, id)
	if err == nil {
		err = mayBe("resumed", c, resumable)
	}
	if err != nil {
		return Report{}, err
	}
	r := store.Restart{From: c.Status, To: campaign.StatusInProgress, DueAt: dueNow}
	switch {
	case c.StartedAt.IsZero() && c.Status == campaign.StatusPaused && c.SendAt.After(e.cfg.Now()):
		r.To, r.DueAt = campaign.StatusScheduled, c.SendAt
	case c.StartedAt.IsZero():
		r.To = campaign.StatusPending
	}
	return e.restart(ctx, c, r, o.Relay)
}

// Retry takes a completed campaign up again for the recipients in the states
// asked for, and for nobody else. CodeNotFound; CodeConflict when the campaign
// is not completed; CodeInvalid for other states, or when the relay cannot be
// used.
func (e *Engine) Retry(ctx context.Context, id string, o RetryOptions) (Report, error) {
	states, err := statesOf(o)
	if err != nil {
		return Report{}, err
	}
	c, err := e.store.GetCampaign(ctx, id)
	if err == nil {
		err = mayBe("retried", c, retryable)
	}
	if err != nil {
		return Report{}, err
	}
	r := store.Restart{From: c.Status, To: campaign.StatusInProgress, States: states, DueAt: dueNow}
	return e.restart(ctx, c, r, o.Relay)
}

// statesOf gives the states of a retry, each once.
func statesOf(o RetryOptions) ([]campaign.DeliveryState, error) {
	if len(o.States) == 0 {
		return []campaign.DeliveryState{campaign.DeliveryFailed}, nil
	}
	for _, s := range o.States {
		if !slices.Contains(retryStates, s) {
			return nil, campaign.Invalid("states", "must be %s, %s or both", campaign.DeliveryFailed, campaign.DeliveryUnknown)
		}
	}
	states := slices.Clone(o.States)
	slices.Sort(states)
	return slices.Compact(states), nil
}

// restart takes a campaign up again, with what is new about its relay.
func (e *Engine) restart(ctx context.Context, c campaign.Campaign, r store.Restart, relay *SubmittedRelay) (report Report, err error) {
	if err := e.changeRelay(&r, c, relay); err != nil {
		return Report{}, err
	}
	// The totals first, so that nothing fails once the campaign goes on.
	if report.Totals, err = e.store.Totals(ctx, c.ID); err != nil {
		return Report{}, err
	}
	r.At, r.Actor = e.cfg.Now(), campaign.ActorOf(ctx)
	if report.Campaign, err = e.store.Restart(ctx, c.ID, r); err != nil {
		return Report{}, err
	}
	e.statusChanged(ctx, c.ID, r.To, "")
	e.endRun(report.Campaign)
	e.wake(store.LeaseKey{CampaignID: c.ID})
	return report, nil
}

// changeRelay gives the campaign another relay, where the changes make it one.
func (e *Engine) changeRelay(r *store.Restart, c campaign.Campaign, changes *SubmittedRelay) error {
	relay, password, faults := e.chooseRelay(mergeRelay(c.Relay, changes))
	if password == "" && sameServer(relay, c.Relay) {
		if refused := e.checkRelay(relay); len(refused) > 0 {
			return campaign.InvalidAll(refused)
		}
		if passwordGone(c.Relay) {
			return campaign.Invalid("smtp_password",
				"is required: the campaign has ended before, and its relay's password was erased then")
		}
		return nil
	}
	if len(faults) > 0 {
		return campaign.InvalidAll(faults)
	}
	if password != "" {
		relay.SealedPassword = e.sealer.Seal([]byte(password), passwordContext(c.ID, relay))
	}
	r.Relay = &relay
	return nil
}

// mergeRelay adds to what is new about a campaign's relay what stays. A user
// name belongs to its server, and so do the port and the kind of transport:
// another server brings its own. No password stays: it goes nowhere but to
// where it was given for.
func mergeRelay(own campaign.Relay, changes *SubmittedRelay) SubmittedRelay {
	var s SubmittedRelay
	if changes != nil {
		s = *changes
	}
	if s.Host != "" && s.Host != own.Host {
		return s
	}
	s.Host = own.Host
	if s.Port == 0 {
		s.Port = own.Port
	}
	if s.UseTLS == nil {
		s.UseTLS = &own.UseTLS
	}
	if s.Username == "" {
		s.Username = own.Username
	}
	return s
}

// sameServer says whether the one's password may be used with the other.
func sameServer(a, b campaign.Relay) bool {
	return a.Host == b.Host && a.Port == b.Port && a.UseTLS == b.UseTLS && a.Username == b.Username
}

// passwordGone says whether the relay had a password of its own that was
// erased when the campaign ended.
func passwordGone(r campaign.Relay) bool {
	return !r.Default && r.Username != "" && len(r.SealedPassword) == 0
}
