package bolt

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"postern/internal/campaign"
)

// maxGroup bounds how many writes share a commit, and with it how long the
// first of them waits for the last.
const maxGroup = 256

// committer is the one writer of the file. It takes all writes that wait, runs
// them in one transaction, commits, and answers them; meanwhile the next ones
// gather. So a lone write is committed at once, and under load the writes
// that arrive during a sync share the next. bbolt's own DB.Batch waits for
// company first, which costs a lone writer the delay (with 1 ms a quarter of
// the speed, and without a delay nothing is shared), and runs a transaction
// again for each write that ends in a conflict.
type committer struct {
	db      *bbolt.DB
	path    string
	metrics *metrics
	writes  chan *write
	quit    chan struct{}
	stopped chan struct{}
	once    sync.Once
}

// write is a caller's part of a transaction.
type write struct {
	fn   func(t *tx) error
	err  error
	done chan error
}

func startCommitter(db *bbolt.DB, path string, m *metrics) *committer {
	c := &committer{
		db: db, path: path, metrics: m,
		// Without a buffer a write is either still its caller's, who may give
		// up, or taken and sure of an answer.
		writes:  make(chan *write),
		quit:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	go c.run()
	return c
}

// stop lets the commit under way end and refuses all further writes.
func (c *committer) stop() {
	c.once.Do(func() { close(c.quit) })
	<-c.stopped
}

// do has fn run and committed. A context that ends while the write waits for
// its turn takes it back; after that the answer is near.
func (c *committer) do(ctx context.Context, fn func(t *tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{fn: fn, done: make(chan error, 1)}
	select {
	case c.writes <- w:
		return <-w.done
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopped:
		return campaign.Errorf(campaign.CodeUnavailable, "the store %s is closed", c.path)
	}
}

func (c *committer) run() {
	defer close(c.stopped)
	for {
		select {
		case w := <-c.writes:
			c.commit(c.gather(w))
		case <-c.quit:
			return
		}
	}
}

// gather takes the writes that wait by now.
func (c *committer) gather(first *write) []*write {
	group := []*write{first}
	for len(group) < maxGroup {
		select {
		case w := <-c.writes:
			group = append(group, w)
		default:
			return group
		}
	}
	return group
}

// errUnchanged rolls a transaction back in which nothing was written.
var errUnchanged = errors.New("nothing to commit")

// commit makes a group durable and answers it. A write that fails before it
// has written anything, as conflicts do, leaves the transaction as it was; one
// that fails later is taken out, and the others begin again.
func (c *committer) commit(group []*write) {
	for len(group) > 0 {
		failed, err := c.try(group)
		if failed >= 0 {
			group[failed].done <- diskError(err, c.path)
			group = append(group[:failed:failed], group[failed+1:]...)
			continue
		}
		for _, w := range group {
			if err != nil {
				// What a write saw may be another's that is not there now.
				w.err = err
			}
			w.done <- diskError(w.err, c.path)
		}
		return
	}
}

// try runs a group in one transaction. failed is the index of a write that
// spoiled it, or -1.
func (c *committer) try(group []*write) (failed int, err error) {
	failed = -1
	began := time.Now()
	err = c.db.Update(func(btx *bbolt.Tx) error {
		changed := false
		for i, w := range group {
			t := &tx{bolt: btx}
			w.err = w.fn(t)
			if w.err != nil && t.dirty {
				failed = i
				return w.err
			}
			changed = changed || t.dirty
		}
		if !changed {
			return errUnchanged
		}
		return nil
	})
	switch {
	case errors.Is(err, errUnchanged):
		err = nil
	case err == nil:
		c.metrics.committed(len(group), began)
	}
	return failed, err
}
