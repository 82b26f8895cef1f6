package store

import "context"

// Cell is a small value that tasks share, such as how a relay's budget is
// split among them.
type Cell struct {
	// Version is 0 when there is no such cell, and rises by one at each write.
	Version int64
	Value   []byte
}

// MaxCellOctets bounds a cell's value.
const MaxCellOctets = 64 << 10

// Cells keeps small values that are replaced as a whole.
type Cells interface {
	// GetCell gives a cell, the zero Cell where there is none.
	GetCell(ctx context.Context, key string) (Cell, error)
	// SwapCell replaces the cell's value if its version is still the seen
	// one's (0 makes it), and gives the cell as it is then. CodeConflict when
	// the cell was changed meanwhile. A repeated call whose first answer was
	// lost is recognised by the value, so callers put something into each
	// value that makes it differ from all others'.
	SwapCell(ctx context.Context, key string, seen Cell, value []byte) (Cell, error)
}
