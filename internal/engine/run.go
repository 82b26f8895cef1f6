package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"postern/internal/campaign"
	"postern/internal/mailer"
	"postern/internal/store"
)

// errCampaignOver is the cause of a run's end when the campaign has reached a
// terminal status, here or on another task.
var errCampaignOver = errors.New("the campaign is over")

// run is a campaign at work on this task: its compiled letter and its lane.
// All leases of the campaign that the task holds share one.
type run struct {
	campaign campaign.Campaign
	letter   *mailer.Letter
	lane     *lane
	// ctx ends when nothing more of the campaign must be started here.
	ctx  context.Context //nolint:containedctx // a lifetime, not a call's
	over context.CancelCauseFunc
	// failing makes the first reason for a failure the campaign's.
	failing sync.Once
}

// runs keeps the campaigns at work, one run each, for as long as a lease of
// theirs is held.
type runs struct {
	mu   sync.Mutex
	byID map[string]*sharedRun
}

type sharedRun struct {
	refs  int
	ready chan struct{} // closed when run or err is set
	run   *run
	err   error
}

// openRun gives the campaign's run, which release lets go. The first caller
// loads it, the others wait. errCampaignOver; the error of a letter or
// password that cannot be used is a *campaign.Error of another code than
// CodeUnavailable.
func (e *Engine) openRun(ctx context.Context, id string) (r *run, release func(), err error) {
	e.runs.mu.Lock()
	s, found := e.runs.byID[id]
	if !found {
		s = &sharedRun{ready: make(chan struct{})}
		e.runs.byID[id] = s
	}
	s.refs++
	e.runs.mu.Unlock()

	release = func() { e.closeRun(id, s) }
	if !found {
		// For all who wait, so not by the caller's context.
		s.run, s.err = e.loadRun(e.feeding, id)
		close(s.ready)
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		release()
		return nil, nil, context.Cause(ctx)
	}
	if s.err != nil {
		release()
		return nil, nil, s.err
	}
	return s.run, release, nil
}

// closeRun takes a reference back; the last one ends the run.
func (e *Engine) closeRun(id string, s *sharedRun) {
	e.runs.mu.Lock()
	s.refs--
	last := s.refs == 0
	if last {
		delete(e.runs.byID, id)
	}
	e.runs.mu.Unlock()
	if last && s.run != nil {
		s.run.over(nil)
		e.closeLane(s.run.lane)
	}
}

func (e *Engine) loadRun(ctx context.Context, id string) (*run, error) {
	c, err := e.store.GetCampaign(ctx, id)
	if err != nil {
		return nil, err
	}
	if c.Status.Terminal() {
		return nil, errCampaignOver
	}
	letter, err := e.loadLetter(ctx, c)
	if err != nil {
		return nil, err
	}
	relay, err := e.relayOf(c)
	if err != nil {
		return nil, err
	}
	r := &run{campaign: c, letter: letter, lane: e.openLane(relay)}
	r.ctx, r.over = context.WithCancelCause(e.feeding)
	e.background.Go(func() { e.watchRun(r) })
	return r, nil
}

// watchRun ends the run when another task, or a caller, has ended the
// campaign, and keeps the campaign's notice true as to the relay.
func (e *Engine) watchRun(r *run) {
	for sleep(r.ctx, e.cfg.LeaseTime/5) == nil {
		c, err := e.store.GetCampaign(r.ctx, r.campaign.ID)
		switch {
		case err != nil && campaign.CodeOf(err) == campaign.CodeNotFound, err == nil && c.Status.Terminal():
			r.over(errCampaignOver)
		case err == nil:
			if notice, known := r.lane.notice(); known && notice != c.Notice {
				e.notice(c.ID, notice)
			}
		}
	}
}

// isOver says whether the campaign has ended, as against this task's stop.
func (r *run) isOver() bool { return errors.Is(context.Cause(r.ctx), errCampaignOver) }

