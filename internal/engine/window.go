package engine

import "sync"

// window counts what a crash may repeat or leave in doubt, and bounds it:
// messages on their way, or acknowledged and not yet recorded; or the intents
// of at-most-once campaigns.
type window struct {
	limit int

	mu    sync.Mutex
	count int
	freed chan struct{} // closed when count falls below limit
}

func newWindow(limit int) *window { return &window{limit: limit, freed: make(chan struct{})} }

// add counts one more, whether there is room or not: an intent that is
// durable already.
func (w *window) add() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
}

// take counts up to n more, as far as there is room, and says how many.
func (w *window) take(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = max(min(n, w.limit-w.count), 0)
	w.count += n
	return n
}

// left is how much room there is.
func (w *window) left() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(w.limit-w.count, 0)
}

// done takes n out.
func (w *window) done(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	full := w.count >= w.limit
	w.count -= n
	if full && w.count < w.limit {
		close(w.freed)
		w.freed = make(chan struct{})
	}
}

// room gives nil when there is room, else a channel that is closed when that
// changes.
func (w *window) room() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count < w.limit {
		return nil
	}
	return w.freed
}

// size is the count as a metric.
func (w *window) size() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return float64(w.count)
}
