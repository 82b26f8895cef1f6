package engine

import (
	"context"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// batch is what one checkpoint makes durable.
type batch struct {
	size     int       // of the chunk
	began    time.Time // of its recording; monotonic
	rows     []campaign.Delivery
	deferred []campaign.Deferred
	// Of an at-most-once campaign: the intents as they are then, those that
	// are new among them, and those that leave.
	intents campaign.Bitmap
	fresh   []int
	left    []int
	// last: there is nothing behind it, as far as the chunk's holder knows.
	last bool
}

// checkpoint makes the batch's write upon the lease as it is now. A recipient
// whom an Absorb has settled meanwhile was sent to, and stays sent.
func (b *batch) checkpoint(held store.Lease) store.Checkpoint {
	p := held.Progress.Clone()
	if p.Settled == nil {
		p.Settled = campaign.NewBitmap(b.size)
	}
	open := func(index int) bool { return !held.Progress.Settled.Has(index) }
	var cp store.Checkpoint
	for i := range b.rows {
		if open(b.rows[i].Index) {
			cp.Deliveries = append(cp.Deliveries, b.rows[i])
			p.Settled.Add(b.rows[i].Index)
		}
	}
	p.Deferred = nil
	for _, d := range b.deferred {
		if open(d.Index) {
			p.Deferred = append(p.Deferred, d)
		}
	}
	p.Intents = slices.Clone(b.intents)
	for i := range b.size {
		if !open(i) {
			p.Intents.Remove(i)
		}
	}
	cp.Progress = p
	cp.Finish = b.last && p.Settled.Len() == b.size
	return cp
}

// save hands the next batch to the store when it is full or old enough, when
// there is nothing more to wait for, or when all wait for room in the window
// and nothing else makes any.
func (c *chunk) save(blocked bool) {
	if c.saving != nil {
		return
	}
	declaring := c.intents != nil && c.feeding.Err() == nil && c.intents.mayDeclare()
	if len(c.unsaved) == 0 && !c.moved && !declaring {
		return
	}
	old := len(c.unsaved) > 0 && time.Since(c.oldest) >= c.e.recorder.patience()
	alone := blocked && !c.e.recorder.busy()
	if !alone && !old && !declaring && len(c.unsaved) < store.MaxCheckpoint && !c.quiet() {
		return
	}
	b := c.batch(declaring)
	c.saving = b
	c.countWaiting()
	b.began = c.e.recorder.begin()
	go func() {
		err := c.hold.write(c.e.working, func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return c.e.store.Checkpoint(ctx, held, b.checkpoint(held))
		})
		c.e.metrics.checkpoints.Observe(time.Since(b.began).Seconds())
		c.saved <- err
	}()
}

// quiet says whether no outcome is to be expected before the next batch.
func (c *chunk) quiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ready) == 0 && c.inFlight == 0 && len(c.outcomes) == 0
}

// batch takes the next batch out of what waits to be recorded.
func (c *chunk) batch(declaring bool) *batch {
	n := min(len(c.unsaved), store.MaxCheckpoint)
	b := &batch{size: len(c.audience.Recipients), rows: slices.Clone(c.unsaved[:n]), deferred: sortedDeferred(c.deferred)}
	c.unsaved = append(c.unsaved[:0], c.unsaved[n:]...)
	c.oldest = time.Now()
	c.moved = false
	b.last = len(c.unsaved)+len(b.deferred) == 0 && c.quiet()
	if c.intents == nil {
		return b
	}
	// A recipient whose result is not in the batch yet keeps its intent.
	for i := range c.unsaved {
		c.intents.keep(c.unsaved[i].Index)
		c.moved = true
	}
	if declaring {
		b.fresh = c.intents.declare()
	}
	b.left, b.intents = c.intents.split(b.size)
	for i := range c.unsaved {
		c.intents.drop(c.unsaved[i].Index)
	}
	return b
}

func sortedDeferred(m map[int]campaign.Deferred) []campaign.Deferred {
	all := make([]campaign.Deferred, 0, len(m))
	for _, d := range m {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b campaign.Deferred) int { return a.Index - b.Index })
	return all
}

