package engine

import (
	"context"
	"errors"
	"fmt"
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
// than they are kept. One that cannot, or cannot be read, does not keep the
// others from it.
func (e *Engine) forgetOld(ctx context.Context) error {
	before := e.cfg.Now().Add(-e.cfg.Retention)
	var faults []error
	for cursor := ""; ; {
		page, err := e.listCampaigns(ctx, cursor, sweepPage)
		if err != nil {
			return errors.Join(append(faults, err)...)
		}
		for i := range page.Campaigns {
			c := &page.Campaigns[i]
			if !c.Status.Ended() || !c.FinishedAt.Before(before) {
				continue
			}
			if err := e.forget(ctx, c, before); err != nil {
				faults = append(faults, fmt.Errorf("campaign %s: %w", c.ID, err))
			}
			if ctx.Err() != nil {
				return errors.Join(append(faults, context.Cause(ctx))...)
			}
		}
		if cursor = page.Next; cursor == "" {
			return errors.Join(faults...)
		}
	}
}

// forget takes away who a campaign's recipients were, if it ended before a
// time.
func (e *Engine) forget(ctx context.Context, c *campaign.Campaign, before time.Time) error {
	control, err := e.store.GetLease(ctx, store.LeaseKey{CampaignID: c.ID})
	if err != nil {
		return err
	}
	chunks := control.Freeze.Chunks
	if !c.ExpiredAt.IsZero() {
		if gone, err := e.forgotten(ctx, c, chunks); gone || err != nil {
			return err
		}
	}
	if err := e.store.Expire(ctx, c.ID, before, e.cfg.Now()); err != nil {
		return unlessConflict(err) // it has been taken up again
	}
	if err := e.store.EraseAddresses(ctx, c.ID); err != nil {
		return err
	}
	if err := e.note(ctx, c.ID, campaign.Event{Action: campaign.ActionExpired}); err != nil {
		return err
	}
	for n := range chunks {
		if err := e.store.EraseChunk(ctx, store.LeaseKey{CampaignID: c.ID, Number: n + 1}); err != nil {
			return err
		}
	}
	e.log.Info().Str("campaign", c.ID).Int("chunks", chunks).Msg("the campaign has forgotten its recipients (DELIVERY_RETENTION)")
	return nil
}

// forgotten says whether an expired campaign has nothing left to take away.
// That is done chunk by chunk from the first on: where nothing is left of the
// last one, nothing is of all.
func (e *Engine) forgotten(ctx context.Context, c *campaign.Campaign, chunks int) (bool, error) {
	if len(c.Audience.Addresses) > 0 {
		return false, nil
	}
	if chunks == 0 {
		return true, nil
	}
	last := store.LeaseKey{CampaignID: c.ID, Number: chunks}
	_, err := e.store.GetAudience(ctx, last)
	if campaign.CodeOf(err) != campaign.CodeNotFound {
		return false, err
	}
	rows, err := e.store.Deliveries(ctx, last)
	return err == nil && len(rows) == 0, err
}

func unlessConflict(err error) error {
	if campaign.CodeOf(err) == campaign.CodeConflict {
		return nil
	}
	return err
}
