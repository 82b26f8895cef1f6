package bolt

import (
	"context"
	"maps"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// ReopenChunk implements store.Work.
func (s *Store) ReopenChunk(ctx context.Context, control store.Lease, dueAt time.Time) (store.Lease, error) {
	return s.writeHeld(ctx, control, heldWrite{
		token: tokenOf("ReopenChunk", timeKey(dueAt, nil)),
		apply: func(t *tx, v *leaseValue) error {
			if v.Reopen.Next == 0 {
				return campaign.Errorf(campaign.CodeInternal, "no chunk of campaign %s is to be reopened", v.Key.CampaignID)
			}
			r, chunks := v.Reopen, v.Freeze.Chunks
			v.Reopen.Next++
			if v.Reopen.Next > chunks {
				v.Reopen = store.Reopen{}
			}
			if r.Next > chunks {
				return nil
			}
			return t.reopen(store.LeaseKey{CampaignID: v.Key.CampaignID, Number: r.Next}, r, milliseconds(dueAt))
		},
	})
}

// reopen takes a chunk up again where it is closed and has something to do.
func (t *tx) reopen(key store.LeaseKey, r store.Reopen, dueAt time.Time) error {
	v, err := t.lease(key)
	if err != nil {
		return err
	}
	old := v.Lease
	if v.Closed {
		if toDo, err := t.unsettle(&v, r); err != nil || !toDo {
			return err
		}
	} else if !v.DueAt.After(dueAt) { // so it is with held ones: store.HeldDue
		return nil
	}
	v.open(dueAt)
	_, err = t.replaceLease(old, v)
	return err
}

// unsettle opens the recipients of a closed chunk that are to be mailed again,
// takes them out of the totals, and says whether the chunk has something to do
// then. Without that it changes nothing.
func (t *tx) unsettle(v *leaseValue, r store.Reopen) (toDo bool, err error) {
	v.Progress = v.Progress.Clone()
	counted, err := t.unsettleStates(v, r)
	if err != nil || (v.finished && v.Progress.Settled.Len() >= v.Size) {
		return false, err
	}
	if v.finished {
		v.finished, counted.ChunksDone = false, -1
	}
	if counted == (campaign.Totals{}) {
		return true, nil
	}
	return true, t.count(v.Key.CampaignID, func(totals *campaign.Totals) { add(totals, counted) })
}

// unsettleStates gives what the opening of recipients adds to the totals.
func (t *tx) unsettleStates(v *leaseValue, r store.Reopen) (counted campaign.Totals, err error) {
	if len(r.States) == 0 || v.Key.Number < r.StatesFrom {
		return counted, nil
	}
	rows, err := t.rows(v.Key)
	if err != nil {
		return counted, err
	}
	var opened []int
	for _, i := range slices.Sorted(maps.Keys(rows)) {
		if d := rows[i]; v.Progress.Settled.Has(i) && slices.Contains(r.States, d.State) {
			v.Progress.Settled.Remove(i)
			v.Progress.Intents.Remove(i)
			v.Progress.Counted.Remove(i)
			counted.Count(d.State, -1)
			opened = append(opened, i)
		}
	}
	v.Progress.Chain, err = t.appendLink(v.Key, v.Progress.Chain, campaign.EncodeReopened(opened))
	return counted, err
}
