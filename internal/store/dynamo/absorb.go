package dynamo

import (
	"context"
	"slices"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Absorb implements store.Work with one transaction of the rows, the lease, the
// link of the audit trail and the totals, under the condition that the lease is as it was when the rows
// were read.
func (s *Store) Absorb(ctx context.Context, key store.LeaseKey, sent []campaign.Delivery) error {
	return s.untilStill(ctx, key, func(seen seenLease) (bool, error) { return s.absorb(ctx, seen.Lease, sent) })
}

// absorb tries with the lease as seen.
func (s *Store) absorb(ctx context.Context, seen store.Lease, sent []campaign.Delivery) (still bool, err error) {
	stored, err := s.Deliveries(ctx, seen.Key)
	if err != nil {
		return false, err
	}
	news := newsOf(seen, stored, sent)
	if len(news.rows) == 0 {
		return true, nil
	}
	chain, link := s.appendLink(seen.Key, news.progress.Chain, campaign.EncodeResults(news.rows))
	news.progress.Chain = chain
	lease := changeOf(seen)
	if err := lease.setProgress(news.progress); err != nil {
		return false, err
	}
	// Whoever is erased behind this has changed the lease.
	packed, err := s.GetAudience(ctx, seen.Key)
	if err != nil && campaign.CodeOf(err) != campaign.CodeNotFound {
		return false, err
	}
	rows := store.WithoutErased(packed, news.rows)
	parts := append(append(link, s.rowParts(seen.Key, rows)...),
		s.tally(news.counts).part(s.work, totalsKey(seen.Key)),
		lease.part(s.work, leaseItemKey(seen.Key)))
	refused, err := s.transact(ctx, s.work, parts...)
	return err == nil && len(refused) == 0, err
}

// news is what acknowledged messages change in a chunk.
type news struct {
	rows     []campaign.Delivery
	progress campaign.Progress
	counts   map[campaign.DeliveryState]int64
}

// newsOf compares acknowledged messages with what is stored of the chunk.
func newsOf(seen store.Lease, stored, sent []campaign.Delivery) news {
	n := news{progress: seen.Progress.Clone(), counts: map[campaign.DeliveryState]int64{}}
	settled := campaign.NewBitmap(seen.Size)
	copy(settled, n.progress.Settled)
	n.progress.Settled = settled
	states := map[int]campaign.DeliveryState{}
	for _, d := range stored {
		if settled.Has(d.Index) {
			states[d.Index] = d.State
		}
	}
	for _, d := range sent {
		if states[d.Index] != campaign.DeliverySent {
			n.add(d, states[d.Index])
		}
	}
	return n
}

// add takes in one message to a recipient whose settled state was before; ""
// where there was none.
func (n *news) add(d campaign.Delivery, before campaign.DeliveryState) {
	n.rows = append(n.rows, d)
	n.counts[d.State]++
	if before != "" {
		n.counts[before]--
	}
	n.progress.Settled.Add(d.Index)
	n.progress.Intents.Remove(d.Index)
	n.progress.Counted.Remove(d.Index)
	n.progress.Deferred = slices.DeleteFunc(n.progress.Deferred, func(waits campaign.Deferred) bool { return waits.Index == d.Index })
}
