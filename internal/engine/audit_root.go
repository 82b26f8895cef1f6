package engine

import (
	"context"
	"errors"
	"time"

	"postern/internal/audit"
	"postern/internal/campaign"
	"postern/internal/store"
)

// errMoved: the campaign has changed while its chunks were read.
var errMoved = errors.New("the campaign has changed meanwhile")

// joint is the chains of a campaign's chunks, as they were at one moment.
type joint struct {
	tree   audit.Tree
	links  []int64
	totals campaign.Totals
}

// join signs what became of a campaign that is not worked on: a root over the
// chains of all its chunks goes to the campaign's own chain, unless the last
// event there is a root over the same. errStillOpen, errMoved, or a fault of
// the store.
//
// The campaign is read before its chunks. What takes them up again is told in
// the campaign's chain, and so is refused the root that was begun before.
func (s settler) join(ctx context.Context, id string) error {
	c, err := get(ctx, s, func(ctx context.Context) (campaign.Campaign, error) { return s.e.store.GetCampaign(ctx, id) })
	if err != nil {
		return err
	}
	if c.Status.Active() {
		return errStillOpen
	}
	j, err := s.chains(ctx, id)
	if err != nil {
		return err
	}
	last, err := get(ctx, s, func(ctx context.Context) (campaign.Event, error) { return lastEvent(ctx, s.e.store, c) })
	if err != nil || last.Root != nil && last.Root.Merkle == j.tree.Root() {
		return err
	}
	return s.sign(ctx, c, j)
}

// get is try for a call that gives something.
func get[T any](ctx context.Context, s settler, call func(context.Context) (T, error)) (out T, err error) {
	err = s.try(ctx, func(ctx context.Context) (err error) {
		out, err = call(ctx)
		return err
	})
	return out, err
}

// chains reads the chains of all chunks, and the totals, which change with
// them: where they are the same before and after, nothing was recorded in
// between.
func (s settler) chains(ctx context.Context, id string) (j joint, err error) {
	lease := func(number int) (store.Lease, error) {
		return get(ctx, s, func(ctx context.Context) (store.Lease, error) {
			return s.e.store.GetLease(ctx, store.LeaseKey{CampaignID: id, Number: number})
		})
	}
	totals := func() (campaign.Totals, error) {
		return get(ctx, s, func(ctx context.Context) (campaign.Totals, error) { return s.e.store.Totals(ctx, id) })
	}
	if j.totals, err = totals(); err != nil {
		return j, err
	}
	control, err := lease(0)
	if err != nil {
		return j, err
	}
	for n := range control.Freeze.Chunks {
		chunk, err := lease(n + 1)
		switch {
		case err != nil:
			return j, err
		case !chunk.Closed:
			return j, errStillOpen
		}
		j.tree.Add(n+1, chunk.Progress.Chain)
		j.links = append(j.links, chunk.Progress.Chain.Links)
	}
	after, err := totals()
	j.totals.UpdatedAt, after.UpdatedAt = time.Time{}, time.Time{}
	if err == nil && after != j.totals {
		err = errMoved
	}
	return j, err
}

// sign appends the root of the chains to the campaign's own.
func (s settler) sign(ctx context.Context, c campaign.Campaign, j joint) error {
	key := campaign.KeyID(s.e.sealer.KeyIDs()[0])
	private, err := signer(s.e.sealer, key)
	if err != nil {
		return err
	}
	at := s.e.cfg.Now().Truncate(time.Millisecond)
	root := campaign.Root{
		Links: j.links, Merkle: j.tree.Root(), Key: key,
		Total: j.totals.Total, Sent: j.totals.Sent, Failed: j.totals.Failed, Unknown: j.totals.Unknown, Suppressed: j.totals.Suppressed,
	}
	audit.Sign(private, audit.Place{CampaignID: c.ID, At: at, Before: c.Log}, &root)
	event := campaign.Event{At: at, Actor: campaign.Service, Action: campaign.ActionRoot, Root: &root}
	end, err := get(ctx, s, func(ctx context.Context) (campaign.Chain, error) {
		return s.e.store.AppendEvent(ctx, c.ID, c.Log, event)
	})
	if campaign.CodeOf(err) == campaign.CodeConflict {
		return errMoved
	}
	if err == nil {
		// Whoever keeps the logs elsewhere can hold the trail to this line.
		s.e.log.Info().Str("campaign", c.ID).Int64("link", end.Links).Stringer("hash", end.Head).Msg("the audit trail's root was signed")
	}
	return err
}
