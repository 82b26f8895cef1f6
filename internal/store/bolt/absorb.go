package bolt

import (
	"context"
	"slices"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Absorb implements store.Work.
func (s *Store) Absorb(ctx context.Context, key store.LeaseKey, sent []campaign.Delivery) error {
	if err := checkCount(sent); err != nil {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		v, err := t.lease(key)
		if err != nil {
			return err
		}
		rows, err := t.rows(key)
		if err != nil {
			return err
		}
		news := slices.DeleteFunc(slices.Clone(sent), func(d campaign.Delivery) bool {
			return rows[d.Index].State == campaign.DeliverySent
		})
		if len(news) == 0 {
			return nil
		}
		return t.absorb(v, rows, news)
	})
}

// absorb stores deliveries that are not sent by the rows so far. The token
// stays, so the holder's last write is still recognised.
func (t *tx) absorb(v leaseValue, rows map[int]campaign.Delivery, news []campaign.Delivery) error {
	old := v.Lease
	v.Version++
	v.Progress = old.Progress.Clone()
	counted, err := settleSent(&v, rows, news)
	if err != nil {
		return err
	}
	if v.Progress.Chain, err = t.appendLink(v.Key, v.Progress.Chain, campaign.EncodeResults(news)); err != nil {
		return err
	}
	if err := t.count(v.Key.CampaignID, func(totals *campaign.Totals) { add(totals, counted) }); err != nil {
		return err
	}
	kept := store.WithoutErased(t.get(audienceBucket, leaseKey(v.Key)), news)
	if err := t.put(deliveriesBucket, deliveriesKey(v.Key, v.Version), encodeDeliveries(kept)); err != nil {
		return err
	}
	_, err = t.replaceLease(old, v)
	return err
}

// settleSent settles the recipients of deliveries and gives what that adds to
// the totals.
func settleSent(v *leaseValue, rows map[int]campaign.Delivery, news []campaign.Delivery) (counted campaign.Totals, err error) {
	p := &v.Progress
	if missing := len(campaign.NewBitmap(v.Size)) - len(p.Settled); missing > 0 {
		p.Settled = append(p.Settled, make(campaign.Bitmap, missing)...)
	}
	for _, d := range news {
		if d.Index < 0 || d.Index >= v.Size {
			return counted, campaign.Errorf(campaign.CodeInternal, "recipient %d is not in a chunk of %d", d.Index, v.Size)
		}
		if p.Settled.Has(d.Index) {
			counted.Count(rows[d.Index].State, -1)
		}
		counted.Count(campaign.DeliverySent, 1)
		p.Settled.Add(d.Index)
		p.Intents.Remove(d.Index)
		p.Counted.Remove(d.Index)
		p.Deferred = slices.DeleteFunc(p.Deferred, func(f campaign.Deferred) bool { return f.Index == d.Index })
	}
	return counted, nil
}
