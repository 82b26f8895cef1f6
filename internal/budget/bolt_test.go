package budget

import (
	"testing"
	"time"

	"postern/internal/store/bolt"
)

// TestOnTheEmbeddedStore: two tasks in one process, on a real store and a real
// clock.
func TestOnTheEmbeddedStore(t *testing.T) {
	t.Parallel()
	cells, err := bolt.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer cells.Close()
	cfg := Config{LeaseTime: 5 * time.Second}
	caps := Caps{Connections: 4, Rate: 200, Daily: 100_000}
	r := &relay{}
	a, b := newSite(cells, caps, cfg), newSite(cells, caps, cfg)
	a.employ(4, r)
	eventually(t, time.Minute, "all for one", func() bool { return a.good() == 4 })
	b.employ(4, r)
	eventually(t, time.Minute, "halves", func() bool { return a.good() == 2 && b.good() == 2 })
	a.die()
	eventually(t, time.Minute, "all for the other", func() bool { return b.good() == 4 })
	b.leave(t.Context())

	cell, err := cells.GetCell(t.Context(), account.key())
	if err != nil {
		t.Fatal(err)
	}
	last, err := readBook(cell)
	if err != nil || len(last.Tasks) != 0 || last.Day.sum() < r.total() {
		t.Errorf("%d messages were sent; the book says %+v, %v", r.total(), last, err)
	}
	if r.peak() > 4 {
		t.Errorf("%d connections at the same time", r.peak())
	}
}
