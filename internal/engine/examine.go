package engine

import (
	"context"
	"fmt"
	"time"

	"postern/internal/campaign"
	"postern/internal/lane"
	"postern/internal/mailer"
	"postern/internal/store"
)

// lookAtPassword is how long ago the default password may have been read that a
// look at a relay uses: who looks may have changed it just now.
const lookAtPassword = 10 * time.Second

// Relay completes a relay as Submit does for a campaign, with its password:
// for a look at it. CodeInvalid, with every fault.
func (e *Engine) Relay(ctx context.Context, s SubmittedRelay) (mailer.Relay, error) {
	chosen, password, faults := e.chooseRelay(s)
	if len(faults) > 0 {
		return mailer.Relay{}, campaign.InvalidAll(faults)
	}
	r := mailer.Relay{
		Host: chosen.Host, Port: chosen.Port, UseTLS: chosen.UseTLS, Username: chosen.Username, Password: password,
	}
	if chosen.Default {
		r.Password = e.cfg.DefaultPassword.Fresh(ctx, time.Now().Add(-lookAtPassword))
	}
	return r, nil
}

// CheckEnvelope says whether the policy lets a relay be asked about a sender
// and a recipient, "" for none. CodeInvalid, with every fault.
func (e *Engine) CheckEnvelope(from, to string) error {
	var faults []campaign.Fault
	if !e.cfg.Policy.mayStandIn(from) {
		faults = append(faults, campaign.Fault{Field: "mail_from", Rule: senderRule})
	}
	if to != "" && !e.cfg.Policy.maySendTo(to) {
		faults = append(faults, campaign.Fault{Field: "rcpt_to", Rule: domainRule})
	}
	if len(faults) > 0 {
		return campaign.InvalidAll(faults)
	}
	return nil
}

// RelayStates tells what this task's sessions know of their relays, and names
// no person.
func (e *Engine) RelayStates() []lane.State {
	states := e.lanes.States()
	for i := range states {
		states[i].Trouble.Text = campaign.WithoutAddresses(states[i].Trouble.Text)
	}
	return states
}

// newest is how many campaigns OpenNewest looks at for a letter.
const newest = 20

// OpenNewest opens the newest letter in the store, and says whether there was
// one. An error is about a letter that the sealer cannot open, or about the
// store.
func OpenNewest(ctx context.Context, s store.Store, sealer Sealer) (opened int, err error) {
	page, err := s.ListCampaigns(ctx, "", newest)
	if err != nil {
		return 0, err
	}
	for _, c := range page.Campaigns {
		sealed, err := s.GetContent(ctx, c.ID, c.Letter.HTML.Digest)
		switch {
		case campaign.CodeOf(err) == campaign.CodeNotFound && err != nil:
			continue // erased
		case err != nil:
			return 0, err
		}
		if _, err := sealer.OpenOver(sealed, contentContext(c.ID, c.Letter.HTML.Digest)); err != nil {
			return 0, fmt.Errorf("the letter of campaign %s: %w", c.ID, err)
		}
		return 1, nil
	}
	return 0, nil
}
