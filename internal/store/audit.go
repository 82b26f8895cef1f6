package store

import (
	"context"
	"net"
	"strconv"

	"postern/internal/campaign"
)

// Audit keeps the audit trail: chains of links that are appended and never
// overwritten. Each chunk has a chain, whose end is its lease's Progress.Chain,
// and each campaign has one of its own, whose end is its Log.
//
// The writes that a trail tells of append the link themselves, in the same
// transaction: CreateCampaign, Transition and Restart an event to the
// campaign's own chain; Checkpoint and Absorb a record of the terminal
// deliveries that they write, in their order (campaign.EncodeResults), to the
// chunk's; ReopenChunk a record of the recipients that it opens, by index
// (campaign.EncodeReopened). Where there is nothing to tell, there is no link. A
// repeated call that is recognised appends nothing.
type Audit interface {
	// AppendEvent appends an event to a campaign's own chain, and gives its end
	// as it is then. CodeConflict when the chain does not end as seen any more,
	// and not by this very call either, which is recognised by its event;
	// CodeNotFound.
	AppendEvent(ctx context.Context, campaignID string, seen campaign.Chain, e campaign.Event) (campaign.Chain, error)

	// AuditLinks gives up to limit links of the chain of the key's number (0
	// for the campaign's own) behind the one with the number after, in order. A
	// chain that is not there has none.
	AuditLinks(ctx context.Context, key LeaseKey, after int64, limit int) ([]campaign.Link, error)
}

// Event is what the audit trail tells of the campaign's acceptance.
func (n NewCampaign) Event() campaign.Event {
	return campaign.Event{
		At: n.Campaign.CreatedAt, Actor: n.Actor, Action: campaign.ActionCreated, To: n.Campaign.Status, Relay: relayText(n.Campaign.Relay),
	}
}

// Event is what the audit trail tells of a transition of a campaign whose
// status was from.
func (t Transition) Event(from campaign.Status) campaign.Event {
	return campaign.Event{At: t.At, Actor: t.Actor, Action: campaign.ActionStatus, From: from, To: t.To, Reason: t.Reason}
}

// Event is what the audit trail tells of a restart.
func (r Restart) Event() campaign.Event {
	e := campaign.Event{At: r.At, Actor: r.Actor, Action: campaign.ActionRestarted, From: r.From, To: r.To, States: r.States}
	if r.Relay != nil {
		e.Relay = relayText(*r.Relay)
	}
	return e
}

// relayText leaves the user name out, which may be a person's address.
func relayText(r campaign.Relay) string { return net.JoinHostPort(r.Host, strconv.Itoa(r.Port)) }
