package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"

	"postern/internal/store"
)

// DueLeases implements store.Work. Each answer goes on in the index where the
// last one ended and begins anew at its end, so held leases, which stay due,
// keep no place from the others.
func (s *Store) DueLeases(ctx context.Context, now time.Time, limit int) ([]store.LeaseKey, error) {
	s.dueMu.Lock()
	defer s.dueMu.Unlock()
	var raw [][]byte
	err := s.view(ctx, func(t *tx) error {
		end := timeKey(now.Add(time.Millisecond), nil)
		raw = dueBetween(t.cursor(dueBucket), dueRange{after: s.dueAfter, end: end}, limit)
		if upTo := s.dueAfter; len(raw) < limit && upTo != nil {
			// An octet behind a key lies between it and the next.
			wrapped := dueRange{end: minKey(end, append(bytes.Clone(upTo), 0))}
			raw = append(raw, dueBetween(t.cursor(dueBucket), wrapped, limit-len(raw))...)
		}
		return nil
	})
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	s.dueAfter = raw[len(raw)-1]
	out := make([]store.LeaseKey, len(raw))
	for i, key := range raw {
		if out[i], err = parseDueKey(key); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// dueRange is the keys of the index behind after and before end.
type dueRange struct{ after, end []byte }

func dueBetween(c *bbolt.Cursor, r dueRange, limit int) [][]byte {
	var out [][]byte
	key, _ := c.Seek(r.after)
	if r.after != nil && bytes.Equal(key, r.after) {
		key, _ = c.Next()
	}
	for ; key != nil && bytes.Compare(key, r.end) < 0 && len(out) < limit; key, _ = c.Next() {
		out = append(out, bytes.Clone(key))
	}
	return out
}

func minKey(a, b []byte) []byte {
	if bytes.Compare(a, b) < 0 {
		return a
	}
	return b
}

func parseDueKey(key []byte) (store.LeaseKey, error) {
	if len(key) < timeKeySize+numberSize {
		return store.LeaseKey{}, damaged(dueBucket, key, errValue)
	}
	number := len(key) - numberSize
	return store.LeaseKey{
		CampaignID: string(key[timeKeySize:number]),
		Number:     int(binary.BigEndian.Uint32(key[number:])),
	}, nil
}
