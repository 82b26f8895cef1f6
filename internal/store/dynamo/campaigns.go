package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// GetCampaign implements store.Campaigns.
func (s *Store) GetCampaign(ctx context.Context, id string) (campaign.Campaign, error) {
	if id == "" { // which DynamoDB refuses as a key
		return campaign.Campaign{}, noCampaign()
	}
	it, found, err := s.getItem(ctx, s.campaigns, campaignKey(id))
	if err != nil {
		return campaign.Campaign{}, err
	}
	if !found {
		return campaign.Campaign{}, noCampaign()
	}
	return s.readCampaign(ctx, it)
}

func noCampaign() error { return campaign.Errorf(campaign.CodeNotFound, "Campaign not found") }

// getItem reads one item, strongly consistent.
func (s *Store) getItem(ctx context.Context, table string, key item) (it item, found bool, err error) {
	out, err := s.db.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: aws.String(table), Key: key, ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, false, call{opGet, table}.fail(ctx, err)
	}
	return out.Item, len(out.Item) > 0, nil
}

// readCampaign reads a campaign with its audience. CodeDamaged.
func (s *Store) readCampaign(ctx context.Context, it item) (campaign.Campaign, error) {
	c := campaignOf(it)
	if !slices.Contains(campaign.Statuses, c.Status) {
		return campaign.Campaign{}, store.ErrDamaged(c.ID, fmt.Errorf("%q is no status", c.Status))
	}
	packed, err := s.packedSelection(ctx, it)
	if err != nil {
		return campaign.Campaign{}, err
	}
	var audience selection
	if err := unpack(packed, &audience); err != nil {
		return campaign.Campaign{}, store.ErrDamaged(c.ID, err)
	}
	c.Audience = campaign.Selection(audience)
	return c, nil
}

// packedSelection gives a campaign's selection as it is stored, in the item or
// as content. Without it nobody would be all contacts, so one that is missing
// is CodeDamaged.
func (s *Store) packedSelection(ctx context.Context, it item) ([]byte, error) {
	id := text(it[attrCampaignID])
	switch audience := it[attrAudience].(type) {
	case *types.AttributeValueMemberB:
		if len(audience.Value) > 0 {
			return audience.Value, nil
		}
	case *types.AttributeValueMemberS:
		packed, err := s.GetContent(ctx, id, contentAudience)
		if err != nil && campaign.CodeOf(err) == campaign.CodeNotFound {
			err = store.ErrDamaged(id, err)
		}
		return packed, err
	}
	return nil, store.ErrDamaged(id, errors.New("it has no selection of recipients"))
}

func damaged(err error, what string) error {
	return campaign.Wrap(campaign.CodeInternal, err, "the stored %s cannot be read", what)
}

// ListCampaigns implements store.Campaigns. The order comes from the listing
// rows in EmailWork, which the transaction that makes a campaign writes with
// it: a secondary index would be behind, and a campaigns table that was there
// before Postern would not have it.
func (s *Store) ListCampaigns(ctx context.Context, cursor string, limit int) (store.CampaignPage, error) {
	in := s.workQuery(pkListing)
	in.ScanIndexForward, in.Limit = aws.Bool(false), clamp(limit)
	if cursor != "" {
		id, err := listingCampaigns.keyOf(cursor)
		if err != nil {
			return store.CampaignPage{}, err
		}
		in.ExclusiveStartKey = workKey(pkListing, id)
	}
	out, err := s.db.Query(ctx, in)
	if err != nil {
		return store.CampaignPage{}, call{opQuery, s.work}.fail(ctx, err)
	}
	ids := make([]string, len(out.Items))
	for i, it := range out.Items {
		ids[i] = text(it["sk"])
	}
	page, err := s.campaignsByID(ctx, ids)
	if err == nil && len(out.LastEvaluatedKey) > 0 {
		page.Next = listingCampaigns.cursorTo(text(out.LastEvaluatedKey["sk"]))
	}
	return page, err
}

// campaignsByID gives campaigns in the order of the ids, newest first.
func (s *Store) campaignsByID(ctx context.Context, ids []string) (page store.CampaignPage, err error) {
	items, err := s.batchGet(ctx, s.campaigns, attrCampaignID, ids)
	if err != nil {
		return page, err
	}
	byID := make(map[string]item, len(items))
	for _, it := range items {
		byID[text(it[attrCampaignID])] = it
	}
	read := make([]campaign.Campaign, len(ids))
	faults := make([]error, len(ids))
	err = forEach(ctx, len(ids), func(ctx context.Context, i int) (err error) {
		it, found := byID[ids[i]]
		if !found {
			faults[i] = store.ErrDamaged(ids[i], errors.New("it is not there any more"))
			return nil
		}
		if read[i], err = s.readCampaign(ctx, it); err != nil && campaign.CodeOf(err) == campaign.CodeDamaged {
			faults[i], err = err, nil
		}
		return err
	})
	for i, fault := range faults {
		if fault != nil {
			page.Damaged = append(page.Damaged, store.DamagedCampaign{ID: ids[i], Err: fault})
		} else {
			page.Campaigns = append(page.Campaigns, read[i])
		}
	}
	return page, err
}
