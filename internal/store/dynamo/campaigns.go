package dynamo

import (
	"context"
	"slices"
	"strings"
	"time"

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

// readCampaign reads a campaign with its audience.
func (s *Store) readCampaign(ctx context.Context, it item) (campaign.Campaign, error) {
	c := campaignOf(it)
	packed := octets(it[attrAudience])
	if text(it[attrAudience]) != "" {
		var err error
		if packed, err = s.GetContent(ctx, c.ID, contentAudience); err != nil {
			return campaign.Campaign{}, err
		}
	}
	var audience selection
	if err := unpack(packed, &audience); err != nil {
		return campaign.Campaign{}, damaged(err, "campaign "+c.ID)
	}
	c.Audience = campaign.Selection(audience)
	return c, nil
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

// Transition implements store.Campaigns.
func (s *Store) Transition(ctx context.Context, id string, t store.Transition) (campaign.Campaign, error) {
	if id == "" {
		return campaign.Campaign{}, noCampaign()
	}
	out, err := s.db.UpdateItem(ctx, transitionUpdate(t).input(s.campaigns, campaignKey(id)))
	if old, failed := conditionFailed(err); failed {
		return s.notMoved(ctx, old, t.To)
	}
	if err != nil {
		return campaign.Campaign{}, call{opUpdate, s.campaigns}.fail(ctx, err)
	}
	return s.readCampaign(ctx, out.Attributes)
}

// notMoved tells apart why a transition's condition did not hold.
func (s *Store) notMoved(ctx context.Context, old item, to campaign.Status) (campaign.Campaign, error) {
	if len(old) == 0 {
		return campaign.Campaign{}, noCampaign()
	}
	status := text(old[attrStatus])
	if status == string(to) {
		return s.readCampaign(ctx, old)
	}
	return campaign.Campaign{}, campaign.Errorf(campaign.CodeConflict, "a campaign that is %s cannot become %s", status, to)
}

// statuses are all that a campaign can have.
func statuses() []campaign.Status {
	return []campaign.Status{
		campaign.StatusPending, campaign.StatusInProgress, campaign.StatusCompleted, campaign.StatusFailed,
	}
}

func transitionUpdate(t store.Transition) *update {
	u := newUpdate()
	u.set(attrStatus, str(string(t.To)))
	u.set(attrReason, str(t.Reason))
	u.set(attrUpdatedAt, when(t.At))
	if t.To == campaign.StatusInProgress {
		u.set(attrStartedAt, when(t.At))
	}
	if t.To.Terminal() {
		u.set(attrFinishedAt, when(t.At))
		u.remove(attrSealed)
		u.remove(attrNotice)
	}
	u.requireStatus(func(s campaign.Status) bool { return s.CanBecome(t.To) })
	return u
}

// requireStatus adds the condition that the stored status is one of those
// allowed.
func (u *update) requireStatus(allowed func(campaign.Status) bool) {
	var values []types.AttributeValue
	for _, status := range statuses() {
		if allowed(status) {
			values = append(values, str(string(status)))
		}
	}
	if len(values) == 0 { // no status may become this one
		values = append(values, str("none"))
	}
	list := strings.Repeat(",%s", len(values))[1:]
	u.require("%s IN ("+list+")", attrStatus, values...)
}

// SetNotice implements store.Campaigns.
func (s *Store) SetNotice(ctx context.Context, id, notice string, at time.Time) error {
	if id == "" {
		return noCampaign()
	}
	u := newUpdate()
	u.set(attrNotice, str(notice))
	u.set(attrUpdatedAt, when(at))
	u.requireStatus(func(s campaign.Status) bool { return !s.Terminal() })
	_, err := s.db.UpdateItem(ctx, u.input(s.campaigns, campaignKey(id)))
	if old, failed := conditionFailed(err); failed {
		if len(old) == 0 {
			return noCampaign()
		}
		return nil
	}
	if err != nil {
		return call{opUpdate, s.campaigns}.fail(ctx, err)
	}
	return nil
}
