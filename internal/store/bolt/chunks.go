package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"time"

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
		apply: func(t *tx, l *store.Lease) error {
			l.Freeze.Cursor = cursor
			l.Freeze.Chunks++
			key := store.LeaseKey{CampaignID: l.Key.CampaignID, Number: l.Freeze.Chunks}
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
		apply: func(t *tx, l *store.Lease) error {
			l.Freeze.Final = true
			return t.count(l.Key.CampaignID, func(totals *campaign.Totals) { totals.Final = true })
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
	if len(cp.Deliveries) > store.MaxCheckpoint {
		return store.Lease{}, campaign.Errorf(campaign.CodeInternal,
			"a checkpoint of %d deliveries is above the limit of %d", len(cp.Deliveries), store.MaxCheckpoint)
	}
	// Encoded here, by the caller, not by the one committer.
	rows := encodeDeliveries(cp.Deliveries)
	arguments := encoder(slices.Clone(rows))
	arguments.progress(cp.Progress)
	var counted campaign.Totals
	for _, d := range cp.Deliveries {
		counted.Count(d.State, 1)
	}
	return s.writeHeld(ctx, held, heldWrite{
		token: tokenOf("Checkpoint", arguments),
		apply: func(t *tx, l *store.Lease) error {
			l.Progress = cp.Progress
			if len(cp.Deliveries) == 0 {
				return nil
			}
			if err := t.count(l.Key.CampaignID, func(totals *campaign.Totals) { add(totals, counted) }); err != nil {
				return err
			}
			return t.put(deliveriesBucket, deliveriesKey(l.Key, l.Version), rows)
		},
	})
}

// add adds what a checkpoint has counted.
func add(totals *campaign.Totals, counted campaign.Totals) {
	totals.Sent += counted.Sent
	totals.Failed += counted.Failed
	totals.Unknown += counted.Unknown
	totals.Suppressed += counted.Suppressed
}

// FinishChunk implements store.Work, statistics included, in one transaction.
func (s *Store) FinishChunk(ctx context.Context, held store.Lease, sent store.Sent) (store.Lease, error) {
	e := newEncoder(32 * len(sent.Keys))
	e.time(sent.At)
	for _, key := range sent.Keys {
		e.string(key)
	}
	return s.writeHeld(ctx, held, heldWrite{
		token: tokenOf("FinishChunk", e),
		apply: func(t *tx, l *store.Lease) error {
			closeLease(l)
			if err := t.applySent(l.Key.CampaignID, sent); err != nil {
				return err
			}
			return t.count(l.Key.CampaignID, func(totals *campaign.Totals) { totals.ChunksDone++ })
		},
	})
}

func (t *tx) applySent(id string, sent store.Sent) error {
	for _, key := range sent.Keys {
		value := t.get(contactsBucket, []byte(key))
		if value == nil {
			continue
		}
		counted, changed, err := countSent([]byte(key), value, id, sent.At)
		if err != nil {
			return err
		}
		if !changed {
			continue
		}
		if err := t.put(contactsBucket, []byte(key), counted); err != nil {
			return err
		}
	}
	return nil
}

// Deliveries implements store.Work.
func (s *Store) Deliveries(ctx context.Context, key store.LeaseKey) ([]campaign.Delivery, error) {
	byIndex := map[int]campaign.Delivery{}
	err := s.view(ctx, func(t *tx) error {
		prefix := leaseKey(key)
		c := t.cursor(deliveriesBucket)
		for k, value := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, value = c.Next() {
			if err := decodeDeliveries(value, byIndex); err != nil {
				return damaged(deliveriesBucket, k, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]campaign.Delivery, 0, len(byIndex))
	for _, d := range byIndex {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b campaign.Delivery) int { return a.Index - b.Index })
	return out, nil
}

// deliveriesKey is the chunk's key and the version of its lease that the
// checkpoint made.
func deliveriesKey(key store.LeaseKey, version int64) []byte {
	return binary.BigEndian.AppendUint64(leaseKey(key), uint64(version))
}

func encodeDeliveries(rows []campaign.Delivery) []byte {
	e := newEncoder(192 * len(rows))
	e.count(len(rows))
	for i := range rows {
		d := &rows[i]
		e.count(d.Index)
		e.string(d.Address)
		e.string(string(d.State))
		e.count(d.Attempts)
		e.string(d.Reply)
		e.string(d.MessageID)
		e.time(d.UpdatedAt)
		e.time(d.NextAttempt)
	}
	return e
}

// decodeDeliveries puts a value's rows in the place of earlier ones.
func decodeDeliveries(value []byte, into map[int]campaign.Delivery) error {
	d := newDecoder(value)
	for range d.count() {
		row := campaign.Delivery{
			Index: d.number(), Address: d.string(), State: campaign.DeliveryState(d.string()),
			Attempts: d.number(), Reply: d.string(), MessageID: d.string(),
			UpdatedAt: d.time(), NextAttempt: d.time(),
		}
		into[row.Index] = row
	}
	return d.done()
}

// Totals implements store.Campaigns.
func (s *Store) Totals(ctx context.Context, campaignID string) (campaign.Totals, error) {
	var out campaign.Totals
	err := s.view(ctx, func(t *tx) (err error) {
		out, err = t.totals(campaignID)
		return err
	})
	return out, err
}

// count changes a campaign's totals. Their time is this machine's: a call
// does not bring one.
func (t *tx) count(id string, change func(*campaign.Totals)) error {
	totals, err := t.totals(id)
	if err != nil {
		return err
	}
	change(&totals)
	e := newEncoder(64)
	for _, n := range []int64{totals.Total, totals.Sent, totals.Failed, totals.Unknown, totals.Suppressed, totals.Chunks, totals.ChunksDone} {
		e.int(n)
	}
	e.bool(totals.Final)
	e.time(time.Now())
	return t.put(totalsBucket, []byte(id), e)
}

func (t *tx) totals(id string) (campaign.Totals, error) {
	value := t.get(totalsBucket, []byte(id))
	if value == nil {
		return campaign.Totals{}, nil
	}
	d := newDecoder(value)
	totals := campaign.Totals{
		Total: d.int(), Sent: d.int(), Failed: d.int(), Unknown: d.int(), Suppressed: d.int(),
		Chunks: d.int(), ChunksDone: d.int(), Final: d.bool(), UpdatedAt: d.time(),
	}
	if err := d.done(); err != nil {
		return campaign.Totals{}, damaged(totalsBucket, []byte(id), err)
	}
	return totals, nil
}
