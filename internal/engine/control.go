package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"postern/internal/campaign"
	"postern/internal/store"
)

const (
	// watchEvery is how often a campaign whose audience is frozen is looked
	// at. The task that finishes the last chunk completes the campaign at
	// once; this is for when it died in between, and for the time limit.
	watchEvery = 5 * time.Second
	// retrySoon and retryLater are when work is tried again that could not be
	// done because the store is out of reach, or for another reason.
	retrySoon  = 2 * time.Second
	retryLater = 30 * time.Second
	// wakeWithin: work that is due later is left to the polling for due work.
	wakeWithin = 2 * time.Hour
)

// workControl moves a campaign on under its control lease: start, take up
// again, freeze, complete. Behind its end or a stop, it settles the accounts.
func (e *Engine) workControl(lease store.Lease, asked time.Time) {
	ctx, hold, letGo := e.hold(lease, asked)
	defer letGo()
	if err := e.moveOn(ctx, hold); err != nil {
		e.giveUpHeld(hold, err)
		return
	}
	e.completeIfDone(lease.Key.CampaignID)
	e.shelveOr(hold, e.cfg.Now().Add(watchEvery))
}

// moveOn starts a campaign whose time has come, takes up what was shelved, and
// freezes the rest of the audience. errCampaignOver where the campaign is not
// to be worked on.
func (e *Engine) moveOn(ctx context.Context, hold *holder) error {
	c, err := e.begin(ctx, hold.current().Key.CampaignID)
	if err != nil {
		return err
	}
	if e.outOfTime(c) {
		e.stopCampaign(c.ID, store.Transition{To: campaign.StatusFailed, Reason: e.timeIsUp(), Since: c.RunningSince})
		return errCampaignOver
	}
	if lease := hold.current(); lease.Freeze.Final && lease.Reopen.Next == 0 {
		return nil
	}
	r, release, err := e.openRun(ctx, c.ID)
	if err != nil {
		return err
	}
	defer release()
	going, end := context.WithCancelCause(r.ctx)
	defer end(nil)
	unlink := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	defer unlink()
	if hold.current().Freeze.Final {
		if err := e.admitAgain(going, hold, c); err != nil {
			return err
		}
		return e.reopen(going, hold)
	}
	fields, err := e.letterFields(going, c)
	if err != nil {
		return err
	}
	f := freezer{e: e, hold: hold, fields: fields, selection: c.Audience}
	if err := f.admit(going, c); err != nil {
		return err
	}
	if err := e.reopen(going, hold); err != nil {
		return err
	}
	return f.run(going)
}

// begin brings a campaign whose time has come into progress, and gives it as
// it is then.
func (e *Engine) begin(ctx context.Context, id string) (campaign.Campaign, error) {
	c, err := e.store.GetCampaign(ctx, id)
	if err == nil && c.Status == campaign.StatusScheduled && !e.cfg.Now().Before(c.SendAt) {
		c, err = e.transition(ctx, id, e.onSchedule(c))
	}
	if err == nil && c.Status == campaign.StatusPending {
		c, err = e.transition(ctx, id, store.Transition{To: campaign.StatusInProgress})
	}
	switch {
	case err != nil && campaign.CodeOf(err) == campaign.CodeConflict: // somebody has stopped it meanwhile
		return c, errCampaignOver
	case err == nil && !c.Status.Active():
		return c, errCampaignOver
	}
	return c, err
}

// onSchedule starts a scheduled campaign, or has a person asked when its time
// is long past: it may come from a backup, or the service was away.
func (e *Engine) onSchedule(c campaign.Campaign) store.Transition {
	late := e.cfg.Now().Sub(c.SendAt)
	if late <= e.cfg.ScheduleGrace {
		return store.Transition{To: campaign.StatusPending}
	}
	return store.Transition{To: campaign.StatusPaused, Reason: fmt.Sprintf(
		"it was to start at %s and came up %s late, so nothing was sent; resume it to send now, or cancel it",
		c.SendAt.Format(time.RFC3339), late.Round(time.Second))}
}

