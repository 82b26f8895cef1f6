package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Deliveries implements store.Work.
func (s *Store) Deliveries(ctx context.Context, key store.LeaseKey) ([]campaign.Delivery, error) {
	var byIndex map[int]campaign.Delivery
	err := s.view(ctx, func(t *tx) (err error) {
		byIndex, err = t.rows(key)
		return err
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

// rows gives the stored deliveries of a chunk by their indexes.
func (t *tx) rows(key store.LeaseKey) (map[int]campaign.Delivery, error) {
	byIndex := map[int]campaign.Delivery{}
	prefix := leaseKey(key)
	c := t.cursor(deliveriesBucket)
	for k, value := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, value = c.Next() {
		if err := decodeDeliveries(value, byIndex); err != nil {
			return nil, damaged(deliveriesBucket, k, err)
		}
	}
	return byIndex, nil
}

// deliveriesKey is the chunk's key and the version of its lease that the write
// made.
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
		e.bytes(d.Digest)
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
			Digest: d.bytes(), UpdatedAt: d.time(), NextAttempt: d.time(),
		}
		into[row.Index] = row
	}
	return d.done()
}
