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
// last one ended, for held leases and for free ones apart, and begins anew at
// the end. Places that the one kind leaves go to the other.
func (s *Store) DueLeases(ctx context.Context, now time.Time, limit int) ([]store.LeaseKey, error) {
	s.dueMu.Lock()
	defer s.dueMu.Unlock()
	var held, free [][]byte
	err := s.view(ctx, func(t *tx) error {
		border, end := timeKey(store.HeldDue.Add(time.Millisecond), nil), timeKey(now.Add(time.Millisecond), nil)
		c := t.cursor(dueBucket)
		free = dueRange{begin: border, end: end}.inTurn(c, s.freeAfter, limit)
		held = dueRange{end: border}.inTurn(c, s.heldAfter, max(limit*3/4, limit-len(free)))
		free = free[:min(len(free), limit-len(held))]
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.heldAfter, s.freeAfter = lastOf(held, s.heldAfter), lastOf(free, s.freeAfter)
	return parseDueKeys(append(held, free...))
}

func lastOf(keys [][]byte, otherwise []byte) []byte {
	if len(keys) == 0 {
		return otherwise
	}
	return keys[len(keys)-1]
}

// dueRange is the keys of the index from begin to before end.
type dueRange struct{ begin, end []byte }

// inTurn gives up to limit keys: those behind after, then those up to it.
func (r dueRange) inTurn(c *bbolt.Cursor, after []byte, limit int) [][]byte {
	if bytes.Compare(after, r.begin) < 0 {
		return r.first(c, limit)
	}
	// An octet behind a key lies between it and the next.
	turn := minKey(r.end, append(bytes.Clone(after), 0))
	out := dueRange{begin: turn, end: r.end}.first(c, limit)
	return append(out, dueRange{begin: r.begin, end: turn}.first(c, limit-len(out))...)
}

func (r dueRange) first(c *bbolt.Cursor, limit int) [][]byte {
	var out [][]byte
	for key, _ := c.Seek(r.begin); key != nil && bytes.Compare(key, r.end) < 0 && len(out) < limit; key, _ = c.Next() {
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

func parseDueKeys(keys [][]byte) ([]store.LeaseKey, error) {
	out := make([]store.LeaseKey, len(keys))
	for i, key := range keys {
		if len(key) < timeKeySize+numberSize {
			return nil, damaged(dueBucket, key, errValue)
		}
		number := len(key) - numberSize
		out[i] = store.LeaseKey{
			CampaignID: string(key[timeKeySize:number]),
			Number:     int(binary.BigEndian.Uint32(key[number:])),
		}
	}
	return out, nil
}
