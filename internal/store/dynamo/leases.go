package dynamo

import (
	"bytes"
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// leaseWrite is a write to a lease under the condition that it is still as
// its holder, or who acquires it, has seen it.
type leaseWrite struct {
	*update
	from  store.Lease
	fence int64 // after the write
	stamp types.AttributeValue
}

// writeOf begins a write. Op and args make its stamp.
func writeOf(from store.Lease, op string, args ...any) (leaseWrite, error) {
	mark, err := stamp(op, args...)
	if err != nil {
		return leaseWrite{}, err
	}
	w := leaseWrite{update: newUpdate(), from: from, fence: from.Fence, stamp: mark}
	w.require("%s=%s", attrVersion, num(from.Version))
	w.require("%s=%s", attrFence, num(from.Fence))
	w.require("attribute_not_exists(%s)", attrClosed)
	w.set(attrVersion, num(from.Version+1))
	w.set(attrStamp, mark)
	return w, nil
}

// close ends the work: the lease leaves the due index.
func (w leaseWrite) close() {
	w.set(attrClosed, boolean(true))
	w.remove(attrOwner)
	w.remove(attrDueShard)
	w.remove(attrDueAt)
}

// applied looks at the lease that a failed condition gives back. Where it
// carries this very write, which an attempt with a lost answer made, the
// write has succeeded; otherwise the lease is lost.
func (w leaseWrite) applied(old item) (store.Lease, error) {
	if len(old) == 0 {
		return store.Lease{}, noLease(w.from.Key)
	}
	mine := integer(old[attrVersion]) == w.from.Version+1 && integer(old[attrFence]) == w.fence &&
		bytes.Equal(octets(old[attrStamp]), octets(w.stamp))
	if !mine {
		return store.Lease{}, campaign.Errorf(campaign.CodeConflict, "lease %d of campaign %s was changed meanwhile",
			w.from.Key.Number, w.from.Key.CampaignID)
	}
	return leaseOf(old)
}

func noLease(key store.LeaseKey) error {
	return campaign.Errorf(campaign.CodeNotFound, "campaign %s has no lease %d", key.CampaignID, key.Number)
}

// writeLease makes the write by itself.
func (s *Store) writeLease(ctx context.Context, w leaseWrite) (store.Lease, error) {
	out, err := s.db.UpdateItem(ctx, w.input(s.work, leaseItemKey(w.from.Key)))
	if old, failed := conditionFailed(err); failed {
		return w.applied(old)
	}
	if err != nil {
		return store.Lease{}, call{opUpdate, s.work}.fail(ctx, err)
	}
	return leaseOf(out.Attributes)
}

// transactLease makes the write together with the parts. Then is the lease
// as it becomes but for its version, which transactions do not give back.
func (s *Store) transactLease(ctx context.Context, w leaseWrite, then store.Lease, parts ...types.TransactWriteItem) (store.Lease, error) {
	all := append([]types.TransactWriteItem{w.part(s.work, leaseItemKey(w.from.Key))}, parts...)
	refused, err := s.transact(ctx, s.work, all...)
	if err != nil {
		return store.Lease{}, err
	}
	if len(refused) == 0 {
		then.Version = w.from.Version + 1
		return then, nil
	}
	old, is := refused[0]
	if !is {
		return store.Lease{}, campaign.Errorf(campaign.CodeInternal, "lease %d of campaign %s is there, and what belongs to it is not as it should be",
			w.from.Key.Number, w.from.Key.CampaignID)
	}
	return w.applied(old)
}

// GetLease implements store.Work.
func (s *Store) GetLease(ctx context.Context, key store.LeaseKey) (store.Lease, error) {
	it, found, err := s.getItem(ctx, s.work, leaseItemKey(key))
	if err != nil {
		return store.Lease{}, err
	}
	if !found {
		return store.Lease{}, noLease(key)
	}
	return leaseOf(it)
}

// AcquireLease implements store.Work.
func (s *Store) AcquireLease(ctx context.Context, seen store.Lease, owner string) (store.Lease, error) {
	w, err := writeOf(seen, "acquire", owner)
	if err != nil {
		return store.Lease{}, err
	}
	w.fence = seen.Fence + 1
	w.set(attrFence, num(w.fence))
	w.set(attrOwner, str(owner))
	return s.writeLease(ctx, w)
}

// RenewLease implements store.Work.
func (s *Store) RenewLease(ctx context.Context, held store.Lease) (store.Lease, error) {
	w, err := writeOf(held, "renew")
	if err != nil {
		return store.Lease{}, err
	}
	return s.writeLease(ctx, w)
}

// ReleaseLease implements store.Work.
func (s *Store) ReleaseLease(ctx context.Context, held store.Lease, dueAt time.Time) (store.Lease, error) {
	w, err := writeOf(held, "release", dueAt.UnixNano())
	if err != nil {
		return store.Lease{}, err
	}
	w.remove(attrOwner)
	w.set(attrDueAt, millis(dueAt))
	return s.writeLease(ctx, w)
}

// CloseLease implements store.Work.
func (s *Store) CloseLease(ctx context.Context, held store.Lease) (store.Lease, error) {
	w, err := writeOf(held, "close")
	if err != nil {
		return store.Lease{}, err
	}
	w.close()
	return s.writeLease(ctx, w)
}
