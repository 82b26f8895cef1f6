package engine

import "sync"

// window bounds the messages that the relays have acknowledged and the store
// has not yet recorded: a crash repeats them. What is in flight on a
// connection when the window fills may still be acknowledged.
type window struct {
	limit int

	mu    sync.Mutex
	count int
	freed chan struct{} // closed when count falls below limit
}

func newWindow(limit int) *window { return &window{limit: limit, freed: make(chan struct{})} }

// add counts an acknowledged message.
func (w *window) add() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
}

// done takes n recorded messages, or ones given up with their lease, out.
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

// room gives nil when another message may be sent, else a channel that is
// closed when that changes.
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
