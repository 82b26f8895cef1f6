package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"postern/internal/campaign"
	"postern/internal/mailer"
	"postern/internal/store"
)

// Limits of a submission.
const (
	maxNameOctets  = 256
	maxAttachments = 100
	// MaxAddresses is how many contacts a submission may name one by one:
	// they are kept in the campaign's own record.
	MaxAddresses = 1000
	maxTags      = 100
	// maxAhead is how far ahead a campaign may be scheduled.
	maxAhead = 366 * 24 * time.Hour
)

// Submit accepts a campaign: when it returns nil, the campaign is durable and
// goes on by itself. created is false when the Idempotency-Key has brought
// back an earlier one. CodeInvalid, with every fault, CodeTooLarge,
// CodeKeyReused, CodeConflict, CodeUnavailable.
func (e *Engine) Submit(ctx context.Context, s Submission) (r Report, created bool, err error) {
	request, err := e.identify(ctx, s)
	if err != nil {
		return Report{}, false, err
	}
	if r.Campaign, err = e.campaignOf(s); err == nil {
		err = e.checkAudience(ctx, s.Audience)
	}
	if err != nil {
		return e.replay(ctx, request, err)
	}
	began := time.Now()
	r.Campaign, created, err = e.store.CreateCampaign(ctx, store.NewCampaign{
		Campaign: r.Campaign, Content: e.sealContent(r.Campaign, s),
		IdempotencyKey: request.key, RequestDigest: request.digests[0], EarlierDigests: request.digests[1:],
		Nonce: rand.Text(), Actor: campaign.ActorOf(ctx),
	})
	if err != nil {
		return Report{}, false, err
	}
	if !created {
		r, err = e.Report(ctx, r.Campaign.ID)
		return r, false, err
	}
	e.metrics.attachmentsStored(r.Campaign.Letter, began)
	e.logFor(ctx).Info().Str("campaign", r.Campaign.ID).Str("relay", r.Campaign.Relay.Host).
		Int("attachments", len(s.Attachments)).Msg("campaign accepted")
	e.wake(store.LeaseKey{CampaignID: r.Campaign.ID})
	return r, true, nil
}

// replay answers a submission that does not pass. With a known key it has
// passed before: the contacts that it names, or the rules, have changed since,
// and the key's campaign is the answer all the same.
func (e *Engine) replay(ctx context.Context, request request, fault error) (Report, bool, error) {
	known, err := e.store.FindByKey(ctx, request.key, request.digests...)
	switch {
	case err == nil:
		r, err := e.Report(ctx, known)
		return r, false, err
	case campaign.CodeOf(err) == campaign.CodeNotFound:
		return Report{}, false, fault
	default:
		return Report{}, false, err
	}
}

// campaignOf checks a submission as a whole and makes the campaign of it.
func (e *Engine) campaignOf(s Submission) (campaign.Campaign, error) {
	relay, password, faults := e.chooseRelay(s.Relay)
	now := e.cfg.Now()
	faults = append(faults, checkOptions(s)...)
	faults = append(faults, checkCourse(s, now)...)
	faults = append(faults, e.cfg.Policy.faults(s)...)
	if err := e.checkAttachmentBytes(s.Attachments); err != nil {
		return campaign.Campaign{}, err
	}
	content := mailer.Content{Subject: s.Subject, HTML: s.HTML, From: s.From, ReplyTo: s.ReplyTo, Date: now}
	for _, f := range s.Attachments {
		// What a file holds breaks no rule, and as base64 it is large.
		content.Attachments = append(content.Attachments, mailer.Attachment{Filename: f.Filename, ContentType: f.ContentType})
	}
	if _, err := mailer.Compile(content); err != nil {
		compile, ok := asFaults(err)
		if !ok {
			return campaign.Campaign{}, err
		}
		faults = append(faults, compile...)
	}
	if len(faults) > 0 {
		return campaign.Campaign{}, campaign.InvalidAll(faults)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return campaign.Campaign{}, campaign.Wrap(campaign.CodeInternal, err, "no campaign id could be made")
	}
	letter, err := e.sealLetter(id.String(), s)
	if err != nil {
		return campaign.Campaign{}, err
	}
	c := campaign.Campaign{
		ID: id.String(), Name: s.Name, Status: campaign.StatusPending,
		Letter: letter, Relay: relay, Audience: s.Audience, SourceVPCE: s.SourceVPCE,
		Promise: cmp.Or(s.Promise, campaign.AtLeastOnce), SendAt: s.SendAt.UTC().Truncate(time.Millisecond),
		CreatedAt: now, UpdatedAt: now,
	}
	if !s.SendAt.IsZero() {
		c.Status = campaign.StatusScheduled
	}
	if password != "" {
		c.Relay.SealedPassword = e.sealer.Seal([]byte(password), passwordContext(c.ID, c.Relay))
	}
	return c, nil
}

// asFaults takes the faults out of a CodeInvalid error.
func asFaults(err error) ([]campaign.Fault, bool) {
	if campaign.CodeOf(err) != campaign.CodeInvalid {
		return nil, false
	}
	ce, ok := asCampaignError(err)
	return ce.Faults, ok && len(ce.Faults) > 0
}

