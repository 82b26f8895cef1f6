package bolt

import (
	"context"
	"encoding/binary"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// leaseValue is what is stored of a lease.
type leaseValue struct {
	store.Lease
	token token // of the write that made it what it is
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
		if v.Version == seen.Version+1 && v.Fence == seen.Fence+1 && v.token == own {
			out = v.Lease
			return nil
		}
		if v.Closed || v.Version != seen.Version || v.Fence != seen.Fence {
			return errLost(seen.Key)
		}
		now := v.Lease
		now.Owner = owner
		now.Fence++
		now.Version++
		out, err = t.replaceLease(v.Lease, leaseValue{Lease: now, token: own})
		return err
	})
	return out, err
}

// RenewLease implements store.Work.
func (s *Store) RenewLease(ctx context.Context, held store.Lease) (store.Lease, error) {
	return s.writeHeld(ctx, held, heldWrite{
		token: tokenOf("RenewLease", nil),
		apply: func(*tx, *store.Lease) error { return nil },
	})
}

// ReleaseLease implements store.Work.
func (s *Store) ReleaseLease(ctx context.Context, held store.Lease, dueAt time.Time) (store.Lease, error) {
	return s.writeHeld(ctx, held, heldWrite{
		token: tokenOf("ReleaseLease", timeKey(dueAt, nil)),
		apply: func(_ *tx, l *store.Lease) error {
			l.Owner, l.DueAt = "", milliseconds(dueAt)
			return nil
		},
	})
}

// CloseLease implements store.Work.
func (s *Store) CloseLease(ctx context.Context, held store.Lease) (store.Lease, error) {
	return s.writeHeld(ctx, held, heldWrite{
		token: tokenOf("CloseLease", nil),
		apply: func(_ *tx, l *store.Lease) error {
			closeLease(l)
			return nil
		},
	})
}

func closeLease(l *store.Lease) { l.Owner, l.DueAt, l.Closed = "", time.Time{}, true }

// heldWrite is a write by a lease's holder.
type heldWrite struct {
	token token
	// apply changes the lease and whatever else belongs to the write.
	apply func(t *tx, l *store.Lease) error
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
		if v.Version == held.Version+1 && v.Fence == held.Fence && v.token == w.token {
			out = v.Lease
			return nil
		}
		if v.Owner == "" || v.Version != held.Version || v.Fence != held.Fence {
			return errLost(held.Key)
		}
		now := v.Lease
		now.Version++
		if err := w.apply(t, &now); err != nil {
			return err
		}
		out, err = t.replaceLease(v.Lease, leaseValue{Lease: now, token: w.token})
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
	key := leaseKey(l.Key)
	if err := t.put(dueBucket, timeKey(l.DueAt, key), []byte{}); err != nil {
		return err
	}
	return t.put(leasesBucket, key, encodeLease(leaseValue{Lease: l}))
}

// replaceLease stores a lease, moves it in the index where its due time has
// changed, and gives it as it will be read.
func (t *tx) replaceLease(old store.Lease, v leaseValue) (store.Lease, error) {
	key := leaseKey(v.Key)
	if v.Closed || !v.DueAt.Equal(old.DueAt) {
		if err := t.delete(dueBucket, timeKey(old.DueAt, key)); err != nil {
			return store.Lease{}, err
		}
	}
	if !v.Closed && !v.DueAt.Equal(old.DueAt) {
		if err := t.put(dueBucket, timeKey(v.DueAt, key), []byte{}); err != nil {
			return store.Lease{}, err
		}
	}
	value := encodeLease(v)
	if err := t.put(leasesBucket, key, value); err != nil {
		return store.Lease{}, err
	}
	stored, err := decodeLease(v.Key, value)
	return stored.Lease, err
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

func encodeLease(v leaseValue) []byte {
	e := newEncoder(192 + len(v.Progress.Settled) + 64*len(v.Progress.Deferred))
	e = append(e, v.token[:]...)
	e.string(v.Owner)
	e.int(v.Fence)
	e.int(v.Version)
	e.time(v.DueAt)
	e.bool(v.Closed)
	e.string(v.Freeze.Cursor)
	e.count(v.Freeze.Chunks)
	e.bool(v.Freeze.Final)
	e.count(v.Size)
	e.progress(v.Progress)
	return e
}

func decodeLease(key store.LeaseKey, value []byte) (leaseValue, error) {
	v := leaseValue{Lease: store.Lease{Key: key}}
	d := newDecoder(value)
	if len(d.rest) < len(v.token) {
		return v, errValue
	}
	d.rest = d.rest[copy(v.token[:], d.rest):]
	v.Owner = d.string()
	v.Fence, v.Version = d.int(), d.int()
	v.DueAt, v.Closed = d.time(), d.bool()
	v.Freeze = store.Freeze{Cursor: d.string(), Chunks: d.number(), Final: d.bool()}
	v.Size = d.number()
	v.Progress = d.progress()
	return v, d.done()
}

func (e *encoder) progress(p campaign.Progress) {
	e.bytes(p.Settled)
	e.count(len(p.Deferred))
	for _, f := range p.Deferred {
		e.count(f.Index)
		e.count(f.Attempts)
		e.time(f.Next)
		e.string(f.Reply)
	}
}

func (d *decoder) progress() campaign.Progress {
	p := campaign.Progress{Settled: d.bytes()}
	n := d.count()
	p.Deferred = make([]campaign.Deferred, n)
	for i := range p.Deferred {
		p.Deferred[i] = campaign.Deferred{
			Index: d.number(), Attempts: d.number(), Next: d.time(), Reply: d.string(),
		}
	}
	return p
}
