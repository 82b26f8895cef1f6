package engine

import (
	"time"

	"postern/internal/campaign"
)

// Submission is a campaign as a caller hands it in. Relay members that are
// zero come from the default relay.
type Submission struct {
	Name        string
	Subject     string // template
	HTML        string // template
	From        campaign.Mailbox
	ReplyTo     campaign.Mailbox // zero for none
	Attachments []File
	Audience    campaign.Selection

	Relay SubmittedRelay

	// SendAt is when to start: within a year, zero for at once. Promise is
	// AtLeastOnce when "".
	SendAt  time.Time
	Promise campaign.Promise

	// SourceVPCE is the VPC endpoint through which the call came; "" when
	// unknown.
	SourceVPCE string

	// IdempotencyKey is the caller's, "" for none. RequestDigest identifies
	// the request that came with it; it is stored under a key only.
	IdempotencyKey string
	RequestDigest  string
}

// File is an attachment as it is handed in.
type File struct {
	Filename    string
	ContentType string
	// Data is Submit's to overwrite: with a capacity of FileRoom octets beyond
	// its length it is sealed where it stands, without a copy.
	Data []byte
}

// FileRoom is at least what sealing adds to a file, in octets.
const FileRoom = 64

// SubmittedRelay is the relay that a caller asks for.
type SubmittedRelay struct {
	Host     string
	Port     int
	UseTLS   *bool
	Username string
	Password string
}

// ResumeOptions are what changes when a campaign goes on.
type ResumeOptions struct {
	// Relay is what is new about the campaign's relay; nil for nothing. Members
	// that are zero stay as they are, but another Host brings its own.
	Relay *SubmittedRelay
}

// RetryOptions say whom a retry is for, and what changes with it.
type RetryOptions struct {
	// States are failed, unknown or both; failed when there are none.
	States []campaign.DeliveryState
	Relay  *SubmittedRelay // as in ResumeOptions
}

// Report is a campaign with its totals.
type Report struct {
	Campaign campaign.Campaign
	Totals   campaign.Totals
}

// DeliveryQuery asks for a page of a campaign's deliveries.
type DeliveryQuery struct {
	State  campaign.DeliveryState // "" for all
	Cursor string                 // "" for the first page
	Limit  int
}
