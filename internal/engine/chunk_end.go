package engine

import (
	"context"
	"errors"
	"time"
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

// finish closes a chunk all of whose recipients are settled, where the last
// batch has not done so.
func (c *chunk) finish() {
	if c.hold.current().Closed || c.e.lastWrite(c.hold, c.e.store.FinishChunk) {
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

func (c *chunk) giveBack(dueAt time.Time) { c.e.releaseLease(c.hold, dueAt) }
