package bolt

import (
	"bytes"
	"context"
	"slices"

	"postern/internal/campaign"
	"postern/internal/store"
)

// AddChunk implements store.Work.
func (s *Store) AddChunk(ctx context.Context, control store.Lease, chunk store.Chunk, cursor string) (store.Lease, error) {
	if len(chunk.Packed) > store.MaxChunkOctets || chunk.Size > store.MaxChunkRecipients {
		return store.Lease{}, campaign.Errorf(campaign.CodeInternal,
			"a chunk of %d recipients and %d octets is above the limits", chunk.Size, len(chunk.Packed))
	}
	e := newEncoder(len(chunk.Packed) + len(cursor) + 32)
	e.count(chunk.Size)
	e.bytes(chunk.Packed)
	e.time(chunk.DueAt)
	e.string(cursor)
	return s.writeHeld(ctx, control, heldWrite{
		token: tokenOf("AddChunk", e),
		apply: func(t *tx, v *leaseValue) error {
			v.Freeze.Cursor = cursor
			v.Freeze.Chunks++
			key := store.LeaseKey{CampaignID: v.Key.CampaignID, Number: v.Freeze.Chunks}
			return t.addChunk(key, chunk)
		},
	})
}

func (t *tx) addChunk(key store.LeaseKey, chunk store.Chunk) error {
	err := t.count(key.CampaignID, func(totals *campaign.Totals) {
		totals.Total += int64(chunk.Size)
		totals.Chunks++
	})
	if err != nil {
		return err
	}
	if err := t.put(audienceBucket, leaseKey(key), chunk.Packed); err != nil {
		return err
	}
	return t.addLease(store.Lease{Key: key, DueAt: milliseconds(chunk.DueAt), Size: chunk.Size})
}

// FinishFreeze implements store.Work.
func (s *Store) FinishFreeze(ctx context.Context, control store.Lease) (store.Lease, error) {
	return s.writeHeld(ctx, control, heldWrite{
		token: tokenOf("FinishFreeze", nil),
		apply: func(t *tx, v *leaseValue) error {
			v.Freeze.Final = true
			return t.count(v.Key.CampaignID, func(totals *campaign.Totals) { totals.Final = true })
		},
	})
}

// GetAudience implements store.Work.
func (s *Store) GetAudience(ctx context.Context, key store.LeaseKey) ([]byte, error) {
	var out []byte
	err := s.view(ctx, func(t *tx) error {
		value := t.get(audienceBucket, leaseKey(key))
		if value == nil {
			return campaign.Errorf(campaign.CodeNotFound, "campaign %s has no chunk %d", key.CampaignID, key.Number)
		}
		out = bytes.Clone(value)
		return nil
	})
	return out, err
}

// Checkpoint implements store.Work.
func (s *Store) Checkpoint(ctx context.Context, held store.Lease, cp store.Checkpoint) (store.Lease, error) {
	if err := checkCount(cp.Deliveries); err != nil {
		return store.Lease{}, err
	}
	// Encoded here, by the caller, not by the one committer.
	rows, record := encodeDeliveries(cp.Deliveries), campaign.EncodeResults(cp.Deliveries)
	arguments := encoder(slices.Clone(rows))
	arguments.progress(cp.Progress)
	arguments.bool(cp.Finish)
	var counted campaign.Totals
	for _, d := range cp.Deliveries {
		counted.Count(d.State, 1)
	}
	if cp.Finish {
		counted.ChunksDone = 1
	}
	return s.writeHeld(ctx, held, heldWrite{
		token: tokenOf("Checkpoint", arguments),
		apply: func(t *tx, v *leaseValue) error {
			chain, err := t.appendLink(v.Key, v.Progress.Chain, record)
			if err != nil {
				return err
			}
			v.Progress = cp.Progress
			v.Progress.Chain = chain
			if cp.Finish {
				v.finish()
			}
			if len(cp.Deliveries) == 0 && !cp.Finish {
				return nil
			}
			if err := t.count(v.Key.CampaignID, func(totals *campaign.Totals) { add(totals, counted) }); err != nil {
				return err
			}
			if len(cp.Deliveries) == 0 {
				return nil
			}
			return t.put(deliveriesBucket, deliveriesKey(v.Key, v.Version), rows)
		},
	})
}

func checkCount(rows []campaign.Delivery) error {
	if len(rows) > store.MaxCheckpoint {
		return campaign.Errorf(campaign.CodeInternal, "%d deliveries at once are above the limit of %d", len(rows), store.MaxCheckpoint)
	}
	return nil
}

// FinishChunk implements store.Work.
func (s *Store) FinishChunk(ctx context.Context, held store.Lease) (store.Lease, error) {
	return s.writeHeld(ctx, held, heldWrite{
		token: tokenOf("FinishChunk", nil),
		apply: func(t *tx, v *leaseValue) error {
			v.finish()
			return t.count(v.Key.CampaignID, func(totals *campaign.Totals) { totals.ChunksDone++ })
		},
	})
}

// CountSent implements store.Work.
func (s *Store) CountSent(ctx context.Context, campaignID string, sent []store.Sent) error {
	for slice := range slices.Chunk(sent, contactsSlice) {
		err := s.update(ctx, func(t *tx) error { return t.countSent(campaignID, slice) })
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (t *tx) countSent(id string, sent []store.Sent) error {
	for _, message := range sent {
		key := []byte(message.Key)
		value := t.get(contactsBucket, key)
		if value == nil {
			continue
		}
		counted, changed, err := countSent(key, value, id, message.At)
		if err != nil {
			return err
		}
		if !changed {
			continue
		}
		if err := t.put(contactsBucket, key, counted); err != nil {
			return err
		}
	}
	return nil
}

// MarkCounted implements store.Work. The token stays: who has closed the lease
// may repeat that call behind it.
func (s *Store) MarkCounted(ctx context.Context, seen store.Lease) (store.Lease, error) {
	var out store.Lease
	err := s.update(ctx, func(t *tx) error {
		v, err := t.lease(seen.Key)
		switch {
		case err != nil:
			return err
		case markedAlready(seen, v.Lease):
			out = v.Lease
			return nil
		case !v.Closed || v.Version != seen.Version || v.Fence != seen.Fence:
			return errLost(seen.Key)
		}
		old := v.Lease
		v.Version++
		v.Progress.Counted = slices.Clone(v.Progress.Settled)
		out, err = t.replaceLease(old, v)
		return err
	})
	return out, err
}

// markedAlready recognises MarkCounted of a lease as seen in the lease as it
// is: nothing else makes the one of the other.
func markedAlready(seen, now store.Lease) bool {
	return now.Closed && now.Version == seen.Version+1 && now.Fence == seen.Fence &&
		bytes.Equal(now.Progress.Settled, seen.Progress.Settled) && bytes.Equal(now.Progress.Counted, now.Progress.Settled)
}
