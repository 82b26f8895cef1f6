package dynamo

import (
	"bytes"
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/store"
)

// FinishChunk implements store.Work.
func (s *Store) FinishChunk(ctx context.Context, held store.Lease) (store.Lease, error) {
	w, err := writeOf(held, "finish chunk")
	if err != nil {
		return store.Lease{}, err
	}
	counts := newTally(s.now())
	return s.transactLease(ctx, w, w.finish(counts), counts.part(s.work, totalsKey(held.Key)))
}

// finish closes the lease of a chunk, counts it as done, and gives the lease
// as it is then.
func (w leaseWrite) finish(counts *update) store.Lease {
	w.close()
	w.set(attrDone, boolean(true))
	counts.add(totalsDone, 1)
	return w.closed()
}

// CountSent implements store.Work, contact by contact, each under a condition
// that makes it count once.
func (s *Store) CountSent(ctx context.Context, campaignID string, sent []store.Sent) error {
	return forEach(ctx, len(sent), func(ctx context.Context, i int) error {
		return s.countSent(ctx, campaignID, sent[i])
	})
}

// countSent counts one message to a contact. A condition that does not hold
// means that the contact is gone or that this campaign is counted.
func (s *Store) countSent(ctx context.Context, campaignID string, sent store.Sent) error {
	u := statistic(campaignID, sent.At)
	u.add(attrEmailCount, 1)
	err := s.updateContact(ctx, sent.Key, u)
	if isValidation(err) {
		// The count has a type that does not count: another program's text.
		err = s.countText(ctx, campaignID, sent)
	}
	if _, done := conditionFailed(err); done || err == nil {
		return nil
	}
	return call{opUpdate, s.contacts}.fail(ctx, err)
}

// countText replaces a count that is stored as text by a number, if it is
// still the text that was read.
func (s *Store) countText(ctx context.Context, campaignID string, sent store.Sent) error {
	it, found, err := s.getItem(ctx, s.contacts, contactKey(sent.Key))
	if err != nil || !found {
		return err
	}
	u := statistic(campaignID, sent.At)
	u.set(attrEmailCount, num(integer(it[attrEmailCount])+1))
	u.require("%s=%s", attrEmailCount, it[attrEmailCount])
	return s.updateContact(ctx, sent.Key, u)
}

// MarkCounted implements store.Work. It leaves the stamp alone: who has closed
// the lease may repeat that call behind it.
func (s *Store) MarkCounted(ctx context.Context, seen store.Lease) (store.Lease, error) {
	u := changeOf(seen)
	u.require("attribute_exists(%s)", attrClosed)
	u.setBitmap(attrCounted, seen.Progress.Settled)
	out, err := s.db.UpdateItem(ctx, u.input(s.work, leaseItemKey(seen.Key)))
	if old, failed := conditionFailed(err); failed {
		return markedAlready(seen, old)
	}
	if err != nil {
		return store.Lease{}, call{opUpdate, s.work}.fail(ctx, err)
	}
	return leaseOf(out.Attributes)
}

// markedAlready recognises the write in the lease that a failed condition
// gives back: nothing else makes such a lease of one as seen.
func markedAlready(seen store.Lease, old item) (store.Lease, error) {
	if len(old) == 0 {
		return store.Lease{}, noLease(seen.Key)
	}
	now, err := leaseOf(old)
	if err != nil {
		return store.Lease{}, err
	}
	if now.Closed && now.Version == seen.Version+1 && now.Fence == seen.Fence &&
		bytes.Equal(now.Progress.Settled, seen.Progress.Settled) && bytes.Equal(now.Progress.Counted, now.Progress.Settled) {
		return now, nil
	}
	return store.Lease{}, errChanged(seen.Key)
}

func statistic(campaignID string, at time.Time) *update {
	u := newUpdate()
	u.require("attribute_exists(%s)", attrEmail)
	u.require("(attribute_not_exists(%[1]s) OR %[1]s<>%[2]s)", attrLastCampaign, str(campaignID))
	u.set(attrLastCampaign, str(campaignID))
	u.set(attrLastEmailSent, when(at))
	return u
}

func (s *Store) updateContact(ctx context.Context, key string, u *update) error {
	in := u.input(s.contacts, contactKey(key))
	in.ReturnValues = types.ReturnValueNone
	in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureNone
	_, err := s.db.UpdateItem(ctx, in)
	return err
}
