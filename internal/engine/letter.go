package engine

import (
	"context"
	"errors"
	"fmt"
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

// takeLetter gives the chunk's letter, which leaveLetter gives back. The run's
// first chunk loads it, the others wait. errNoRoom where there is no memory
// for it; wait says then after what time to come again.
func (e *Engine) takeLetter(c *chunk) (letter *mailer.Letter, wait time.Duration, err error) {
	shared := &c.run.letter
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if wait, ok := e.rooms.enter(c); !ok {
		return nil, wait, errNoRoom
	}
	if shared.loaded == nil {
		// For all who wait, so not by the caller's context.
		if letter, err = e.loadLetter(e.feeding, c.run.campaign); err != nil {
			e.rooms.leave(c)
			return nil, 0, err
		}
		shared.loaded = letter
	}
	return shared.loaded, 0, nil
}

// leaveLetter forgets a large letter with the last chunk that has it: the run
// may outlast its chunks by minutes. It may be called again.
func (e *Engine) leaveLetter(c *chunk) {
	shared := &c.run.letter
	shared.mu.Lock()
	defer shared.mu.Unlock()
	c.letter = nil
	if e.rooms.leave(c) {
		shared.loaded = nil
	}
}

// fetchLetter gets the letter first: without it nothing else needs to be read.
// It says whether it has; if not, the lease is given back.
func (c *chunk) fetchLetter() bool {
	letter, wait, err := c.e.takeLetter(c)
	c.letter = letter
	switch {
	case err == nil:
		return true
	case errors.Is(err, errNoRoom):
		c.comeAgain(wait)
	default:
		c.e.giveUpHeld(c.hold, err)
	}
	return false
}

// comeAgain gives back the lease of a chunk whose letter has no room. Where
// its relay is in trouble the chunk is as good as parked.
func (c *chunk) comeAgain(wait time.Duration) {
	switch {
	case errors.Is(context.Cause(c.feeding), errLeaseLost):
		return
	case c.e.feeding.Err() != nil:
		c.giveBack(dueNow)
		return
	}
	if trouble := c.run.lane.Trouble(); trouble.Parked {
		c.parkedFor = trouble.NextProbe
		c.e.noteTrouble(c.run.campaign, trouble)
		wait = max(wait, trouble.NextProbe)
	}
	c.giveBack(c.e.cfg.Now().Add(wait))
	lease := c.hold.current()
	c.e.rooms.gaveBack(c.run.campaign.ID, hint{key: lease.Key, version: lease.Version})
}

// loadAlone keeps other large letters from being loaded meanwhile.
func (e *Engine) loadAlone(l campaign.Letter) (done func()) {
	if letterOctets(l) <= smallLetter {
		return func() {}
	}
	e.rooms.loading.Lock()
	return e.rooms.loading.Unlock
}

// loadLetter fetches, opens and compiles what the campaign sends.
func (e *Engine) loadLetter(ctx context.Context, c campaign.Campaign) (*mailer.Letter, error) {
	defer e.loadAlone(c.Letter)()
	content, err := e.loadText(ctx, c)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for i, ref := range c.Letter.Attachments {
		if content.Attachments[i].Data, err = e.content(ctx, c.ID, ref); err != nil {
			return nil, err
		}
	}
	letter, err := mailer.Compile(content)
	if err == nil {
		e.metrics.attachmentsLoaded(c.Letter, began)
	}
	return letter, err
}

// letterFields are the contact fields that the campaign's letter needs.
func (e *Engine) letterFields(ctx context.Context, c campaign.Campaign) ([]string, error) {
	defer e.loadAlone(c.Letter)()
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

// loadText fetches and opens what the campaign sends, without the data of the
// attachments.
func (e *Engine) loadText(ctx context.Context, c campaign.Campaign) (mailer.Content, error) {
	head, err := e.openHead(c)
	if err != nil {
		return mailer.Content{}, err
	}
	if err := e.cfg.Policy.checkSender(c.Letter.From.Address, head.ReplyTo.Address); err != nil {
		return mailer.Content{}, err
	}
	html, err := e.content(ctx, c.ID, c.Letter.HTML)
	return mailer.Content{
		Subject: head.Subject, HTML: string(html),
		From: c.Letter.From, ReplyTo: head.ReplyTo, Attachments: head.attachments(),
		// The same in all messages, retries included, and as late as possible:
		// a scheduled letter is not dated when it was handed in.
		Date:     c.StartedAt,
		Accepted: true,
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
func (e *Engine) relayOf(ctx context.Context, c campaign.Campaign) (mailer.Relay, error) {
	r := mailer.Relay{Host: c.Relay.Host, Port: c.Relay.Port, UseTLS: c.Relay.UseTLS, Username: c.Relay.Username}
	if c.Relay.Default && !sameAccount(r, e.cfg.DefaultRelay) {
		return r, campaign.Errorf(campaign.CodeConflict,
			"the campaign was accepted for the default relay %s, and the configuration names another one now", r.Addr())
	}
	return e.withPassword(ctx, r, c)
}

// sameAccount says whether credentials of the one may be used with the other.
func sameAccount(a, b mailer.Relay) bool {
	return a.Host == b.Host && a.Port == b.Port && a.UseTLS == b.UseTLS && a.Username == b.Username
}

// contentContext and passwordContext bind ciphertexts to their rows, and a
// password to the server, the account and the transport that it was given for:
// who can write rows must not have it sent elsewhere.
func contentContext(id, digest string) string { return "content " + digest + " of campaign " + id }

func passwordContext(id string, r campaign.Relay) string {
	return fmt.Sprintf("relay password of campaign %q for host %q, port %d, TLS %t, user name %q", id, r.Host, r.Port, r.UseTLS, r.Username)
}
