package dynamo

import (
	"bytes"
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// EraseRecipient implements store.Persons with one transaction of the chunk's
// lease, its audience and the row, where there is one: no other row comes while
// the lease is as seen. It leaves the stamp alone: who has closed the lease may
// repeat that call behind it.
func (s *Store) EraseRecipient(ctx context.Context, seen store.Lease, e store.Erasure) (store.Lease, error) {
	u := changeOf(seen)
	u.require("attribute_exists(%s)", attrClosed)
	then := seen
	then.Version++
	then.Progress = seen.Progress.Clone()
	then.Progress.Forget(e.Index)
	if err := u.setDeferred(then.Progress.Deferred); err != nil {
		return store.Lease{}, err
	}
	audience := workKey(chunkID(seen.Key), skAudience)
	audience["a"] = bin(e.Packed)
	parts := []types.TransactWriteItem{u.part(s.work, leaseItemKey(seen.Key)), putPart(s.work, audience, "")}
	rowKey := item{rowChunk: str(chunkID(seen.Key)), rowIndex: num(e.Index)}
	if _, found, err := s.getItem(ctx, s.deliveries, rowKey); err != nil {
		return store.Lease{}, err
	} else if found {
		row := newUpdate()
		row.set(rowAddress, str(""))
		row.remove(rowReply)
		row.remove(rowMessageID)
		parts = append(parts, row.part(s.deliveries, rowKey))
	}
	refused, err := s.transact(ctx, s.work, parts...)
	if err != nil {
		return store.Lease{}, err
	}
	if old, is := refused[0]; is {
		return s.erasedAlready(ctx, seen, e, old)
	}
	return then, nil
}

// erasedAlready recognises the write in the lease that a failed condition gives
// back, and the audience.
func (s *Store) erasedAlready(ctx context.Context, seen store.Lease, e store.Erasure, old item) (store.Lease, error) {
	if len(old) == 0 {
		return store.Lease{}, noLease(seen.Key)
	}
	now, err := leaseOf(old)
	if err != nil {
		return store.Lease{}, err
	}
	if now.Closed && now.Version == seen.Version+1 && now.Fence == seen.Fence {
		packed, err := s.GetAudience(ctx, seen.Key)
		if err != nil || bytes.Equal(packed, e.Packed) {
			return now, err
		}
	}
	return store.Lease{}, errChanged(seen.Key)
}

// EraseAddresses implements store.Persons. A selection that is kept as content
// is replaced there; it is one piece, for a request has 1,000 addresses at most.
func (s *Store) EraseAddresses(ctx context.Context, campaignID string) error {
	it, found, err := s.getItem(ctx, s.campaigns, campaignKey(campaignID))
	if err == nil && !found {
		err = noCampaign()
	}
	if err != nil {
		return err
	}
	c, err := s.readCampaign(ctx, it)
	if err != nil || len(c.Audience.Addresses) == 0 {
		return err
	}
	control, err := s.GetLease(ctx, store.LeaseKey{CampaignID: campaignID})
	if err != nil {
		return err
	}
	if !control.Freeze.Final {
		return campaign.Errorf(campaign.CodeConflict, "the campaign's audience is not final")
	}
	packed, err := pack(selection{Tags: c.Audience.Tags})
	if err != nil {
		return campaign.Wrap(campaign.CodeInternal, err, "a selection cannot be packed")
	}
	if text(it[attrAudience]) != "" {
		return s.putContent(ctx, campaignID, map[string][]byte{contentAudience: packed})
	}
	u := newUpdate()
	u.require("attribute_exists(%s)", attrCampaignID)
	u.set(attrAudience, bin(packed))
	_, err = s.db.UpdateItem(ctx, u.input(s.campaigns, campaignKey(campaignID)))
	if err != nil {
		return call{opUpdate, s.campaigns}.fail(ctx, err)
	}
	return nil
}

// Expire implements store.Persons.
func (s *Store) Expire(ctx context.Context, campaignID string, at time.Time) error {
	if campaignID == "" {
		return noCampaign()
	}
	u := newUpdate()
	u.require("attribute_exists(%s)", attrCampaignID)
	u.require("%s IN (%s,%s,%s)", attrStatus, str(string(campaign.StatusCompleted)), str(string(campaign.StatusFailed)), str(string(campaign.StatusCancelled)))
	u.setOnce(attrExpiredAt, when(at))
	_, err := s.db.UpdateItem(ctx, u.input(s.campaigns, campaignKey(campaignID)))
	old, failed := conditionFailed(err)
	switch {
	case failed && len(old) == 0:
		return noCampaign()
	case failed:
		return campaign.Errorf(campaign.CodeConflict, "the campaign is %s and has not ended", text(old[attrStatus]))
	case err != nil:
		return call{opUpdate, s.campaigns}.fail(ctx, err)
	}
	return nil
}

// EraseChunk implements store.Persons. Rows that DynamoDB deletes by itself
// (TTLAttribute) are left to it, for that costs nothing.
func (s *Store) EraseChunk(ctx context.Context, key store.LeaseKey) error {
	audience := &dynamodb.DeleteItemInput{TableName: aws.String(s.work), Key: workKey(chunkID(key), skAudience)}
	if _, err := s.db.DeleteItem(ctx, audience); err != nil {
		return call{opDelete, s.work}.fail(ctx, err)
	}
	pages := dynamodb.NewQueryPaginator(s.db, &dynamodb.QueryInput{
		TableName: aws.String(s.deliveries), ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("chunk=:chunk"),
		FilterExpression:          aws.String("attribute_not_exists(" + TTLAttribute + ")"),
		ProjectionExpression:      aws.String(rowIndex),
		ExpressionAttributeValues: item{":chunk": str(chunkID(key))},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return call{opQuery, s.deliveries}.fail(ctx, err)
		}
		if err := s.deleteRows(ctx, key, page.Items); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) deleteRows(ctx context.Context, key store.LeaseKey, rows []item) error {
	return forEach(ctx, len(rows), func(ctx context.Context, i int) error {
		row := item{rowChunk: str(chunkID(key)), rowIndex: rows[i][rowIndex]}
		_, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: aws.String(s.deliveries), Key: row})
		if err != nil {
			return call{opDelete, s.deliveries}.fail(ctx, err)
		}
		return nil
	})
}
