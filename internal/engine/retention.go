package engine

import (
	"context"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

const (
	// sweepEvery is how often a task looks for campaigns whose recipients are to
	// be forgotten.
	sweepEvery = time.Hour
	sweepPage  = 100
)

// watchRetention has campaigns forget their recipients when their time is over.
// Several tasks may do the same at once: what is gone is not taken away twice.
func (e *Engine) watchRetention(ctx context.Context) {
	if e.cfg.Retention == 0 {
		return
	}
	for {
		if err := e.forgetOld(ctx); err != nil && ctx.Err() == nil {
			e.log.Error().Err(err).Msg("campaigns whose DELIVERY_RETENTION is over could not forget their recipients; it will be tried again")
		}
		if sleep(ctx, jitter(sweepEvery)) != nil {
			return
		}
	}
}

// forgetOld has all campaigns forget their recipients that ended longer ago
// than they are kept.
func (e *Engine) forgetOld(ctx context.Context) error {
	before := e.cfg.Now().Add(-e.cfg.Retention)
	for cursor := ""; ; {
		page, next, err := e.store.ListCampaigns(ctx, cursor, sweepPage)
		if err != nil {
			return err
		}
		for _, c := range page {
			if !c.Status.Ended() || !c.FinishedAt.Before(before) {
				continue
			}
			if err := e.forget(ctx, c); err != nil {
				return err
			}
		}
		if cursor = next; next == "" {
			return nil
		}
	}
}

// forget takes away who a campaign's recipients were, chunk by chunk from the
// first on: where the last one's audience is gone, all is.
func (e *Engine) forget(ctx context.Context, c campaign.Campaign) error {
	control, err := e.store.GetLease(ctx, store.LeaseKey{CampaignID: c.ID})
	if err != nil {
		return err
	}
	last := store.LeaseKey{CampaignID: c.ID, Number: control.Freeze.Chunks}
	if !c.ExpiredAt.IsZero() {
		_, err := e.store.GetAudience(ctx, last)
		if last.Number == 0 || campaign.CodeOf(err) == campaign.CodeNotFound {
			return nil
		}
	}
	if err := e.store.Expire(ctx, c.ID, e.cfg.Now()); err != nil {
		return unlessConflict(err) // it has been taken up again
	}
	if err := e.store.EraseAddresses(ctx, c.ID); unlessConflict(err) != nil {
		return err
	}
	if err := e.note(ctx, c.ID, campaign.Event{Action: campaign.ActionExpired}); err != nil {
		return err
	}
	for n := range last.Number {
		if err := e.store.EraseChunk(ctx, store.LeaseKey{CampaignID: c.ID, Number: n + 1}); err != nil {
			return err
		}
	}
	e.log.Info().Str("campaign", c.ID).Int("chunks", last.Number).Msg("the campaign has forgotten its recipients (DELIVERY_RETENTION)")
	return nil
}

func unlessConflict(err error) error {
	if campaign.CodeOf(err) == campaign.CodeConflict {
		return nil
	}
	return err
}
