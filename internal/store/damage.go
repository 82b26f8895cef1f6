package store

import "postern/internal/campaign"

// CampaignPage is a page of the listing of campaigns.
type CampaignPage struct {
	Campaigns []campaign.Campaign // newest id first
	// Damaged are those of the page whose records cannot be read.
	Damaged []DamagedCampaign
	Next    string // the next page's cursor, "" when there is none
}

// DamagedCampaign is a campaign whose record cannot be read.
type DamagedCampaign struct {
	ID string
	// Err is what ErrDamaged makes.
	Err error
}

// ErrDamaged is what a method returns that would need the record of a campaign
// which cannot be read (CodeDamaged): it says, to whoever asked for the
// campaign, what to do.
func ErrDamaged(campaignID string, cause error) error {
	return campaign.Wrap(campaign.CodeDamaged, cause,
		"the stored record of campaign %s is damaged and cannot be read: nothing of it is sent, searched or erased until the record is "+
			"restored from a backup; the log has the cause, and docs/troubleshooting.md the way", campaignID)
}
