package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// leaseValue is what is stored of a lease.
type leaseValue struct {
	store.Lease
	token token // of the last write by a holder, acquisition included
	made  int64 // the version that this write made
	// finished: by FinishChunk, and not taken up again since; the totals count
	// it as done.
	finished bool
}

// madeBy says whether the last write by a holder is the one that has the
// token, began with a lease as seen, and moved the fence up by fences.
func (v leaseValue) madeBy(own token, seen store.Lease, fences int64) bool {
	return v.token == own && v.made == seen.Version+1 && v.Fence == seen.Fence+fences
}

// GetLease implements store.Work.
func (s *Store) GetLease(ctx context.Context, key store.LeaseKey) (store.Lease, error) {
	var out store.Lease
	err := s.view(ctx, func(t *tx) error {
		v, err := t.lease(key)
		out = v.Lease
		return err
	})
	return out, err
}

// AcquireLease implements store.Work.
func (s *Store) AcquireLease(ctx context.Context, seen store.Lease, owner string) (store.Lease, error) {
	own := tokenOf("AcquireLease", []byte(owner))
	var out store.Lease
	err := s.update(ctx, func(t *tx) error {
		v, err := t.lease(seen.Key)
		if err != nil {
			return err
		}
		if v.madeBy(own, seen, 1) {
			out = v.Lease
			return nil
		}
		if v.Closed || v.Version != seen.Version || v.Fence != seen.Fence {
			return errLost(seen.Key)
		}
		now := v
		now.Owner, now.DueAt = owner, store.HeldDue
		now.Fence++
		now.Version++
		now.token, now.made = own, now.Version
		out, err = t.replaceLease(v.Lease, now)
		return err
	})
	return out, err
}

// RenewLease implements store.Work.
func (s *Store) RenewLease(ctx context.Context, held store.Lease) (store.Lease, error) {
	return s.writeHeld(ctx, held, heldWrite{
		token: tokenOf("RenewLease", nil),
		apply: func(*tx, *leaseValue) error { return nil },
	})
}

// ReleaseLease implements store.Work.
func (s *Store) ReleaseLease(ctx context.Context, held store.Lease, dueAt time.Time) (store.Lease, error) {
	return s.writeHeld(ctx, held, heldWrite{
		token: tokenOf("ReleaseLease", timeKey(dueAt, nil)),
		apply: func(_ *tx, v *leaseValue) error {
			v.Owner, v.DueAt = "", milliseconds(dueAt)
			return nil
		},
	})
}

// CloseLease implements store.Work.
func (s *Store) CloseLease(ctx context.Context, held store.Lease, status campaign.Status) (store.Lease, error) {
	return s.writeHeld(ctx, held, heldWrite{
		token: tokenOf("CloseLease", []byte(status)),
		apply: func(t *tx, v *leaseValue) error {
			if err := t.stillHas(v.Key.CampaignID, status); err != nil {
				return err
			}
			v.close()
			return nil
		},
	})
}

// stillHas is a conflict when there is a campaign and it has another status.
func (t *tx) stillHas(id string, status campaign.Status) error {
	c, err := t.campaign(id)
	switch {
	case campaign.CodeOf(err) == campaign.CodeNotFound:
		return nil
	case err != nil:
		return err
	case c.Campaign.Status != status:
		return campaign.Errorf(campaign.CodeConflict, "campaign %s is %s, not %s any more", id, c.Campaign.Status, status)
	}
	return nil
}

func (v *leaseValue) close() { v.Owner, v.DueAt, v.Closed = "", time.Time{}, true }

// finish closes the lease of a chunk that the totals count as done.
func (v *leaseValue) finish() {
	v.close()
	v.finished = true
}

// open makes the lease free and due, whoever had it; what that one wrote last
// is not recognised any more, so it sees that it has lost the lease.
func (v *leaseValue) open(dueAt time.Time) {
	v.Owner, v.DueAt, v.Closed = "", milliseconds(dueAt), false
	v.Version++
	v.token, v.made = token{}, 0
}

