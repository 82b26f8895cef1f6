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
		c.release(c.e.cfg.Now().Add(c.parkedFor))
	case c.e.feeding.Err() != nil || len(c.deferred) == 0:
		c.release(dueNow)
	default:
		c.release(c.firstDue())
	}
}

func (c *chunk) finish() {
	slices.Sort(c.sent)
	sent := store.Sent{Keys: slices.Compact(c.sent), At: c.e.cfg.Now()}
	ok := c.e.lastWrite(c.hold, func(ctx context.Context, held store.Lease) (store.Lease, error) {
		return c.e.store.FinishChunk(ctx, held, sent)
	})
	if ok {
		c.e.completeIfDone(c.run.campaign.ID)
	}
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

func (c *chunk) release(dueAt time.Time) { c.e.releaseLease(c.hold, dueAt) }