// chooseRelay completes a submitted relay from the default one. The default
// relay's credentials go to that relay only, over its own kind of transport:
// a caller who names another server, or turns TLS off, must bring their own.
func (e *Engine) chooseRelay(s SubmittedRelay) (r campaign.Relay, password string, faults []campaign.Fault) {
	def := e.cfg.DefaultRelay
	r = campaign.Relay{Host: s.Host, Port: s.Port, UseTLS: true, Username: s.Username}
	if r.Host == "" {
		r.Host = def.Host
	}
	own := r.Host != def.Host
	if r.Port == 0 {
		r.Port = 587
		if !own {
			r.Port = def.Port
		}
	}
	if s.UseTLS != nil {
		r.UseTLS = *s.UseTLS
	} else if !own {
		r.UseTLS = def.UseTLS
	}
	own = own || r.Port != def.Port || r.UseTLS != def.UseTLS
	if !own && r.Username == "" {
		r.Username = def.Username
	}
	r.Default = !own && r.Username == def.Username && s.Password == ""
	if r.Host == "" {
		return r, s.Password, []campaign.Fault{{Field: "smtp_server", Rule: "is required, as the service has no default relay (SMTP_SERVER)"}}
	}
	return r, s.Password, append(e.checkRelay(r), checkLogin(r, s.Password)...)
}

// checkRelay holds a relay to the rules for relays.
func (e *Engine) checkRelay(r campaign.Relay) (faults []campaign.Fault) {
	rules := e.cfg.Session.Rules
	for _, part := range []struct {
		field string
		err   error
	}{
		{"smtp_server", rules.CheckHost(r.Host)},
		{"smtp_port", rules.CheckPort(r.Port)},
		{"smtp_use_tls", rules.CheckTransport(r.UseTLS)},
		{"smtp_username", rules.CheckAccount(r.Username)},
	} {
		if part.err != nil {
			faults = append(faults, campaign.Fault{Field: part.field, Rule: part.err.Error()})
		}
	}
	return faults
}

// checkLogin checks what a caller gives to log in with.
func checkLogin(r campaign.Relay, password string) (faults []campaign.Fault) {
	if r.Default {
		return nil
	}
	if r.Username == "" && password != "" {
		faults = append(faults, campaign.Fault{Field: "smtp_username", Rule: "is required where there is a smtp_password"})
	}
	if r.Username != "" && password == "" {
		faults = append(faults, campaign.Fault{Field: "smtp_password", Rule: "is required where there is a smtp_username other than the default relay's"})
	}
	for _, given := range []struct{ field, value string }{{"smtp_username", r.Username}, {"smtp_password", password}} {
		if campaign.CheckHeaderText(given.value) != nil || len(given.value) > maxNameOctets {
			faults = append(faults, campaign.Fault{Field: given.field, Rule: fmt.Sprintf("must be at most %d octets without control characters", maxNameOctets)})
		}
	}
	return faults
}

func checkOptions(s Submission) (faults []campaign.Fault) {
	fault := func(field, format string, args ...any) {
		faults = append(faults, campaign.Fault{Field: field, Rule: fmt.Sprintf(format, args...)})
	}
	if err := campaign.CheckHeaderText(s.Name); err != nil || len(s.Name) > maxNameOctets {
		fault("campaign_name", "must be at most %d octets of UTF-8 without control characters", maxNameOctets)
	}
	if len(s.Attachments) > maxAttachments {
		fault("attachments", "must be at most %d", maxAttachments)
	}
	if len(s.Audience.Tags) > maxTags {
		fault("tags", "must be at most %d", maxTags)
	}
	if len(s.Audience.Addresses) > MaxAddresses {
		fault("recipients", "must be at most %d; narrow larger audiences by tags", MaxAddresses)
	}
	if len(s.Audience.Addresses) > 0 && len(s.Audience.Tags) > 0 {
		fault("recipients", "must not come together with tags")
	}
	return faults
}

// checkCourse checks when to send and with what promise.
func checkCourse(s Submission, now time.Time) (faults []campaign.Fault) {
	if s.Promise != "" && !slices.Contains(campaign.Promises, s.Promise) {
		faults = append(faults, campaign.Fault{Field: "delivery", Rule: fmt.Sprintf("must be one of %v", campaign.Promises)})
	}
	switch {
	case s.SendAt.IsZero():
	case !s.SendAt.After(now):
		faults = append(faults, campaign.Fault{Field: "send_at", Rule: "must be in the future; leave it out to send at once"})
	case s.SendAt.Sub(now) > maxAhead:
		faults = append(faults, campaign.Fault{Field: "send_at", Rule: "must be within a year"})
	}
	return faults
}

func (e *Engine) checkAttachmentBytes(files []File) error {
	var total int64
	for _, f := range files {
		total += int64(len(f.Data))
	}
	if total > e.cfg.MaxAttachmentBytes {
		return campaign.Errorf(campaign.CodeTooLarge,
			"the attachments have %d octets together, and at most %d are allowed", total, e.cfg.MaxAttachmentBytes)
	}
	return nil
}

// checkAudience makes sure that contacts named one by one are there.
func (e *Engine) checkAudience(ctx context.Context, s campaign.Selection) error {
	if len(s.Addresses) == 0 {
		return nil
	}
	var faults []campaign.Fault
	index := map[string]int{}
	for i, address := range s.Addresses {
		key := campaign.Key(address)
		if _, twice := index[key]; twice {
			faults = append(faults, campaign.Fault{Field: fmt.Sprintf("recipients[%d]", i), Rule: "is there twice"})
		}
		index[key] = i
	}
	keys := make([]string, 0, len(index))
	for key := range index {
		keys = append(keys, key)
	}
	contacts, err := e.store.GetContacts(ctx, keys)
	if err != nil {
		return err
	}
	for i := range contacts {
		delete(index, contacts[i].Key())
	}
	for _, i := range index {
		faults = append(faults, campaign.Fault{Field: fmt.Sprintf("recipients[%d]", i), Rule: "is not a contact: add it by POST /contacts"})
	}
	if len(faults) > 0 {
		slices.SortFunc(faults, func(a, b campaign.Fault) int { return strings.Compare(a.Field, b.Field) })
		return campaign.InvalidAll(faults)
	}
	return nil
}
