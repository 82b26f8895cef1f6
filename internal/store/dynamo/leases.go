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
	w := leaseWrite{update: changeOf(from), from: from, fence: from.Fence, stamp: mark}
	w.require("attribute_not_exists(%s)", attrClosed)
	w.set(attrStamp, mark)
	w.set(attrStamped, num(from.Version+1))
	return w, nil
}

// changeOf begins a change to a lease that is still as seen, closed or not.
// Who holds the lease keeps it: the stamp stays that of the holder's last
// write, so that the holder's repeated call is recognised all the same.
func changeOf(seen store.Lease) *update {
	u := newUpdate()
	u.require("%s=%s", attrVersion, num(seen.Version))
	u.require("%s=%s", attrFence, num(seen.Fence))
	u.set(attrVersion, num(seen.Version+1))
	return u
}

// free makes a lease free and open, whoever holds it. Without the stamp no
// call of a former holder is taken for applied, who would go on with a lease
// that is not its own any more.
func (u *update) free(key store.LeaseKey, dueAt time.Time) {
	u.remove(attrStamp)
	u.remove(attrOwner)
	u.remove(attrClosed)
	u.set(attrDueShard, str(freeShard(key)))
	u.set(attrDueAt, millis(dueAt))
}

// close ends the work: the lease leaves the due index.
func (w leaseWrite) close() {
	w.set(attrClosed, boolean(true))
	w.remove(attrOwner)
	w.remove(attrDueShard)
	w.remove(attrDueAt)
}

// closed is the lease as close leaves it.
func (w leaseWrite) closed() store.Lease {
	then := w.from
	then.Owner, then.Closed, then.DueAt = "", true, time.Time{}
	then.Version++
	return then
}

// applied looks at the lease that a failed condition gives back. Where it
// carries this very write, which an attempt with a lost answer made, the
// write has succeeded, whatever was absorbed since; otherwise the lease is
// lost.
func (w leaseWrite) applied(old item) (store.Lease, error) {
	if len(old) == 0 {
		return store.Lease{}, noLease(w.from.Key)
	}
	mine := integer(old[attrStamped]) == w.from.Version+1 && integer(old[attrFence]) == w.fence &&
		bytes.Equal(octets(old[attrStamp]), octets(w.stamp))
	if !mine {
		return store.Lease{}, errChanged(w.from.Key)
	}
	return leaseOf(old)
}

func errChanged(key store.LeaseKey) error {
	return campaign.Errorf(campaign.CodeConflict, "lease %d of campaign %s was changed meanwhile", key.Number, key.CampaignID)
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
	seen, err := s.see(ctx, key)
	return seen.Lease, err
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
	w.set(attrDueShard, str(shardHeld))
	w.set(attrDueAt, millis(store.HeldDue))
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
	w.set(attrDueShard, str(freeShard(held.Key)))
	w.set(attrDueAt, millis(dueAt))
	return s.writeLease(ctx, w)
}

// CloseLease implements store.Work with one transaction of the lease and a
// check of the campaign's status.
func (s *Store) CloseLease(ctx context.Context, held store.Lease, status campaign.Status) (store.Lease, error) {
	w, err := writeOf(held, "close", status)
	if err != nil {
		return store.Lease{}, err
	}
	w.close()
	check := newUpdate()
	check.require("(%[1]s=%[2]s OR attribute_not_exists(%[1]s))", attrStatus, str(string(status)))
	refused, err := s.transact(ctx, s.work, w.part(s.work, leaseItemKey(held.Key)),
		check.checkPart(s.campaigns, campaignKey(held.Key.CampaignID)))
	if err != nil {
		return store.Lease{}, err
	}
	if old, is := refused[0]; is {
		return w.applied(old)
	}
	if len(refused) > 0 {
		return store.Lease{}, campaign.Errorf(campaign.CodeConflict, "campaign %s is not %s any more", held.Key.CampaignID, status)
	}
	return w.closed(), nil
}
