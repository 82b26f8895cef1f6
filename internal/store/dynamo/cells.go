package dynamo

import (
	"bytes"
	"context"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Attributes of a cell.
const (
	cellVersion = "v"
	cellValue   = "b"
)

func cellKey(key string) item { return workKey("cell#"+key, "cell") }

func cellOf(it item) store.Cell {
	return store.Cell{Version: integer(it[cellVersion]), Value: octets(it[cellValue])}
}

// GetCell implements store.Cells.
func (s *Store) GetCell(ctx context.Context, key string) (store.Cell, error) {
	it, _, err := s.getItem(ctx, s.work, cellKey(key))
	return cellOf(it), err
}

// SwapCell implements store.Cells with one write. Where the version has moved
// on by one and the value is this call's, an attempt of it whose answer was
// lost has made it so.
func (s *Store) SwapCell(ctx context.Context, key string, seen store.Cell, value []byte) (store.Cell, error) {
	u := newUpdate()
	if seen.Version == 0 {
		u.require("attribute_not_exists(%s)", cellVersion)
	} else {
		u.require("%s=%s", cellVersion, num(seen.Version))
	}
	then := store.Cell{Version: seen.Version + 1, Value: value}
	it := cellKey(key)
	it[cellVersion], it[cellValue] = num(then.Version), bin(value)
	_, err := s.db.PutItem(ctx, u.put(s.work, it))
	if old, failed := conditionFailed(err); failed {
		now := cellOf(old)
		if now.Version != then.Version || !bytes.Equal(now.Value, value) {
			return store.Cell{}, campaign.Errorf(campaign.CodeConflict, "cell %s was changed meanwhile", key)
		}
		return now, nil
	}
	if err != nil {
		return store.Cell{}, call{opPut, s.work}.fail(ctx, err)
	}
	return then, nil
}
