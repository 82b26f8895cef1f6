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

// EraseAddress implements store.Persons.
func (s *Store) EraseAddress(ctx context.Context, campaignID, key string) error {
	return s.changeAddresses(ctx, campaignID, func(c campaign.Campaign) ([]string, bool, error) {
		rest, named := store.WithoutAddress(c.Audience.Addresses, key)
		return rest, named, nil
	})
}

// EraseAddresses implements store.Persons. What allows it stays so for ever.
func (s *Store) EraseAddresses(ctx context.Context, campaignID string) error {
	return s.changeAddresses(ctx, campaignID, func(c campaign.Campaign) ([]string, bool, error) {
		if len(c.Audience.Addresses) == 0 || c.Status == campaign.StatusCancelled || !c.ExpiredAt.IsZero() {
			return nil, len(c.Audience.Addresses) > 0, nil
		}
		control, err := s.GetLease(ctx, store.LeaseKey{CampaignID: campaignID})
		if err == nil && !control.Freeze.Final {
			err = campaign.Errorf(campaign.CodeConflict, "the campaign's audience is not final")
		}
		return nil, true, err
	})
}

// changeAddresses replaces the addresses of a campaign's selection, unless
// change says that there is nothing to change, under the condition that the
// selection is as it was read.
func (s *Store) changeAddresses(ctx context.Context, id string, change func(campaign.Campaign) (addresses []string, changed bool, err error)) error {
	return s.untilUnchanged(ctx, id, func(it item) (bool, error) {
		packed, err := s.packedSelection(ctx, it)
		if err != nil {
			return false, err
		}
		c, err := s.readCampaign(ctx, it)
		if err != nil {
			return false, err
		}
		addresses, changed, err := change(c)
		if err != nil || !changed {
			return err == nil, err
		}
		then, err := pack(selection{Tags: c.Audience.Tags, Addresses: addresses})
		if err != nil {
			return false, campaign.Wrap(campaign.CodeInternal, err, "a selection cannot be packed")
		}
		return s.replaceSelection(ctx, it, packed, then)
	})
}

// untilUnchanged reads a campaign's item and calls write with it, again and
// again until write says that nobody else's write has come between.
func (s *Store) untilUnchanged(ctx context.Context, id string, write func(item) (still bool, err error)) error {
	if id == "" {
		return noCampaign()
	}
	for wait := newBackoff(); ; {
		it, found, err := s.getItem(ctx, s.campaigns, campaignKey(id))
		if err == nil && !found {
			err = noCampaign()
		}
		if err != nil {
			return err
		}
		if still, err := write(it); still || err != nil {
			return err
		}
		restless := campaign.Errorf(campaign.CodeUnavailable, "campaign %s changes all the time", id)
		if err := wait.next(ctx, restless); err != nil {
			return call{opUpdate, s.campaigns}.fail(ctx, err)
		}
	}
}

// replaceSelection stores a selection in the place of the one that was seen. As
// content it is one piece, for a request has 1,000 addresses at most.
func (s *Store) replaceSelection(ctx context.Context, it item, seen, then []byte) (still bool, err error) {
	u := newUpdate()
	if text(it[attrAudience]) != "" {
		key := piece{content: contentAudience}.key(text(it[attrCampaignID]))
		u.require("%s=%s", pieceData, bin(seen))
		u.set(pieceData, bin(then))
		return s.updated(ctx, s.work, key, u)
	}
	u.require("%s=%s", attrAudience, bin(seen))
	u.set(attrAudience, bin(then))
	return s.updated(ctx, s.campaigns, campaignKey(text(it[attrCampaignID])), u)
}

// updated makes an update and says whether its condition held.
func (s *Store) updated(ctx context.Context, table string, key item, u *update) (bool, error) {
	_, err := s.db.UpdateItem(ctx, u.input(table, key))
	if _, failed := conditionFailed(err); failed {
		return false, nil
	}
	if err != nil {
		return false, call{opUpdate, table}.fail(ctx, err)
	}
	return true, nil
}

// Expire implements store.Persons.
func (s *Store) Expire(ctx context.Context, campaignID string, finishedBefore, at time.Time) error {
	return s.untilUnchanged(ctx, campaignID, func(it item) (bool, error) {
		c := campaignOf(it)
		switch {
		case !c.ExpiredAt.IsZero():
			return true, nil
		case !c.Status.Ended():
			return false, campaign.Errorf(campaign.CodeConflict, "the campaign is %s and has not ended", c.Status)
		case !c.FinishedAt.Before(finishedBefore):
			return false, campaign.Errorf(campaign.CodeConflict, "the campaign ended too short a time ago")
		}
		u := newUpdate()
		u.require("%s=%s", attrStatus, it[attrStatus])
		if finished, is := it[attrFinishedAt]; is {
			u.require("%s=%s", attrFinishedAt, finished)
		}
		u.setOnce(attrExpiredAt, when(at))
		return s.updated(ctx, s.campaigns, campaignKey(campaignID), u)
	})
}

// EraseChunk implements store.Persons: the audience, then the version of the
// lease, then the rows, one write unit each. An Absorb that has read the
// audience fails by the version, or has written its rows before they are read
// here.
func (s *Store) EraseChunk(ctx context.Context, key store.LeaseKey) error {
	audience := &dynamodb.DeleteItemInput{TableName: aws.String(s.work), Key: workKey(chunkID(key), skAudience)}
	if _, err := s.db.DeleteItem(ctx, audience); err != nil {
		return call{opDelete, s.work}.fail(ctx, err)
	}
	u := newUpdate()
	u.require("attribute_exists(%s)", attrVersion)
	u.add(attrVersion, 1)
	if _, err := s.updated(ctx, s.work, leaseItemKey(key), u); err != nil {
		return err
	}
	pages := dynamodb.NewQueryPaginator(s.db, &dynamodb.QueryInput{
		TableName: aws.String(s.deliveries), ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("chunk=:chunk"),
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
