package api

import (
	"encoding/hex"
	"net/url"
	"strings"
	"time"

	"postern/internal/campaign"
	"postern/internal/engine"
)

// campaignOut is a campaign with its progress, one flat object as old clients
// read it.
type campaignOut struct {
	CampaignID      string  `json:"campaign_id"`
	CampaignName    string  `json:"campaign_name"`
	Status          string  `json:"status"`
	Reason          string  `json:"reason,omitempty"`
	Notice          string  `json:"notice,omitempty"`
	TotalContacts   int64   `json:"total_contacts"`
	TotalFinal      bool    `json:"total_final"`
	SentCount       int64   `json:"sent_count"`
	FailedCount     int64   `json:"failed_count"`
	PendingCount    int64   `json:"pending_count"`
	UnknownCount    int64   `json:"unknown_count"`
	SuppressedCount int64   `json:"suppressed_count"`
	VPCEndpoint     *string `json:"vpc_endpoint"`
	SMTPServer      string  `json:"smtp_server"`
	Delivery        string  `json:"delivery"`
	SendAt          *string `json:"send_at"`
	CreatedAt       *string `json:"created_at"`
	UpdatedAt       *string `json:"updated_at"`
	StartedAt       *string `json:"started_at"`
	FinishedAt      *string `json:"finished_at"`
	ExpiredAt       *string `json:"expired_at"`
	Links           links   `json:"links"`
}

// links are relative references, to be resolved against the URL of the answer
// that they stand in.
type links struct {
	Self       string `json:"self"`
	Deliveries string `json:"deliveries"`
}

// acceptedOut is the answer to POST /smtp-campaign: what the old service
// answered after it had sent everything, and more.
type acceptedOut struct {
	campaignOut `json:",inline"`

	// Results is empty, and never null: old clients call results.map.
	Results   []struct{} `json:"results"`
	Timestamp *string    `json:"timestamp"`
}

type campaignsOut struct {
	Campaigns []campaignOut `json:"campaigns"`
	Count     int           `json:"count"`
	// Damaged are the ids of campaigns of the page that cannot be read.
	Damaged    []string `json:"damaged"`
	NextCursor *string  `json:"next_cursor"`
}

// statusPath is the relative reference to a campaign from a path of one
// segment.
func statusPath(id string) string { return "campaign-status/" + url.PathEscape(id) }

// linksFrom makes the links for an answer at path.
func linksFrom(path, id string) links {
	up := strings.Repeat("../", strings.Count(path, "/")-1)
	return links{
		Self:       up + statusPath(id),
		Deliveries: up + "campaigns/" + url.PathEscape(id) + "/deliveries",
	}
}

// campaignOut makes the JSON form of a report, for an answer at path.
func (a *api) campaignOut(r engine.Report, path string) campaignOut {
	c, t := r.Campaign, r.Totals
	out := campaignOut{
		CampaignID:      c.ID,
		CampaignName:    c.Name,
		Status:          string(c.Status),
		Reason:          c.Reason,
		Notice:          c.Notice,
		TotalContacts:   t.Total,
		TotalFinal:      t.Final,
		SentCount:       t.Sent,
		FailedCount:     t.Failed,
		PendingCount:    t.Pending(),
		UnknownCount:    t.Unknown,
		SuppressedCount: t.Suppressed,
		SMTPServer:      c.Relay.Host,
		Delivery:        string(c.Promise),
		SendAt:          moment(c.SendAt),
		CreatedAt:       moment(c.CreatedAt),
		UpdatedAt:       moment(later(c.UpdatedAt, t.UpdatedAt)),
		StartedAt:       moment(c.StartedAt),
		FinishedAt:      moment(c.FinishedAt),
		ExpiredAt:       moment(c.ExpiredAt),
		Links:           linksFrom(path, c.ID),
	}
	if a.opts.Access.EndpointIDs != nil {
		out.VPCEndpoint = orNull(c.SourceVPCE)
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

type deliveryOut struct {
	Email       string  `json:"email"`
	State       string  `json:"state"`
	Attempts    int     `json:"attempts"`
	Reply       string  `json:"reply"`
	MessageID   *string `json:"message_id"`
	Digest      *string `json:"digest"`
	UpdatedAt   *string `json:"updated_at"`
	NextAttempt *string `json:"next_attempt"`
}

type deliveriesOut struct {
	Deliveries []deliveryOut `json:"deliveries"`
	Count      int           `json:"count"`
	NextCursor *string       `json:"next_cursor"`
}

func newDeliveryOut(d campaign.Delivery) deliveryOut {
	return deliveryOut{
		Email:       d.Address,
		State:       string(d.State),
		Attempts:    d.Attempts,
		Reply:       d.Reply,
		MessageID:   orNull(d.MessageID),
		Digest:      orNull(hex.EncodeToString(d.Digest)),
		UpdatedAt:   moment(d.UpdatedAt),
		NextAttempt: moment(d.NextAttempt),
	}
}