// loadLetter fetches, opens and compiles what the campaign sends.
func (e *Engine) loadLetter(ctx context.Context, c campaign.Campaign) (*mailer.Letter, error) {
	html, err := e.content(ctx, c.ID, c.Letter.HTML)
	if err != nil {
		return nil, err
	}
	content := mailer.Content{
		Subject: c.Letter.Subject, HTML: string(html),
		From: c.Letter.From, ReplyTo: c.Letter.ReplyTo, Date: c.CreatedAt,
	}
	for _, a := range c.Letter.Attachments {
		data, err := e.content(ctx, c.ID, a.ContentRef)
		if err != nil {
			return nil, err
		}
		content.Attachments = append(content.Attachments,
			mailer.Attachment{Filename: a.Filename, ContentType: a.ContentType, Data: data})
	}
	return mailer.Compile(content)
}

func (e *Engine) content(ctx context.Context, id string, ref campaign.ContentRef) ([]byte, error) {
	sealed, err := e.store.GetContent(ctx, id, ref.Digest)
	if err != nil {
		return nil, err
	}
	plain, err := e.sealer.Open(sealed, contentContext(id, ref.Digest))
	if err != nil {
		return nil, campaign.Wrap(campaign.CodeInternal, err, "the campaign's content cannot be opened")
	}
	return plain, nil
}

// relayOf gives the campaign's relay with its password.
func (e *Engine) relayOf(c campaign.Campaign) (mailer.Relay, error) {
	r := mailer.Relay{Host: c.Relay.Host, Port: c.Relay.Port, UseTLS: c.Relay.UseTLS, Username: c.Relay.Username}
	switch {
	case c.Relay.Default && !sameAccount(r, e.cfg.DefaultRelay):
		return r, campaign.Errorf(campaign.CodeConflict,
			"the campaign was accepted for the default relay %s, and the configuration names another one now", r)
	case c.Relay.Default:
		r.Password = e.cfg.DefaultRelay.Password
	case c.Relay.SealedPassword != nil:
		plain, err := e.sealer.Open(c.Relay.SealedPassword, passwordContext(c.ID))
		if err != nil {
			return r, campaign.Wrap(campaign.CodeInternal, err, "the relay's password cannot be opened")
		}
		r.Password = string(plain)
	}
	return r, nil
}

// sameAccount says whether credentials of the one may be used with the other.
func sameAccount(a, b mailer.Relay) bool {
	return a.Host == b.Host && a.Port == b.Port && a.UseTLS == b.UseTLS && a.Username == b.Username
}

// contentContext and passwordContext bind ciphertexts to their rows.
func contentContext(id, digest string) string { return "content " + digest + " of campaign " + id }
func passwordContext(id string) string        { return "relay password of campaign " + id }

// fail ends a campaign that cannot go on, with the reason for its owner.
func (e *Engine) fail(id, reason string) {
	err := e.untilDone(e.working, func(ctx context.Context) error {
		return e.transition(ctx, id, store.Transition{To: campaign.StatusFailed, Reason: reason})
	})
	if err != nil && campaign.CodeOf(err) != campaign.CodeConflict {
		e.log.Error().Err(err).Str("campaign", id).Msg("the failed campaign could not be marked; whoever takes it up next will try again")
	}
}

// failRun is fail for a campaign at work here: nothing more of it is started.
func (e *Engine) failRun(r *run, reason string) {
	r.failing.Do(func() {
		r.over(errCampaignOver)
		e.background.Go(func() { e.fail(r.campaign.ID, reason) })
	})
}

// untilDone repeats a call while the store is out of reach.
func (e *Engine) untilDone(ctx context.Context, call func(context.Context) error) error {
	for try := 1; ; try++ {
		err := call(ctx)
		if err == nil || campaign.CodeOf(err) != campaign.CodeUnavailable {
			return err
		}
		if sleep(ctx, jitter(backoff(storeRetryMin, storeRetryMax, try))) != nil {
			return fmt.Errorf("%w (given up: the task stops)", err)
		}
	}
}