// reopen takes up chunk by chunk what was shelved when the campaign stopped,
// and whom a retry asks for.
func (e *Engine) reopen(ctx context.Context, hold *holder) error {
	for hold.current().Reopen.Next != 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		key := store.LeaseKey{CampaignID: hold.current().Key.CampaignID, Number: hold.current().Reopen.Next}
		err := hold.write(e.working, func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return e.store.ReopenChunk(ctx, held, dueNow)
		})
		if err != nil {
			return err
		}
		e.wake(key)
	}
	return nil
}

// transition changes a campaign's status now, counts it, and gives the
// campaign as it is then. What is kept of the reason names no person: it
// outlasts their erasure. What a relay wrote is for mailer.Error.Public to
// leave out.
func (e *Engine) transition(ctx context.Context, id string, t store.Transition) (campaign.Campaign, error) {
	t.At, t.Actor = e.cfg.Now(), campaign.ActorOf(ctx)
	reason := t.Reason
	t.Reason = campaign.WithoutAddresses(reason)
	c, err := e.store.Transition(ctx, id, t)
	if err != nil {
		return c, err
	}
	if c.UpdatedAt.Equal(t.At.Truncate(time.Millisecond)) { // or somebody else has moved it, and said so
		e.statusChanged(ctx, id, t.To, reason)
	}
	if t.To == campaign.StatusPaused && c.Notice != "" {
		e.notice(id, "") // nobody tries anything any more
		c.Notice = ""
	}
	return c, nil
}

// statusChanged counts and logs a transition, with the id of the request that
// asked for it.
func (e *Engine) statusChanged(ctx context.Context, id string, to campaign.Status, reason string) {
	e.metrics.campaigns.WithLabelValues(string(to)).Inc()
	log := e.logFor(ctx).With().Str("campaign", id).Str("status", string(to)).Logger()
	if reason == "" {
		log.Info().Msg("the campaign's status changed")
	} else {
		log.Warn().Str("reason", reason).Msg("the campaign's status changed")
	}
}

// logFor is the log with the id of the request, where there is one.
func (e *Engine) logFor(ctx context.Context) *zerolog.Logger {
	request := campaign.ActorOf(ctx).RequestID
	if request == "" {
		return &e.log
	}
	log := e.log.With().Str("request_id", request).Logger()
	return &log
}

// completeIfDone completes a campaign none of whose recipients is open.
func (e *Engine) completeIfDone(id string) {
	err := e.complete(e.working, id)
	if err != nil && campaign.CodeOf(err) != campaign.CodeConflict && e.working.Err() == nil {
		e.log.Warn().Err(err).Str("campaign", id).Msg("the campaign could not be completed yet; the control lease's holder will try again")
	}
}

// complete reads in the order in which a retry writes: a campaign that is taken
// up again between two of the reads is not completed. It is in another period
// of running then, or its chunks are still to be reopened, or the totals have
// them. Nor is one whose audience was not final before the totals were read:
// they are no snapshot, and may miss its last chunk.
func (e *Engine) complete(ctx context.Context, id string) error {
	if totals, err := e.store.Totals(ctx, id); err != nil || !totals.Complete() {
		return err // as it is behind every chunk but the last
	}
	c, err := e.store.GetCampaign(ctx, id)
	if err != nil || c.Status != campaign.StatusInProgress {
		return err
	}
	control, err := e.store.GetLease(ctx, store.LeaseKey{CampaignID: id})
	if err != nil || control.Reopen.Next != 0 || !control.Freeze.Final {
		return err
	}
	totals, err := e.store.Totals(ctx, id)
	if err != nil || !totals.Complete() {
		return err
	}
	_, err = e.transition(ctx, id, store.Transition{To: campaign.StatusCompleted, Since: c.RunningSince})
	if err == nil {
		// The accounts are to be settled, whenever the control lease is due.
		e.wakeTo(hint{key: control.Key, version: control.Version})
	}
	return err
}

// shelve gives back a lease whose work was stopped.
func (e *Engine) shelve(hold *holder) { e.shelveOr(hold, dueNow) }

