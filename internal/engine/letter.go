package engine

import (
	"context"
	"sync"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
)

// sharedLetter is a run's compiled letter, loaded when the first chunk needs
// it: with its attachments it may be large.
type sharedLetter struct {
	mu     sync.Mutex
	loaded *mailer.Letter
}

// letterOfRun gives the run's letter. The first caller loads it, the others
// wait.
func (e *Engine) letterOfRun(r *run) (*mailer.Letter, error) {
	r.letter.mu.Lock()
	defer r.letter.mu.Unlock()
	if r.letter.loaded != nil {
		return r.letter.loaded, nil
	}
	letter, err := e.loadLetter(e.feeding, r.campaign) // for all who wait, so not by the caller's context
	if err != nil {
		return nil, err
	}
	r.letter.loaded = letter
	return letter, nil
}

// loadLetter fetches, opens and compiles what the campaign sends.
func (e *Engine) loadLetter(ctx context.Context, c campaign.Campaign) (*mailer.Letter, error) {
	content, err := e.loadText(ctx, c)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for _, a := range c.Letter.Attachments {
		data, err := e.content(ctx, c.ID, a.ContentRef)
		if err != nil {
			return nil, err
		}
		content.Attachments = append(content.Attachments,
			mailer.Attachment{Filename: a.Filename, ContentType: a.ContentType, Data: data})
	}
	letter, err := mailer.Compile(content)
	if err == nil {
		e.metrics.attachmentsLoaded(c.Letter, began)
	}
	return letter, err
}

// letterFields are the contact fields that the campaign's letter needs.
func (e *Engine) letterFields(ctx context.Context, c campaign.Campaign) ([]string, error) {
	content, err := e.loadText(ctx, c)
	if err != nil {
		return nil, err
	}
	letter, err := mailer.Compile(content)
	if err != nil {
		return nil, err
	}
	return letter.Fields(), nil
}

// loadText fetches and opens what the campaign sends, without attachments.
func (e *Engine) loadText(ctx context.Context, c campaign.Campaign) (mailer.Content, error) {
	if err := e.cfg.Policy.checkSender(c.Letter.From.Address); err != nil {
		return mailer.Content{}, err
	}
	html, err := e.content(ctx, c.ID, c.Letter.HTML)
	return mailer.Content{
		Subject: c.Letter.Subject, HTML: string(html),
		From: c.Letter.From, ReplyTo: c.Letter.ReplyTo,
		// The same in all messages, retries included, and as late as possible:
		// a scheduled letter is not dated when it was handed in.
		Date: c.StartedAt,
	}, err
}

func (e *Engine) content(ctx context.Context, id string, ref campaign.ContentRef) ([]byte, error) {
	sealed, err := e.store.GetContent(ctx, id, ref.Digest)
	if err != nil {
		return nil, err
	}
	plain, err := e.sealer.OpenOver(sealed, contentContext(id, ref.Digest))
	if err != nil {
		return nil, campaign.Wrap(campaign.CodeInternal, err, "the campaign's content cannot be opened")
	}
	return plain, nil
}

// relayOf gives the campaign's relay with its password.
func (e *Engine) relayOf(c campaign.Campaign) (mailer.Relay, error) {
	r := mailer.Relay{Host: c.Relay.Host, Port: c.Relay.Port, UseTLS: c.Relay.UseTLS, Username: c.Relay.Username}
	if c.Relay.Default && !sameAccount(r, e.cfg.DefaultRelay) {
		return r, campaign.Errorf(campaign.CodeConflict,
			"the campaign was accepted for the default relay %s, and the configuration names another one now", r.Addr())
	}
	return e.withPassword(r, c)
}

// sameAccount says whether credentials of the one may be used with the other.
func sameAccount(a, b mailer.Relay) bool {
	return a.Host == b.Host && a.Port == b.Port && a.UseTLS == b.UseTLS && a.Username == b.Username
}

// contentContext and passwordContext bind ciphertexts to their rows.
func contentContext(id, digest string) string { return "content " + digest + " of campaign " + id }
func passwordContext(id string) string        { return "relay password of campaign " + id }
