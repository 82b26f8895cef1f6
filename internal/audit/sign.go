package audit

import (
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"time"

	"postern/internal/campaign"
)

// Place is where in a campaign's own chain a root, or an event, stands.
type Place struct {
	CampaignID string
	At         time.Time
	// Before is the chain in front of its link.
	Before campaign.Chain
}

// rootDomain leads what is signed of a root.
const rootDomain = "postern audit root 1\n"

// SignedOctets are the octets that a root's signature is over: rootDomain, the
// campaign's id, a line feed, the event's time in milliseconds since 1970, the
// number of links in front of the root's and the hash of the last of them (32
// octets), the number of chunks, the Merkle root (32 octets), and the numbers
// of recipients: total, sent, failed, unknown, suppressed. Numbers have 8
// octets, big-endian.
func SignedOctets(p Place, r campaign.Root) []byte {
	out := append([]byte(rootDomain+p.CampaignID), '\n')
	number := func(n int64) { out = binary.BigEndian.AppendUint64(out, uint64(n)) }
	number(p.At.UnixMilli())
	number(p.Before.Links)
	out = append(out, p.Before.Head[:]...)
	number(int64(len(r.Links)))
	out = append(out, r.Merkle[:]...)
	for _, n := range []int64{r.Total, r.Sent, r.Failed, r.Unknown, r.Suppressed} {
		number(n)
	}
	return out
}

// Sign signs a root in its place.
func Sign(key ed25519.PrivateKey, p Place, r *campaign.Root) {
	r.Signature = ed25519.Sign(key, SignedOctets(p, *r))
}

// Signed says whether one of the keys has signed the root in its place.
func Signed(keys []ed25519.PublicKey, p Place, r campaign.Root) bool {
	octets := SignedOctets(p, r)
	return slices.ContainsFunc(keys, func(key ed25519.PublicKey) bool {
		return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, octets, r.Signature)
	})
}

// eventDomain leads what is signed of an event.
const eventDomain = "postern audit event 1\n"

// EventOctets are the octets that an event's signature is over: eventDomain,
// the campaign's id, a line feed, the number of links in front of the event's (8
// octets, big-endian), the hash of the last of them (32 octets), and the event's
// payload as it is without its member "signed". So it vouches for the links in
// front of it, too.
func EventOctets(p Place, e campaign.Event) ([]byte, error) {
	e.Signed = nil
	payload, err := e.Encode()
	if err != nil {
		return nil, err
	}
	out := append([]byte(eventDomain+p.CampaignID), '\n')
	out = binary.BigEndian.AppendUint64(out, uint64(p.Before.Links))
	return append(append(out, p.Before.Head[:]...), payload...), nil
}

// SignEvent signs an event in its place.
func SignEvent(key ed25519.PrivateKey, id campaign.KeyID, p Place, e *campaign.Event) error {
	octets, err := EventOctets(p, *e)
	if err != nil {
		return err
	}
	e.Signed = &campaign.Signature{Key: id, Octets: ed25519.Sign(key, octets)}
	return nil
}

// EventSigned says whether one of the keys has signed the event in its place.
func EventSigned(keys []ed25519.PublicKey, p Place, e campaign.Event) bool {
	if e.Signed == nil {
		return false
	}
	octets, err := EventOctets(p, e)
	return err == nil && slices.ContainsFunc(keys, func(key ed25519.PublicKey) bool {
		return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, octets, e.Signed.Octets)
	})
}