// heldWrite is a write by a lease's holder.
type heldWrite struct {
	token token
	// apply changes the lease and whatever else belongs to the write.
	apply func(t *tx, v *leaseValue) error
}

// writeHeld makes a write under the condition that the lease is still as it
// is held, or recognises that it has been made.
func (s *Store) writeHeld(ctx context.Context, held store.Lease, w heldWrite) (store.Lease, error) {
	var out store.Lease
	err := s.update(ctx, func(t *tx) error {
		v, err := t.lease(held.Key)
		if err != nil {
			return err
		}
		if v.madeBy(w.token, held, 0) {
			out = v.Lease
			return nil
		}
		if v.Owner == "" || v.Version != held.Version || v.Fence != held.Fence {
			return errLost(held.Key)
		}
		now := v
		now.Version++
		now.token, now.made = w.token, now.Version
		if err := w.apply(t, &now); err != nil {
			return err
		}
		out, err = t.replaceLease(v.Lease, now)
		return err
	})
	return out, err
}

func errLost(key store.LeaseKey) error {
	return campaign.Errorf(campaign.CodeConflict, "lease %d of campaign %s was changed meanwhile", key.Number, key.CampaignID)
}

func (t *tx) lease(key store.LeaseKey) (leaseValue, error) {
	raw := leaseKey(key)
	value := t.get(leasesBucket, raw)
	if value == nil {
		return leaseValue{}, campaign.Errorf(campaign.CodeNotFound, "campaign %s has no lease %d", key.CampaignID, key.Number)
	}
	v, err := decodeLease(key, value)
	if err != nil {
		return leaseValue{}, damaged(leasesBucket, raw, err)
	}
	return v, nil
}

// addLease stores a new lease and its place in the index of due times.
func (t *tx) addLease(l store.Lease) error {
	if err := t.moveDue(nil, dueEntry(l)); err != nil {
		return err
	}
	return t.put(leasesBucket, leaseKey(l.Key), encodeLease(leaseValue{Lease: l}))
}

// replaceLease stores a lease, moves it in the index where its due time has
// changed, and gives it as it will be read.
func (t *tx) replaceLease(old store.Lease, v leaseValue) (store.Lease, error) {
	key := leaseKey(v.Key)
	if err := t.moveDue(dueEntry(old), dueEntry(v.Lease)); err != nil {
		return store.Lease{}, err
	}
	value := encodeLease(v)
	if err := t.put(leasesBucket, key, value); err != nil {
		return store.Lease{}, err
	}
	stored, err := decodeLease(v.Key, value)
	return stored.Lease, err
}

// dueEntry is a lease's key in the index of due times; nil for a closed one.
func dueEntry(l store.Lease) []byte {
	if l.Closed {
		return nil
	}
	return timeKey(l.DueAt, leaseKey(l.Key))
}

func (t *tx) moveDue(from, to []byte) error {
	if bytes.Equal(from, to) {
		return nil
	}
	if from != nil {
		if err := t.delete(dueBucket, from); err != nil {
			return err
		}
	}
	if to == nil {
		return nil
	}
	return t.put(dueBucket, to, []byte{})
}

// leaseKey is a campaign's id and the number.
func leaseKey(key store.LeaseKey) []byte {
	out := make([]byte, 0, len(key.CampaignID)+numberSize)
	return binary.BigEndian.AppendUint32(append(out, key.CampaignID...), uint32(key.Number))
}

// Sizes of numbers and times in keys.
const (
	numberSize  = 4
	timeKeySize = 8
)

// timeKey leads a key with a time, so that earlier ones come first; the sign
// bit is turned for times before 1970.
func timeKey(t time.Time, rest []byte) []byte {
	out := make([]byte, 0, timeKeySize+len(rest))
	return append(binary.BigEndian.AppendUint64(out, uint64(t.UnixMilli())^1<<63), rest...)
}
