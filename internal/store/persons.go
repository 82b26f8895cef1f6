package store

import (
	"context"
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

	// EraseAddresses takes the Addresses out of a campaign's Audience, which is
	// of no use any more once the audience is final. CodeConflict before that;
	// CodeNotFound. A campaign without Addresses stays as it is.
	EraseAddresses(ctx context.Context, campaignID string) error

	// Expire notes that a campaign that has ended forgets its recipients:
	// ExpiredAt becomes at, unless it is set already, and no Restart takes the
	// campaign up from then on (CodeConflict). CodeConflict when it has not
	// ended; CodeNotFound.
	Expire(ctx context.Context, campaignID string, at time.Time) error

	// EraseChunk takes away the audience and the rows of a chunk of an expired
	// campaign. Rows that the store deletes by itself may stay until then. A
	// chunk without them stays as it is.
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
