package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/engine"
)

// campaignIn is the body of POST /smtp-campaign.
type campaignIn struct {
	CampaignName string         `json:"campaign_name"`
	Subject      string         `json:"subject"`
	Body         string         `json:"body"`
	FromEmail    string         `json:"from_email"`
	FromName     string         `json:"from_name"`
	ReplyTo      string         `json:"reply_to"`
	Tags         []string       `json:"tags"`
	Recipients   []string       `json:"recipients"`
	Attachments  []attachmentIn `json:"attachments"`
	SendAt       string         `json:"send_at"`
	Delivery     string         `json:"delivery"`

	relayIn `json:",inline"`
}

// relayIn are the members that name a relay.
type relayIn struct {
	SMTPServer   string `json:"smtp_server"`
	SMTPPort     number `json:"smtp_port"`
	SMTPUseTLS   flag   `json:"smtp_use_tls"`
	SMTPUsername string `json:"smtp_username"`
	SMTPPassword string `json:"smtp_password"`
}

type attachmentIn struct {
	Filename    string  `json:"filename"`
	Content     content `json:"content"`
	ContentType string  `json:"content_type"`
}

// faults collects what is wrong with a request.
type faults []campaign.Fault

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, campaign.Fault{Field: field, Rule: fmt.Sprintf(format, args...)})
}

// check adds a fault where err is not nil.
func (f *faults) check(field string, err error) {
	if err != nil {
		f.add(field, "%s", err)
	}
}

func (f *faults) required(field, value string) {
	if value == "" {
		f.add(field, "is required")
	}
}

// about says whether there is a fault of the field's.
func (f faults) about(field string) bool {
	return slices.ContainsFunc(f, func(one campaign.Fault) bool { return one.Field == field })
}

// err is nil when nothing is wrong.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return campaign.InvalidAll(f)
}

// submission checks what only the API sees, which is the request's shape, and
// makes the engine's form of it. The engine checks the rest: templates, relay,
// names, numbers, sizes, when and how to send.
func (in campaignIn) submission() (engine.Submission, error) {
	var f faults
	f.required("subject", in.Subject)
	f.required("body", in.Body)
	s := engine.Submission{
		Name:        in.CampaignName,
		Subject:     in.Subject,
		HTML:        in.Body,
		From:        in.from(&f),
		ReplyTo:     in.replyTo(&f),
		Attachments: in.files(&f),
		Audience:    in.selection(&f),
		Relay:       in.relay(&f),
		SendAt:      in.sendAt(&f),
		Promise:     campaign.Promise(in.Delivery),
	}
	return s, f.err()
}

func (in relayIn) relay(f *faults) engine.SubmittedRelay {
	if in.SMTPPort < 0 || in.SMTPPort > 65535 {
		f.add("smtp_port", "must be a port from 1 to 65535")
	}
	return engine.SubmittedRelay{
		Host:     in.SMTPServer,
		Port:     int(in.SMTPPort),
		UseTLS:   in.SMTPUseTLS.value,
		Username: in.SMTPUsername,
		Password: in.SMTPPassword,
	}
}

// sendAt reads a time with its offset; the zero time where none is given.
func (in campaignIn) sendAt(f *faults) time.Time {
	if in.SendAt == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, in.SendAt)
	if err != nil || at.IsZero() {
		f.add("send_at", "must be a time with its offset as RFC 3339 writes it, such as 2026-11-03T09:00:00-05:00")
	}
	return at.UTC()
}

// from reads `a@b` or `Name <a@b>`; from_name wins over the name in it.
func (in campaignIn) from(f *faults) campaign.Mailbox {
	if in.FromEmail == "" {
		f.add("from_email", "is required")
		return campaign.Mailbox{}
	}
	from, err := mailbox(in.FromEmail)
	f.check("from_email", err)
	if in.FromName != "" {
		from.Name = in.FromName
		f.check("from_name", campaign.CheckShownName(in.FromName))
	}
	return from
}

func (in campaignIn) replyTo(f *faults) campaign.Mailbox {
	if in.ReplyTo == "" {
		return campaign.Mailbox{}
	}
	replyTo, err := mailbox(in.ReplyTo)
	f.check("reply_to", err)
	return replyTo
}

// mailbox refuses control characters everywhere: around a name they would be
// trimmed as white space, and a caller who sends them means no good.
func mailbox(s string) (campaign.Mailbox, error) {
	if err := campaign.CheckHeaderText(s); err != nil {
		return campaign.Mailbox{}, err
	}
	return campaign.ParseMailbox(s)
}

func (in campaignIn) files(f *faults) []engine.File {
	files := make([]engine.File, len(in.Attachments))
	for i, a := range in.Attachments {
		if a.Content == nil {
			f.add(fmt.Sprintf("attachments[%d].content", i), "is required")
		}
		files[i] = engine.File{Filename: a.Filename, ContentType: a.ContentType, Data: a.Content}
	}
	return files
}

// selection narrows the audience. An empty list is a fault: whoever picked
// nobody must not mail everybody.
func (in campaignIn) selection(f *faults) campaign.Selection {
	const nobody = "must name one at least; leave it out to mail all contacts"
	if in.Tags != nil && len(in.Tags) == 0 {
		f.add("tags", nobody)
	}
	if in.Recipients != nil && len(in.Recipients) == 0 {
		f.add("recipients", nobody)
	}
	for i, tag := range in.Tags {
		if tag == "" || len(tag) > campaign.MaxTagOctets {
			f.add(fmt.Sprintf("tags[%d]", i), "must be of 1 to %d octets", campaign.MaxTagOctets)
		}
	}
	for i, address := range in.Recipients {
		f.check(fmt.Sprintf("recipients[%d]", i), campaign.CheckAddress(address))
	}
	return campaign.Selection{Tags: in.Tags, Addresses: in.Recipients}
}

// idempotencyKey reads the header, "" where it is not given: 1 to 255 visible
// ASCII characters.
func idempotencyKey(r *http.Request) (string, error) {
	given := r.Header.Values(headerIdempotency)
	if len(given) == 0 {
		return "", nil
	}
	bad := len(given) > 1 || given[0] == "" || len(given[0]) > 255
	for _, c := range []byte(given[0]) {
		bad = bad || c <= ' ' || c >= 0x7f
	}
	if bad {
		return "", campaign.Invalid(headerIdempotency, "must be given once, with 1 to 255 visible ASCII characters")
	}
	return given[0], nil
}

// requestDigest identifies a request: SHA-256 of method, path and body, in
// hexadecimal. A body may hold a password, so the engine stores it under a key
// only.
func requestDigest(r *http.Request, body []byte) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s %s\n", r.Method, r.URL.EscapedPath())
	_, _ = h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}
