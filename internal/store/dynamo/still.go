package dynamo

import (
	"context"

	"postern/internal/campaign"
	"postern/internal/store"
)

// seenLease is a lease as it was read.
type seenLease struct {
	store.Lease
	// done: the totals count the chunk as done.
	done bool
}

// untilStill reads a lease and calls write with it, again and again until
// nobody else's write has come between. Write says whether that was so. The
// error is write's, or CodeUnavailable when the lease does not come to rest.
func (s *Store) untilStill(ctx context.Context, key store.LeaseKey, write func(seen seenLease) (still bool, err error)) error {
	for wait := newBackoff(); ; {
		seen, err := s.see(ctx, key)
		if err != nil {
			return err
		}
		if still, err := write(seen); still || err != nil {
			return err
		}
		restless := campaign.Errorf(campaign.CodeUnavailable, "lease %d of campaign %s changes all the time", key.Number, key.CampaignID)
		if err := wait.next(ctx, restless); err != nil {
			return call{opTransact, s.work}.fail(ctx, err)
		}
	}
}

func (s *Store) see(ctx context.Context, key store.LeaseKey) (seenLease, error) {
	it, found, err := s.getItem(ctx, s.work, leaseItemKey(key))
	if err != nil {
		return seenLease{}, err
	}
	if !found {
		return seenLease{}, noLease(key)
	}
	l, err := leaseOf(it)
	return seenLease{Lease: l, done: truth(it[attrDone])}, err
}
