package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

const (
	// countAtOnce is how many contacts are counted in one call: what is
	// repeated when the store has not answered for all of them.
	countAtOnce = 100
	// settleAgain is when accounts are looked at again that could not be
	// settled because a chunk is still being worked on.
	settleAgain = time.Second
)

// errStillOpen: a chunk of the campaign is not closed yet.
var errStillOpen = errors.New("a chunk is still open")

// settleAndClose settles the accounts of a campaign that is not to be worked
// on, then closes its control lease.
func (e *Engine) settleAndClose(hold *holder, status campaign.Status) {
	err := e.settleAccounts(hold)
	switch {
	case err == nil:
		e.closeLease(hold, status)
	case errors.Is(err, errLeaseLost):
	case e.feeding.Err() != nil:
		e.releaseLease(hold, dueNow)
	case errors.Is(err, errStillOpen), errors.Is(err, errMoved):
		e.releaseLease(hold, e.cfg.Now().Add(settleAgain))
	default:
		e.couldNotSettle(hold.current().Key, err)
		e.releaseLease(hold, e.cfg.Now().Add(retryLater))
	}
}

// settleAccounts brings the contacts' statistics up to date, chunk by chunk, and
// signs the audit trail's root: what is left to do stands in the chunks'
// leases, so a walk that is interrupted starts over. errLeaseLost when the control lease was lost, as it
// is to a Restart; errStillOpen; errMoved; the task's end; or a fault of the
// store.
func (e *Engine) settleAccounts(hold *holder) error {
	s := settler{e: e, stop: hold.lost}
	control := hold.current()
	for n := range control.Freeze.Chunks {
		key := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: n + 1}
		if err := s.settle(e.feeding, key); err != nil {
			return err
		}
	}
	return s.join(e.feeding, control.Key.CampaignID)
}

// settleLate settles the account of a chunk into which messages were absorbed
// after its campaign's end or stop, and signs the audit trail anew: the walk may
// have passed it.
func (e *Engine) settleLate(key store.LeaseKey) {
	s := settler{e: e, stop: func() bool { return false }}
	var c campaign.Campaign
	err := s.try(e.working, func(ctx context.Context) (err error) {
		c, err = e.store.GetCampaign(ctx, key.CampaignID)
		return err
	})
	if err == nil && !c.Status.Active() {
		err = s.settle(e.working, key)
	}
	for err == nil && !c.Status.Active() {
		if err = s.join(e.working, key.CampaignID); !errors.Is(err, errMoved) {
			break
		}
		err = sleep(e.working, jitter(settleAgain))
	}
	if err != nil && !errors.Is(err, errStillOpen) && e.working.Err() == nil {
		e.couldNotSettle(key, err)
	}
}

func (e *Engine) couldNotSettle(key store.LeaseKey, err error) {
	e.log.Error().Err(err).Str("campaign", key.CampaignID).Int("lease", key.Number).
		Msg("the contacts' statistics could not be brought up to date")
}

// settler settles chunks' accounts.
type settler struct {
	e    *Engine
	stop func() bool // it is for another to go on
}

// try repeats a call while the store is out of reach.
func (s settler) try(ctx context.Context, call func(context.Context) error) error {
	return s.e.untilDone(ctx, func(ctx context.Context) error {
		if s.stop() {
			return errLeaseLost
		}
		return call(ctx)
	})
}

// settle counts the messages of a closed chunk with their contacts, again
// where something was absorbed meanwhile. errStillOpen.
func (s settler) settle(ctx context.Context, key store.LeaseKey) error {
	for {
		var lease store.Lease
		err := s.try(ctx, func(ctx context.Context) (err error) {
			lease, err = s.e.store.GetLease(ctx, key)
			return err
		})
		switch {
		case err != nil:
			return err
		case !lease.Closed:
			err = s.shut(ctx, lease)
		case lease.Progress.AllCounted():
			return nil
		default:
			err = s.count(ctx, lease)
		}
		if err != nil && campaign.CodeOf(err) != campaign.CodeConflict {
			return err
		}
	}
}

// count counts those of a closed chunk's messages that the statistics do not
// have, each as of its own time. CodeConflict where the lease has changed.
func (s settler) count(ctx context.Context, closed store.Lease) error {
	var rows []campaign.Delivery
	err := s.try(ctx, func(ctx context.Context) (err error) {
		rows, err = s.e.store.Deliveries(ctx, closed.Key)
		return err
	})
	if err != nil {
		return err
	}
	for sent := range slices.Chunk(uncounted(closed.Progress, rows), countAtOnce) {
		err := s.try(ctx, func(ctx context.Context) error { return s.e.store.CountSent(ctx, closed.Key.CampaignID, sent) })
		if err != nil {
			return err
		}
		s.e.metrics.counted.Add(float64(len(sent)))
	}
	return s.try(ctx, func(ctx context.Context) error {
		_, err := s.e.store.MarkCounted(ctx, closed)
		return err
	})
}

// shut shelves a chunk that nobody works on, such as one that waits for its
// deferred recipients. errStillOpen where somebody does, or the campaign has
// been taken up again; CodeConflict where the lease has changed.
func (s settler) shut(ctx context.Context, open store.Lease) error {
	if open.Owner != "" {
		return errStillOpen
	}
	asked := time.Now()
	held, err := s.e.store.AcquireLease(ctx, open, s.e.cfg.Owner)
	if err != nil {
		return err
	}
	_, hold, letGo := s.e.hold(held, asked)
	defer letGo()
	s.e.shelve(hold)
	if !hold.current().Closed {
		return errStillOpen
	}
	return nil
}

// uncounted gives the messages that the statistics do not have yet.
func uncounted(p campaign.Progress, rows []campaign.Delivery) (sent []store.Sent) {
	for i := range rows {
		d := &rows[i]
		if d.State == campaign.DeliverySent && d.Address != "" && p.Settled.Has(d.Index) && !p.Counted.Has(d.Index) {
			sent = append(sent, store.Sent{Key: campaign.Key(d.Address), At: d.UpdatedAt})
		}
	}
	return sent
}