// shelveOr closes the lease of a campaign that is not to be worked on, and
// gives it back otherwise, due at dueAt. A lease closed too early would strand
// its recipients, so what the store says decides, in the same write.
func (e *Engine) shelveOr(hold *holder, dueAt time.Time) {
	id := hold.current().Key.CampaignID
	// The error is the task's end: what follows says so again.
	_ = e.runs.awaitStop(e.working, id)
	c, err := e.store.GetCampaign(e.working, id)
	switch {
	case err != nil && campaign.CodeOf(err) != campaign.CodeNotFound:
		e.releaseLease(hold, e.cfg.Now().Add(retrySoon))
	case err == nil && c.Status == campaign.StatusScheduled:
		e.releaseLease(hold, c.SendAt)
	case err == nil && c.Status.Active() && e.feeding.Err() != nil:
		e.releaseLease(hold, dueNow)
	case err == nil && c.Status.Active():
		e.releaseLease(hold, dueAt)
	case err == nil && hold.current().Key.Number == 0:
		e.settleAndClose(hold, c.Status)
	default:
		e.closeLease(hold, c.Status)
	}
}

// closeLease closes a lease while the campaign's status is still the one given
// ("" where there is no campaign), and gives it back otherwise.
func (e *Engine) closeLease(hold *holder, status campaign.Status) {
	closed, err := hold.close(e.working, status)
	if err != nil {
		e.couldNotGiveBack(hold, err)
	} else if !closed {
		e.releaseLease(hold, dueNow)
	}
}

// giveUpHeld gives back a lease whose work could not be done, by what the
// error says about the next try.
func (e *Engine) giveUpHeld(hold *holder, err error) {
	id := hold.current().Key.CampaignID
	code := campaign.CodeOf(err)
	switch {
	case errors.Is(err, errLeaseLost):
		return
	case errors.Is(err, errCampaignOver), code == campaign.CodeNotFound && e.isGone(id):
		e.shelve(hold)
		return
	case e.feeding.Err() != nil:
		e.releaseLease(hold, dueNow)
		return
	case code == campaign.CodeInvalid:
		e.stopCampaign(id, store.Transition{To: campaign.StatusFailed, Reason: err.Error()})
		e.shelve(hold)
		return
	case code == campaign.CodeUnavailable:
		e.releaseLease(hold, e.cfg.Now().Add(retrySoon))
	default:
		e.notice(id, "cannot go on, will try again: "+err.Error())
		e.releaseLease(hold, e.cfg.Now().Add(retryLater))
	}
	e.log.Error().Err(err).Str("campaign", id).Msg("the campaign's work could not be done; it will be tried again")
}

// isGone says whether there is no such campaign, as against a part of it that
// is missing.
func (e *Engine) isGone(id string) bool {
	_, err := e.store.GetCampaign(e.working, id)
	return err != nil && campaign.CodeOf(err) == campaign.CodeNotFound
}

// notice stores a campaign's notice, without persons, as well as may be.
func (e *Engine) notice(id, text string) {
	text = campaign.WithoutAddresses(text)
	if err := e.store.SetNotice(e.working, id, text, e.cfg.Now()); err != nil {
		e.log.Warn().Err(err).Str("campaign", id).Msg("a notice could not be stored with the campaign")
	}
}

// releaseLease gives a lease back, and looks for it again when it is due.
func (e *Engine) releaseLease(hold *holder, dueAt time.Time) {
	e.releaseFor(hold, dueAt, dueAt.Sub(e.cfg.Now()))
}

// releaseFor is releaseLease with the wait until dueAt, on the monotonic clock.
func (e *Engine) releaseFor(hold *holder, dueAt time.Time, wait time.Duration) {
	e.lastWrite(hold, func(ctx context.Context, held store.Lease) (store.Lease, error) {
		return e.store.ReleaseLease(ctx, held, dueAt)
	})
	lease := hold.current()
	if wait < wakeWithin {
		time.AfterFunc(wait, func() { e.wakeTo(hint{key: lease.Key, version: lease.Version}) })
	}
}

// lastWrite does the write that ends the holding of a lease, and logs what it
// cannot mend: the lease then runs out by itself and another holder goes on.
func (e *Engine) lastWrite(hold *holder, op leaseWrite) bool {
	err := hold.write(e.working, op)
	if err != nil {
		e.couldNotGiveBack(hold, err)
	}
	return err == nil
}

func (e *Engine) couldNotGiveBack(hold *holder, err error) {
	key := hold.current().Key
	e.log.Warn().Err(err).Str("campaign", key.CampaignID).Int("chunk", key.Number).
		Msg("a lease could not be given back; it runs out by itself")
}
