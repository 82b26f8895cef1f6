package dynamo

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// ReopenChunk implements store.Work with one transaction of the control lease,
// the chunk's lease, the link of its audit trail and the totals.
func (s *Store) ReopenChunk(ctx context.Context, control store.Lease, dueAt time.Time) (store.Lease, error) {
	w, err := writeOf(control, "reopen chunk", dueAt.UnixNano())
	if err != nil {
		return store.Lease{}, err
	}
	then := control
	then.Reopen, then.Version = nextOf(control), control.Version+1
	w.setReopen(then.Reopen)
	key := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: control.Reopen.Next}
	if key.Number < 1 || key.Number > control.Freeze.Chunks {
		return s.transactLease(ctx, w, then)
	}
	err = s.untilStill(ctx, key, func(seen seenLease) (bool, error) {
		parts, err := s.reopening(ctx, control.Reopen, seen, dueAt)
		if err != nil {
			return false, err
		}
		refused, err := s.transact(ctx, s.work, append(parts, w.part(s.work, leaseItemKey(control.Key)))...)
		if old, is := refused[len(parts)]; is {
			then, err = w.applied(old)
			return true, err
		}
		return len(refused) == 0, err
	})
	if err != nil {
		return store.Lease{}, err
	}
	return then, nil
}

// nextOf is the control lease's Reopen behind the chunk that it is at.
func nextOf(control store.Lease) store.Reopen {
	r := control.Reopen
	if r.Next < 1 || r.Next >= control.Freeze.Chunks {
		return store.Reopen{}
	}
	r.Next++
	return r
}

// reopening gives what ReopenChunk writes besides the control lease.
func (s *Store) reopening(ctx context.Context, r store.Reopen, seen seenLease, dueAt time.Time) ([]types.TransactWriteItem, error) {
	if !seen.Closed {
		return []types.TransactWriteItem{s.bringForward(seen.Lease, dueAt)}, nil
	}
	o, err := s.open(ctx, r, seen)
	if err != nil {
		return nil, err
	}
	if seen.done && len(o.counts) == 0 {
		return nil, nil // nobody is open, and the totals know
	}
	chain, parts := s.appendLink(seen.Key, o.progress.Chain, campaign.EncodeReopened(o.recipients))
	o.progress.Chain = chain
	lease := changeOf(seen.Lease)
	lease.free(seen.Key, dueAt)
	lease.remove(attrDone)
	if err := lease.setProgress(o.progress); err != nil {
		return nil, err
	}
	parts = append(parts, lease.part(s.work, leaseItemKey(seen.Key)))
	if len(o.counts) > 0 || seen.done {
		tally := s.tally(o.counts)
		if seen.done {
			tally.add(totalsDone, -1)
		}
		parts = append(parts, tally.part(s.work, totalsKey(seen.Key)))
	}
	return parts, nil
}

// bringForward has a free lease due at dueAt where that is sooner. Any other
// open lease is only seen to be open still.
func (s *Store) bringForward(seen store.Lease, dueAt time.Time) types.TransactWriteItem {
	if seen.Owner == "" && seen.DueAt.After(dueAt) {
		u := changeOf(seen)
		u.set(attrDueAt, millis(dueAt))
		return u.part(s.work, leaseItemKey(seen.Key))
	}
	open := newUpdate()
	open.require("attribute_not_exists(%s)", attrClosed)
	return open.checkPart(s.work, leaseItemKey(seen.Key))
}

// opened is what a closed chunk becomes when it is taken up again.
type opened struct {
	progress campaign.Progress
	// recipients are to be mailed again, by index, and counts is by how much the
	// totals of their states go down.
	recipients []int
	counts     map[campaign.DeliveryState]int64
}

// open finds out who of a closed chunk is to be mailed again.
func (s *Store) open(ctx context.Context, r store.Reopen, seen seenLease) (opened, error) {
	o := opened{progress: seen.Progress.Clone(), counts: map[campaign.DeliveryState]int64{}}
	if len(r.States) == 0 || seen.Key.Number < r.StatesFrom {
		return o, nil
	}
	rows, err := s.Deliveries(ctx, seen.Key)
	for _, d := range rows {
		if o.progress.Settled.Has(d.Index) && slices.Contains(r.States, d.State) {
			o.counts[d.State]--
			o.progress.Settled.Remove(d.Index)
			o.progress.Intents.Remove(d.Index)
			o.progress.Counted.Remove(d.Index)
			o.recipients = append(o.recipients, d.Index)
		}
	}
	return o, err
}