// recorded goes on after a batch has been stored.
func (c *chunk) recorded() {
	b := c.saving
	c.saving = nil
	c.e.window.done(countSent(b.rows))
	c.e.recorder.end(b.began)
	c.e.metrics.recorded(c.run, b.rows)
	before := c.progress.Settled
	c.progress = c.hold.current().Progress
	c.dropAbsorbed(before, b.rows)
	if c.intents != nil {
		c.intents.window.done(len(b.left))
		c.release(slices.DeleteFunc(b.fresh, c.progress.Settled.Has))
	}
}

// release makes recipients ready whose intents are durable now.
func (c *chunk) release(fresh []int) {
	if len(fresh) == 0 {
		return
	}
	if c.feeding.Err() != nil {
		c.intents.drop(fresh...)
		c.moved = true
		return
	}
	c.mu.Lock()
	c.ready = append(fresh, c.ready...)
	c.mu.Unlock()
	c.run.group.Wake()
}

// dropAbsorbed forgets the recipients that an Absorb has settled: an earlier
// holder has sent to them.
func (c *chunk) dropAbsorbed(before campaign.Bitmap, rows []campaign.Delivery) {
	after := c.progress.Settled
	if after.Len() <= before.Len()+len(rows) && !anySettled(before, rows) {
		return
	}
	own := campaign.NewBitmap(len(c.audience.Recipients))
	for i := range rows {
		own.Add(rows[i].Index)
	}
	absorbed := func(i int) bool { return after.Has(i) && !before.Has(i) && !own.Has(i) }
	c.mu.Lock()
	c.ready = slices.DeleteFunc(c.ready, absorbed)
	c.mu.Unlock()
	for i := range c.audience.Recipients {
		if absorbed(i) {
			delete(c.deferred, i)
			c.leave(i)
		}
	}
	if c.intents != nil {
		c.intents.proposed = slices.DeleteFunc(c.intents.proposed, absorbed)
	}
}

func anySettled(before campaign.Bitmap, rows []campaign.Delivery) bool {
	return slices.ContainsFunc(rows, func(d campaign.Delivery) bool { return before.Has(d.Index) })
}

// abandon lets go of a chunk whose results cannot be recorded under its lease
// any more: the lease is lost, or the stop time-out has cut the store off.
// What a relay has acknowledged is recorded all the same, by Absorb; the rest
// is found out again by whoever holds the lease now.
func (c *chunk) abandon() {
	late := acknowledged(c.saving.rows)
	if c.intents != nil {
		c.intents.window.done(len(c.saving.left))
	}
	c.saving = nil
	for {
		c.collect()
		late = append(late, acknowledged(c.unsaved)...)
		c.unsaved = c.unsaved[:0]
		c.e.absorb(c.hold.current().Key, late)
		late = nil
		c.mu.Lock()
		done := c.inFlight == 0 && len(c.outcomes) == 0
		c.mu.Unlock()
		if done {
			return
		}
		<-c.signal
	}
}

// absorb records what relays have acknowledged under a lease that is lost, in
// the background and for as long as it takes.
func (e *Engine) absorb(key store.LeaseKey, sent []campaign.Delivery) {
	if len(sent) == 0 {
		return
	}
	e.background.Go(func() {
		for rows := range slices.Chunk(sent, store.MaxCheckpoint) {
			err := e.untilDone(e.working, func(ctx context.Context) error { return e.store.Absorb(ctx, key, rows) })
			e.window.done(len(rows))
			log := e.log.With().Str("campaign", key.CampaignID).Int("chunk", key.Number).Int("messages", len(rows)).Logger()
			if err != nil {
				log.Warn().Err(err).Msg("a chunk's lease was lost, and messages that were acknowledged could not be recorded; they will be sent again")
				continue
			}
			log.Info().Msg("a chunk's lease was lost; messages that were acknowledged under it are recorded")
		}
		e.settleLate(key)
	})
}

func acknowledged(ds []campaign.Delivery) (sent []campaign.Delivery) {
	for i := range ds {
		if ds[i].State == campaign.DeliverySent {
			sent = append(sent, ds[i])
		}
	}
	return sent
}

func countSent(ds []campaign.Delivery) int { return len(acknowledged(ds)) }
