package dynamo

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/internal/campaign"
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

// readCampaign reads a campaign with its audience.
func (s *Store) readCampaign(ctx context.Context, it item) (campaign.Campaign, error) {
	c := campaignOf(it)
	packed, err := s.packedSelection(ctx, it)
	if err != nil {
		return campaign.Campaign{}, err
	}
	var audience selection
	if err := unpack(packed, &audience); err != nil {
		return campaign.Campaign{}, damaged(err, "campaign "+c.ID)
	}
	c.Audience = campaign.Selection(audience)
	return c, nil
}

// packedSelection gives a campaign's selection as it is stored, in the item or
// as content.
func (s *Store) packedSelection(ctx context.Context, it item) ([]byte, error) {
	if text(it[attrAudience]) != "" {
		return s.GetContent(ctx, text(it[attrCampaignID]), contentAudience)
	}
	return octets(it[attrAudience]), nil
}

func damaged(err error, what string) error {
	return campaign.Wrap(campaign.CodeInternal, err, "the stored %s cannot be read", what)
}

// ListCampaigns implements store.Campaigns. The order comes from the listing
// rows in EmailWork, which the transaction that makes a campaign writes with
// it: a secondary index would be behind, and a campaigns table that was there
// before Postern would not have it.
func (s *Store) ListCampaigns(ctx context.Context, cursor string, limit int) ([]campaign.Campaign, string, error) {
	in := s.workQuery(pkListing)
	in.ScanIndexForward, in.Limit = aws.Bool(false), clamp(limit)
	if cursor != "" {
		id, err := listingCampaigns.keyOf(cursor)
		if err != nil {
			return nil, "", err
		}
		in.ExclusiveStartKey = workKey(pkListing, id)
	}
	out, err := s.db.Query(ctx, in)
	if err != nil {
		return nil, "", call{opQuery, s.work}.fail(ctx, err)
	}
	ids := make([]string, len(out.Items))
	for i, it := range out.Items {
		ids[i] = text(it["sk"])
	}
	campaigns, err := s.campaignsByID(ctx, ids)
	if err != nil || len(out.LastEvaluatedKey) == 0 {
		return campaigns, "", err
	}
	return campaigns, listingCampaigns.cursorTo(text(out.LastEvaluatedKey["sk"])), nil
}

// campaignsByID gives campaigns in the order of the ids, newest first.
func (s *Store) campaignsByID(ctx context.Context, ids []string) ([]campaign.Campaign, error) {
	items, err := s.batchGet(ctx, s.campaigns, attrCampaignID, ids)
	if err != nil {
		return nil, err
	}
	campaigns := make([]campaign.Campaign, len(items))
	err = forEach(ctx, len(items), func(ctx context.Context, i int) error {
		c, err := s.readCampaign(ctx, items[i])
		campaigns[i] = c
		return err
	})
	slices.SortFunc(campaigns, func(a, b campaign.Campaign) int { return strings.Compare(b.ID, a.ID) })
	return campaigns, err
}
