package engine

import (
	"context"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
)

// Password is the password of the default relay where it is kept elsewhere and
// may change there.
type Password interface {
	// Current is the password as it was read last. It does not block.
	Current() string
	// Fresh is the password as it was read at since or later, and behind the
	// last time that Renew was told of a refusal; or as it was read last, where
	// it cannot be read. It may wait some seconds, so that no refusals make a
	// flood of readings.
	Fresh(ctx context.Context, since time.Time) string
	// Renew is told that the relay does not take a password, may read it again,
	// and says whether Current is another one now.
	Renew(ctx context.Context, refused string) bool
}

// fixedPassword is one that does not change while the engine runs.
type fixedPassword string

func (p fixedPassword) Current() string                         { return string(p) }
func (p fixedPassword) Fresh(context.Context, time.Time) string { return string(p) }
func (p fixedPassword) Renew(context.Context, string) bool      { return false }

// credentialsRefused pauses a campaign at work here for the reason, unless the
// default relay's password has changed where it is kept: then the run is over,
// and the next one has the new password. That one is refused as well, or it
// works: a campaign does not go round in this.
func (e *Engine) credentialsRefused(r *run, reason string) {
	if _, fixed := e.cfg.DefaultPassword.(fixedPassword); fixed || !r.campaign.Relay.Default {
		e.pauseRun(r, reason)
		return
	}
	r.renewing.Do(func() {
		e.background.Go(func() {
			if e.cfg.DefaultPassword.Renew(e.working, r.password) {
				e.log.Info().Str("campaign", r.campaign.ID).Msg("the relay refused the default relay's password; the campaign goes on with the one that it has been changed to")
				r.over(errCampaignOver)
				return
			}
			e.pauseRun(r, reason)
		})
	})
}

// withPassword completes the campaign's relay. A campaign that was taken up
// again may have been so because somebody has changed the default password.
func (e *Engine) withPassword(ctx context.Context, r mailer.Relay, c campaign.Campaign) (mailer.Relay, error) {
	switch {
	case c.Relay.Default:
		var since time.Time
		if c.RunningSince.After(c.StartedAt) {
			since = c.RunningSince
		}
		r.Password = e.cfg.DefaultPassword.Fresh(ctx, since)
	case c.Relay.SealedPassword != nil:
		plain, err := e.sealer.Open(c.Relay.SealedPassword, passwordContext(c.ID, c.Relay))
		if err != nil {
			return r, campaign.Wrap(campaign.CodeInternal, err,
				"the relay's password cannot be opened for %s: pause the campaign and resume it with smtp_password", r.Addr())
		}
		r.Password = string(plain)
	}
	return r, nil
}
