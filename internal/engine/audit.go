package engine

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"time"

	"postern/internal/audit"
	"postern/internal/campaign"
	"postern/internal/store"
)

// What the audit trail's keys, which are derived from the sealing key, are for.
const (
	personPurpose  = "postern audit person 1"
	signingPurpose = "postern audit signature 1"
)

// Keys derives further keys of the sealing keys, each of which has an id.
type Keys interface {
	// KeyIDs are the ids of all keys, that of the one in use first.
	KeyIDs() [][4]byte
	// DeriveFor derives a key of 32 octets of the one with the id.
	DeriveFor(id [4]byte, purpose string) ([]byte, error)
}

// persons makes the digests that stand for a campaign's recipients in its
// audit trail: HMAC-SHA-256, cut to 16 octets, over the campaign's id, a line
// feed and the address in lower case. The campaign's id is in it so that nobody
// without the key can tell that two campaigns had the same recipient.
type persons struct {
	key campaign.KeyID
	mac hash.Hash
	// text is what is hashed; lead octets of it are the same for all.
	text []byte
	lead int
	sum  []byte
}

func newPersons(keys Keys, id campaign.KeyID, campaignID string) (*persons, error) {
	secret, err := keys.DeriveFor(id, personPurpose)
	if err != nil {
		return nil, fmt.Errorf("derive the key of the audit trail: %w", err)
	}
	lead := []byte(campaignID + "\n")
	return &persons{key: id, mac: hmac.New(sha256.New, secret), text: lead, lead: len(lead)}, nil
}

// of gives the digest for an address; nobody for "", which is an erased one.
func (p *persons) of(address string) campaign.Person {
	if address == "" {
		return campaign.Person{}
	}
	p.text = append(p.text[:p.lead], campaign.Key(address)...)
	p.mac.Reset()
	_, _ = p.mac.Write(p.text) // it never fails
	p.sum = p.mac.Sum(p.sum[:0])
	return campaign.Person{Key: p.key, Digest: campaign.PersonDigest(p.sum)}
}

// signer is the key that signs roots, with its id.
func signer(keys Keys, id campaign.KeyID) (ed25519.PrivateKey, error) {
	seed, err := keys.DeriveFor(id, signingPurpose)
	if err != nil {
		return nil, fmt.Errorf("derive the signing key of the audit trail: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// note appends a signed event to a campaign's audit trail, for what is not told
// by the write that did it. The actor is the context's. CodeNotFound,
// CodeUnavailable.
func (e *Engine) note(ctx context.Context, campaignID string, event campaign.Event) error {
	event.At, event.Actor = e.cfg.Now().Truncate(time.Millisecond), campaign.ActorOf(ctx)
	id := e.sealer.KeyIDs()[0]
	key, err := signer(e.sealer, id)
	if err != nil {
		return err
	}
	for {
		c, err := e.store.GetCampaign(ctx, campaignID)
		if err != nil {
			return err
		}
		place := audit.Place{CampaignID: campaignID, At: event.At, Before: c.Log}
		if err := audit.SignEvent(key, id, place, &event); err != nil {
			return err
		}
		_, err = e.store.AppendEvent(ctx, campaignID, c.Log, event)
		if err == nil || campaign.CodeOf(err) != campaign.CodeConflict {
			return err
		}
	}
}

// noteErasure tells that a person is erased from a campaign, without saying who
// to those who do not have the key: an event for each key that there is, for
// the records have the person's digest by the key of their time.
func (e *Engine) noteErasure(ctx context.Context, campaignID, address string) error {
	for _, id := range e.sealer.KeyIDs() {
		p, err := newPersons(e.sealer, id, campaignID)
		if err != nil {
			return err
		}
		if err := e.note(ctx, campaignID, campaign.Event{Action: campaign.ActionErased, Person: p.of(address)}); err != nil {
			return err
		}
	}
	return nil
}

// lastEvent gives the last event of a campaign's own chain.
func lastEvent(ctx context.Context, s store.Audit, c campaign.Campaign) (campaign.Event, error) {
	links, err := s.AuditLinks(ctx, store.LeaseKey{CampaignID: c.ID}, c.Log.Links-1, 1)
	if err != nil || len(links) == 0 {
		return campaign.Event{}, err
	}
	return campaign.DecodeEvent(links[0].Payload)
}
