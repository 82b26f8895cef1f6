package budget

import (
	"bytes"
	"context"
	"sync"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// memory is store.Cells in memory.
type memory struct {
	mu          sync.Mutex
	cells       map[string]store.Cell
	gets, swaps int
}

func newMemory() *memory { return &memory{cells: map[string]store.Cell{}} }

func (m *memory) GetCell(_ context.Context, key string) (store.Cell, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	return m.cells[key], nil
}

func (m *memory) SwapCell(_ context.Context, key string, seen store.Cell, value []byte) (store.Cell, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.swaps++
	now := m.cells[key]
	if now.Version == seen.Version+1 && bytes.Equal(now.Value, value) {
		return now, nil
	}
	if now.Version != seen.Version {
		return store.Cell{}, campaign.Errorf(campaign.CodeConflict, "the cell was changed")
	}
	m.cells[key] = store.Cell{Version: seen.Version + 1, Value: value}
	return m.cells[key], nil
}

// calls is how many there were since the last time that it was asked.
func (m *memory) calls() (gets, swaps int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gets, swaps = m.gets, m.swaps
	m.gets, m.swaps = 0, 0
	return gets, swaps
}

// read gives the book of an account.
func (m *memory) read(a Account) book {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := readBook(m.cells[a.key()])
	if err != nil {
		panic(err)
	}
	return b
}

// link is one task's way to the store, and what is wrong with it.
type link struct {
	store.Cells

	mu    sync.Mutex
	down  chan struct{} // not nil: calls wait until it is closed or their context ends
	delay func() time.Duration
	lose  func() bool // whether a swap's answer is lost
}

func newLink(cells store.Cells) *link {
	return &link{Cells: cells, delay: func() time.Duration { return 0 }, lose: func() bool { return false }}
}

// cut takes the store away until the call of the returned function.
func (l *link) cut() (mend func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	down := make(chan struct{})
	l.down = down
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.down = nil
		close(down)
	}
}

func (l *link) pass(ctx context.Context) error {
	l.mu.Lock()
	down, delay := l.down, l.delay()
	l.mu.Unlock()
	if down != nil {
		select {
		case <-down:
		case <-ctx.Done():
			return campaign.Wrap(campaign.CodeUnavailable, ctx.Err(), "the store does not answer")
		}
	}
	return sleep(ctx, delay)
}

func (l *link) GetCell(ctx context.Context, key string) (store.Cell, error) {
	if err := l.pass(ctx); err != nil {
		return store.Cell{}, err
	}
	return l.Cells.GetCell(ctx, key)
}

func (l *link) SwapCell(ctx context.Context, key string, seen store.Cell, value []byte) (store.Cell, error) {
	if err := l.pass(ctx); err != nil {
		return store.Cell{}, err
	}
	c, err := l.Cells.SwapCell(ctx, key, seen, value)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.lose() {
		return store.Cell{}, campaign.Errorf(campaign.CodeUnavailable, "the answer was lost")
	}
	return c, err
}
