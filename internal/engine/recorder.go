package engine

import (
	"sync/atomic"
	"time"

	"postern/internal/store"
)

// batchesAhead is for how many batches of others a result waits while the store
// is busy: a chunk has its turn again behind those of the campaign's others.
const batchesAhead = chunksPerCampaign

// recorder is what the task's chunks have to know of each other, so that
// batches are full when the store is what they wait for: each transaction has
// its price, however few results it records.
type recorder struct {
	// turn is how many results a chunk gathers before it is another chunk's
	// turn: a full batch, or a third of a larger window, lest one chunk alone
	// leave connections without work.
	turn int

	underWay atomic.Int64
	took     atomic.Int64 // nanoseconds, of the last batch
}

func newRecorder(window int) *recorder { return &recorder{turn: max(store.MaxCheckpoint, window/3)} }

// begin notes that a batch is on its way to the store.
func (r *recorder) begin() time.Time {
	r.underWay.Add(1)
	return time.Now()
}

// end notes that it is recorded, or cannot be.
func (r *recorder) end(began time.Time) {
	r.took.Store(int64(time.Since(began)))
	r.underWay.Add(-1)
}

// busy says whether a batch is on its way, whose end makes room in the window.
func (r *recorder) busy() bool { return r.underWay.Load() > 0 }

// patience is how long a result waits for others to be recorded with: longer
// while a slow store is busy, which would be slower still with more to do.
func (r *recorder) patience() time.Duration {
	if !r.busy() {
		return flushAfter
	}
	return min(max(flushAfter, batchesAhead*time.Duration(r.took.Load())), flushMost)
}
