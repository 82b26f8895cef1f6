package engine

import (
	"context"
	"errors"
	"strings"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// watchEvery is how often a campaign whose audience is frozen is looked at.
// The task that finishes the last chunk completes the campaign at once; this
// is for when it died in between.
const watchEvery = 5 * time.Second

// workControl moves a campaign on under its control lease: start, freeze,
// complete.
func (e *Engine) workControl(lease store.Lease, asked time.Time) {
	ctx, hold, letGo := e.hold(lease, asked)
	defer letGo()
	id := lease.Key.CampaignID
	c, err := e.store.GetCampaign(ctx, id)
	switch {
	case err != nil:
		e.giveUpHeld(hold, err)
	case c.Status.Terminal():
		e.lastWrite(hold, e.store.CloseLease)
	default:
		if err := e.moveOn(ctx, hold, c); err != nil {
			e.giveUpHeld(hold, err)
			return
		}
		e.completeIfDone(id)
		e.closeIfOver(hold)
	}
}

// moveOn starts a pending campaign and freezes the rest of its audience.
func (e *Engine) moveOn(ctx context.Context, hold *holder, c campaign.Campaign) error {
	if c.Status == campaign.StatusPending {
		if err := e.transition(ctx, c.ID, store.Transition{To: campaign.StatusInProgress}); err != nil {
			return err
		}
	}
	if hold.current().Freeze.Final {
		return nil
	}
	r, release, err := e.openRun(ctx, c.ID)
	if err != nil {
		return err
	}
	defer release()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	unlink := context.AfterFunc(r.ctx, func() { end(context.Cause(r.ctx)) })
	defer unlink()
	f := freezer{e: e, hold: hold, fields: r.letter.Fields(), selection: c.Audience}
	return f.run(ctx)
}

// transition changes a campaign's status now, and counts it.
func (e *Engine) transition(ctx context.Context, id string, t store.Transition) error {
	t.At = e.cfg.Now()
	if _, err := e.store.Transition(ctx, id, t); err != nil {
		return err
	}
	e.metrics.campaigns.WithLabelValues(string(t.To)).Inc()
	log := e.log.With().Str("campaign", id).Str("status", string(t.To)).Logger()
	if t.Reason == "" {
		log.Info().Msg("the campaign's status changed")
	} else {
		log.Warn().Str("reason", withoutAddresses(t.Reason)).Msg("the campaign's status changed")
	}
	return nil
}

// withoutAddresses makes a relay's text fit for the log, where persons do not
// belong.
func withoutAddresses(text string) string {
	words := strings.Fields(text)
	for i, word := range words {
		if strings.Contains(word, "@") {
			words[i] = "[address]"
		}
	}
	return strings.Join(words, " ")
}

// completeIfDone completes a campaign none of whose recipients is open.
func (e *Engine) completeIfDone(id string) {
	totals, err := e.store.Totals(e.working, id)
	if err == nil && totals.Complete() {
		err = e.transition(e.working, id, store.Transition{To: campaign.StatusCompleted})
	}
	if err != nil && campaign.CodeOf(err) != campaign.CodeConflict && e.working.Err() == nil {
		e.log.Warn().Err(err).Str("campaign", id).Msg("the campaign could not be completed yet; the control lease's holder will try again")
	}
}

// closeIfOver closes a lease when the campaign's end is durable, and gives it
// back otherwise: a lease closed too early would strand its recipients.
func (e *Engine) closeIfOver(hold *holder) {
	c, err := e.store.GetCampaign(e.working, hold.current().Key.CampaignID)
	switch {
	case err == nil && c.Status.Terminal():
		e.lastWrite(hold, e.store.CloseLease)
	case e.feeding.Err() != nil:
		e.releaseLease(hold, dueNow)
	default:
		e.releaseLease(hold, e.cfg.Now().Add(watchEvery))
	}
}

// giveUpHeld gives back a lease whose work could not be done, by what the
// error says about the next try.
func (e *Engine) giveUpHeld(hold *holder, err error) {
	const wait, longWait = 2 * time.Second, 30 * time.Second
	id := hold.current().Key.CampaignID
	code := campaign.CodeOf(err)
	switch {
	case errors.Is(err, errLeaseLost):
		return
	case errors.Is(err, errCampaignOver):
		e.closeIfOver(hold)
		return
	case e.feeding.Err() != nil:
		e.releaseLease(hold, dueNow)
		return
	case code == campaign.CodeNotFound && e.isGone(id):
		e.lastWrite(hold, e.store.CloseLease)
		return
	case code == campaign.CodeInvalid:
		e.fail(id, err.Error())
		e.closeIfOver(hold)
		return
	case code == campaign.CodeUnavailable:
		e.releaseLease(hold, e.cfg.Now().Add(wait))
	default:
		e.notice(id, "cannot go on, will try again: "+err.Error())
		e.releaseLease(hold, e.cfg.Now().Add(longWait))
	}
	e.log.Error().Err(err).Str("campaign", id).Msg("the campaign's work could not be done; it will be tried again")
}

// isGone says whether there is no such campaign, as against a part of it that
// is missing.
func (e *Engine) isGone(id string) bool {
	_, err := e.store.GetCampaign(e.working, id)
	return err != nil && campaign.CodeOf(err) == campaign.CodeNotFound
}

// notice stores a campaign's notice as well as may be.
func (e *Engine) notice(id, text string) {
	if err := e.store.SetNotice(e.working, id, text, e.cfg.Now()); err != nil {
		e.log.Warn().Err(err).Str("campaign", id).Msg("a notice could not be stored with the campaign")
	}
}

// releaseLease gives a lease back, and looks for it again when it is due.
func (e *Engine) releaseLease(hold *holder, dueAt time.Time) {
	e.lastWrite(hold, func(ctx context.Context, held store.Lease) (store.Lease, error) {
		return e.store.ReleaseLease(ctx, held, dueAt)
	})
	key := hold.current().Key
	time.AfterFunc(dueAt.Sub(e.cfg.Now()), func() { e.wake(key) })
}

// lastWrite does the write that ends the holding of a lease, and logs what it
// cannot mend: the lease then runs out by itself and another holder goes on.
func (e *Engine) lastWrite(hold *holder, op leaseWrite) bool {
	err := hold.write(e.working, op)
	if err != nil {
		key := hold.current().Key
		e.log.Warn().Err(err).Str("campaign", key.CampaignID).Int("lease", key.Number).
			Msg("a lease could not be given back; it runs out by itself")
	}
	return err == nil
}
