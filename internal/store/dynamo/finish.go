package dynamo

import (
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
	w.close()
	w.set(attrDone, boolean(true))
	counts := newTally(s.now())
	counts.add(totalsDone, 1)
	return s.transactLease(ctx, w, w.closed(), counts.part(s.work, totalsKey(held.Key)))
}

// CountSent implements store.Work, contact by contact, each under a condition
// that makes it count once.
func (s *Store) CountSent(ctx context.Context, campaignID string, sent store.Sent) error {
	return forEach(ctx, len(sent.Keys), func(ctx context.Context, i int) error {
		return s.countSent(ctx, sent.Keys[i], campaignID, sent.At)
	})
}

// countSent counts one message to a contact. A condition that does not hold
// means that the contact is gone or that this campaign is counted.
func (s *Store) countSent(ctx context.Context, key, campaignID string, at time.Time) error {
	u := statistic(campaignID, at)
	u.add(attrEmailCount, 1)
	err := s.updateContact(ctx, key, u)
	if isValidation(err) {
		// The count has a type that does not count: another program's text.
		err = s.countText(ctx, key, campaignID, at)
	}
	if _, done := conditionFailed(err); done || err == nil {
		return nil
	}
	return call{opUpdate, s.contacts}.fail(ctx, err)
}

// countText replaces a count that is stored as text by a number, if it is
// still the text that was read.
func (s *Store) countText(ctx context.Context, key, campaignID string, at time.Time) error {
	it, found, err := s.getItem(ctx, s.contacts, contactKey(key))
	if err != nil || !found {
		return err
	}
	u := statistic(campaignID, at)
	u.set(attrEmailCount, num(integer(it[attrEmailCount])+1))
	u.require("%s=%s", attrEmailCount, it[attrEmailCount])
	return s.updateContact(ctx, key, u)
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
