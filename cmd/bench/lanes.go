package main

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"postern/internal/budget"
	"postern/internal/campaign"
	"postern/internal/lane"
	"postern/internal/store"
)

// sources is how many chunks of a campaign the engine has at work.
const sources = 4

// throughLane sends as the engine does, rendering and digest included, with
// nothing recorded.
func (m *mailing) throughLane(ctx context.Context) (int, error) {
	relay, options, err := m.relay()
	if err != nil {
		return 0, err
	}
	l := lane.NewLanes(ctx, lane.Config{
		Session: options, Caps: budget.Caps{Connections: m.Connections}, Log: zerolog.Nop(),
		Budgets: budget.New(&cells{byKey: map[string]store.Cell{}}, budget.Config{Exclusive: true, Log: zerolog.Nop()}),
	}).Open(relay)
	defer l.Close()
	group := l.Join("bench")
	defer group.Leave()
	m.begin()
	var taps [sources]*tap
	for i := range taps {
		taps[i] = &tap{mailing: m, dry: make(chan struct{})}
		group.Attach(taps[i]) // until the group leaves
	}
	sent := 0
	for _, t := range taps {
		<-t.dry
		if t.fault != nil {
			return 0, t.fault
		}
		sent += t.sent
	}
	return sent, nil
}

// tap is a source that gives jobs until the mailing's time is over.
type tap struct {
	*mailing
	dry chan struct{} // closed when there are no more jobs and none is under way

	mu       sync.Mutex
	underWay int
	over     bool
	sent     int
	fault    error
}

// Ready implements lane.Source.
func (t *tap) Ready() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.over
}

// Take implements lane.Source.
func (t *tap) Take() (lane.Job, bool) {
	r, ok := t.take()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok {
		t.end()
		return lane.Job{}, false
	}
	t.underWay++
	return lane.Job{Recipient: *r, Letter: t.letter, From: sender, MessageID: messageID(r)}, true
}

// Done implements lane.Source.
func (t *tap) Done(o lane.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.underWay--
	switch {
	case o.Err == nil:
		t.sent++
	case !errors.Is(o.Err, lane.ErrNotStarted):
		t.fault = o.Err
		t.over = true
	}
	if t.over && t.underWay == 0 {
		t.close()
	}
}

// end is called with the lock held.
func (t *tap) end() {
	t.over = true
	if t.underWay == 0 {
		t.close()
	}
}

func (t *tap) close() {
	select {
	case <-t.dry:
	default:
		close(t.dry)
	}
}

// cells keeps the relay's budget in memory, for the one task that there is.
type cells struct {
	mu    sync.Mutex
	byKey map[string]store.Cell
}

// GetCell implements store.Cells.
func (c *cells) GetCell(_ context.Context, key string) (store.Cell, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byKey[key], nil
}

// SwapCell implements store.Cells.
func (c *cells) SwapCell(_ context.Context, key string, seen store.Cell, value []byte) (store.Cell, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[key].Version != seen.Version {
		return store.Cell{}, campaign.Errorf(campaign.CodeConflict, "the cell has changed")
	}
	now := store.Cell{Version: seen.Version + 1, Value: slices.Clone(value)}
	c.byKey[key] = now
	return now, nil
}
