package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/internal/store"
)

// end gives the lease back: closed where nothing is left, shelved where the
// campaign is not to be worked on, due again when the first deferred recipient
// is.
func (c *chunk) end() {
	switch {
	case errors.Is(context.Cause(c.feeding), errLeaseLost) || c.e.working.Err() != nil:
		return
	case c.progress.Settled.Len() == len(c.audience.Recipients):
		c.finish()
	case c.run.isOver():
		c.e.shelve(c.hold)
	case errors.Is(context.Cause(c.feeding), errParked):
		c.giveBack(c.e.cfg.Now().Add(c.parkedFor))
	case c.e.feeding.Err() != nil, errors.Is(context.Cause(c.feeding), errYielded), len(c.deferred) == 0:
		c.giveBack(dueNow)
	default:
		due := c.firstDue()
		c.e.releaseFor(c.hold, due, due.Sub(c.e.cfg.Now())-c.ahead)
	}
}

// countAtOnce is how many contacts are counted in one call: what is repeated
// when the store has not answered for all of them.
const countAtOnce = 100

// finish closes a chunk all of whose recipients are settled.
func (c *chunk) finish() {
	if err := c.countSent(); err != nil {
		c.e.giveUpHeld(c.hold, err)
		return
	}
	if c.e.lastWrite(c.hold, c.e.store.FinishChunk) {
		c.e.completeIfDone(c.run.campaign.ID)
	}
}

// countSent counts the chunk's messages with their contacts, however long the
// store takes: it is no write under the lease, so the lease is renewed
// meanwhile. Once the lease is lost this is its new holder's to do.
func (c *chunk) countSent() error {
	slices.Sort(c.sent)
	sent := store.Sent{At: c.e.cfg.Now()}
	for sent.Keys = range slices.Chunk(slices.Compact(c.sent), countAtOnce) {
		err := c.e.untilDone(c.e.working, func(ctx context.Context) error {
			if c.hold.deadline.Load().IsZero() {
				return errLeaseLost
			}
			return c.e.store.CountSent(ctx, c.run.campaign.ID, sent)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// firstDue is when the first deferred recipient may be tried again.
func (c *chunk) firstDue() time.Time {
	var first time.Time
	for _, d := range c.deferred {
		if first.IsZero() || d.Next.Before(first) {
			first = d.Next
		}
	}
	return first
}

func (c *chunk) giveBack(dueAt time.Time) { c.e.releaseLease(c.hold, dueAt) }
