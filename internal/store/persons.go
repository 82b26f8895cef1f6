package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postern/internal/campaign"
)

// Persons takes out of campaigns who was mailed by them. What a person leaves
// behind is the state of the delivery, its times and digests, and the totals.
type Persons interface {
	// EraseRecipient takes a person out of a chunk that nobody works on. Packed
	// replaces the chunk's audience; it is the same one but for the recipient,
	// who has neither address nor values in it any more. The recipient's row, where there
	// is one, loses Address, Reply and MessageID, and its Deferred entry the
	// Reply. It returns the lease as it is then: Version + 1. CodeConflict when
	// the lease is not closed, or not as seen (Fence, Version), unless this very
	// call has made the difference.
	EraseRecipient(ctx context.Context, seen Lease, e Erasure) (Lease, error)

	// EraseAddress takes the address with a contact's key out of a campaign's
	// Audience.Addresses, whatever its status: what WithoutAddress leaves in its
	// place is nobody's, so that the others keep their places, which the freezing
	// counts, and the selection of one person does not become that of all. A
	// campaign that does not name the address stays as it is. CodeNotFound.
	EraseAddress(ctx context.Context, campaignID, key string) error

	// EraseAddresses takes all Addresses out of a campaign's Audience, once
	// nobody is chosen by them any more: the audience is final, or the campaign is
	// cancelled or expired. CodeConflict before that; CodeNotFound. A campaign
	// without Addresses stays as it is.
	EraseAddresses(ctx context.Context, campaignID string) error

	// Expire notes that a campaign whose FinishedAt is before finishedBefore
	// forgets its recipients: ExpiredAt becomes at, unless it is set already, and
	// no Restart takes the campaign up from then on (CodeConflict). CodeConflict
	// when it has not ended, or ended later; CodeNotFound.
	Expire(ctx context.Context, campaignID string, finishedBefore, at time.Time) error

	// EraseChunk takes away the audience and the rows of a chunk of an expired
	// campaign, the audience first. Its lease's Version may rise, and an Absorb
	// from then on names nobody. A chunk without them stays as it is.
	EraseChunk(ctx context.Context, key LeaseKey) error
}

// Erasure is what takes a person out of a chunk.
type Erasure struct {
	Index  int
	Packed []byte
}

// ErrExpired is what a Restart of an expired campaign returns.
func ErrExpired() error {
	return campaign.Errorf(campaign.CodeConflict, "the campaign has forgotten its recipients, who are kept for DELIVERY_RETENTION only; send a new one")
}

// WithoutAddress gives addresses with the one of a contact's key replaced by
// what is nobody's address, and whether it was there.
func WithoutAddress(addresses []string, key string) ([]string, bool) {
	i := slices.IndexFunc(addresses, func(a string) bool { return campaign.Key(a) == key })
	if i < 0 {
		return addresses, false
	}
	out := slices.Clone(addresses)
	out[i] = fmt.Sprintf("(erased %d)", i) // no two alike: contacts are looked up by distinct keys
	return out, true
}

// Nameless gives a delivery without what names the person.
func Nameless(d campaign.Delivery) campaign.Delivery {
	d.Address, d.Reply, d.MessageID = "", "", ""
	return d
}

// WithoutErased gives deliveries with those Nameless who are erased from their
// chunk's packed audience; all of them where that is gone, which nil stands for.
// An audience that cannot be read tells of nobody that he is erased.
func WithoutErased(packed []byte, deliveries []campaign.Delivery) []campaign.Delivery {
	audience, err := campaign.UnpackAudience(packed)
	if err != nil && packed != nil {
		return deliveries
	}
	out := slices.Clone(deliveries)
	for i, d := range out {
		if packed == nil || d.Index < len(audience.Recipients) && audience.Recipients[d.Index].Erased() {
			out[i] = Nameless(d)
		}
	}
	return out
}
