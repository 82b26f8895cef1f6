package bolt

import (
	"context"
	"encoding/json"
	"slices"

	"postern/internal/campaign"
	"postern/internal/store"
)

// campaignValue is what is stored of a campaign, as JSON with these names and
// those of campaign.Campaign.
type campaignValue struct {
	Campaign campaign.Campaign
	Token    token // of the CreateCampaign call
	Restart  token // of the last Restart call; zero before the first
}

func errNoCampaign() error { return campaign.Errorf(campaign.CodeNotFound, "Campaign not found") }

// GetCampaign implements store.Campaigns.
func (s *Store) GetCampaign(ctx context.Context, id string) (campaign.Campaign, error) {
	var out campaign.Campaign
	err := s.view(ctx, func(t *tx) error {
		v, err := t.campaign(id)
		out = v.Campaign
		return err
	})
	return out, err
}

// ListCampaigns implements store.Campaigns.
func (s *Store) ListCampaigns(ctx context.Context, cursor string, limit int) (store.CampaignPage, error) {
	before, err := decodeCursor(campaignListing, cursor)
	if err != nil {
		return store.CampaignPage{}, err
	}
	var page store.CampaignPage
	err = s.view(ctx, func(t *tx) error {
		c := t.cursor(campaignsBucket)
		key, value := c.Last()
		if before != nil {
			if found, _ := c.Seek(before); found != nil {
				key, value = c.Prev()
			}
		}
		var last []byte
		for ; key != nil; key, value = c.Prev() {
			if len(page.Campaigns)+len(page.Damaged) == limit {
				page.Next = encodeCursor(campaignListing, last)
				return nil
			}
			last = key
			if v, err := decodeCampaign(key, value); err != nil {
				page.Damaged = append(page.Damaged, store.DamagedCampaign{ID: string(key), Err: err})
			} else {
				page.Campaigns = append(page.Campaigns, v.Campaign)
			}
		}
		return nil
	})
	return page, err
}

func (t *tx) campaign(id string) (campaignValue, error) {
	value := t.get(campaignsBucket, []byte(id))
	if value == nil {
		return campaignValue{}, errNoCampaign()
	}
	return decodeCampaign([]byte(id), value)
}

func (t *tx) putCampaign(v campaignValue) error {
	value, err := json.Marshal(v)
	if err != nil {
		return campaign.Wrap(campaign.CodeInternal, err, "cannot encode campaign %s", v.Campaign.ID)
	}
	return t.put(campaignsBucket, []byte(v.Campaign.ID), value)
}

// decodeCampaign fails with CodeDamaged. JSON of something else than the
// campaign of the key is no record of it either.
func decodeCampaign(key, value []byte) (campaignValue, error) {
	var v campaignValue
	err := json.Unmarshal(value, &v)
	if err == nil && (v.Campaign.ID != string(key) || !slices.Contains(campaign.Statuses, v.Campaign.Status)) {
		err = errValue
	}
	if err != nil {
		return campaignValue{}, store.ErrDamaged(string(key), damaged(campaignsBucket, key, err))
	}
	return v, nil
}
