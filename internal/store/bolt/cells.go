package bolt

import (
	"bytes"
	"context"

	"postern/internal/campaign"
	"postern/internal/store"
)

// GetCell implements store.Cells.
func (s *Store) GetCell(ctx context.Context, key string) (store.Cell, error) {
	var out store.Cell
	err := s.view(ctx, func(t *tx) (err error) {
		out, err = t.cell(key)
		return err
	})
	return out, err
}

// SwapCell implements store.Cells.
func (s *Store) SwapCell(ctx context.Context, key string, seen store.Cell, value []byte) (store.Cell, error) {
	if len(value) > store.MaxCellOctets {
		return store.Cell{}, campaign.Errorf(campaign.CodeInternal, "a cell of %d octets is above the limit of %d", len(value), store.MaxCellOctets)
	}
	next := store.Cell{Version: seen.Version + 1, Value: bytes.Clone(value)}
	err := s.update(ctx, func(t *tx) error {
		now, err := t.cell(key)
		if err != nil {
			return err
		}
		if now.Version == next.Version && bytes.Equal(now.Value, value) {
			return nil
		}
		if now.Version != seen.Version {
			return campaign.Errorf(campaign.CodeConflict, "cell %q was changed meanwhile", key)
		}
		e := newEncoder(16 + len(value))
		e.int(next.Version)
		e.bytes(value)
		return t.put(cellsBucket, []byte(key), e)
	})
	if err != nil {
		return store.Cell{}, err
	}
	return next, nil
}

func (t *tx) cell(key string) (store.Cell, error) {
	value := t.get(cellsBucket, []byte(key))
	if value == nil {
		return store.Cell{}, nil
	}
	d := newDecoder(value)
	c := store.Cell{Version: d.int(), Value: d.bytes()}
	if err := d.done(); err != nil {
		return store.Cell{}, damaged(cellsBucket, []byte(key), err)
	}
	return c, nil
}
