package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

const (
	// scanLimit is how many due leases the store is asked for, and remembered.
	scanLimit = 2048
	// chunksPerCampaign is how many chunks of one campaign a task holds at
	// once: while one waits for its last replies, others keep the
	// connections busy.
	chunksPerCampaign = 4
	// chunksPerTask bounds the memory for audiences.
	chunksPerTask = 64
	// leastWait is between two looks for work.
	leastWait = 10 * time.Millisecond
)

// dueNow is the due time of work that may be taken up at once. It is long past
// whatever any host's clock says.
var dueNow = time.UnixMilli(1).UTC()

// claims is what the task holds and what it has seen others hold.
type claims struct {
	mu     sync.Mutex
	held   map[store.LeaseKey]*seat
	chunks map[string]int // held chunks by campaign
	total  int            // held chunks
	// perCampaign is how many chunks of one campaign the task may hold now; 0
	// before the first look.
	perCampaign int
	hints       []hint

	// others are the other tasks that work on a campaign, as of the last look.
	others map[string]int

	// These are used by the claiming goroutine only. waiting are leases that
	// are due and have no place here, asked is when the store was last asked
	// for such. watched ends the watching of the budgets of campaigns whose
	// leases others hold.
	waiting []store.LeaseKey
	asked   time.Time // monotonic
	seen    map[store.LeaseKey]sighting
	watched map[string]func()
}

// hint names a lease that may be due, ahead of the store's own list.
type hint struct {
	key store.LeaseKey
	// version, unless 0, is the one at which the lease is due whatever its due
	// time says: this task released it with that version, and its time has
	// passed on the monotonic clock, while the wall clock may have been set
	// back; or its campaign has ended since.
	version int64
}

// seat is where a lease is worked on.
type seat struct {
	// yield asks that the lease be given back soon; nil before it is known.
	yield func()
}

func newClaims() claims {
	return claims{
		held: map[store.LeaseKey]*seat{}, chunks: map[string]int{},
		seen: map[store.LeaseKey]sighting{}, watched: map[string]func(){},
	}
}

// wake makes the claiming goroutine look for work soon, at these leases first:
// the store's own list of due work may lag behind.
func (e *Engine) wake(keys ...store.LeaseKey) {
	hints := make([]hint, len(keys))
	for i, key := range keys {
		hints[i].key = key
	}
	e.wakeTo(hints...)
}

func (e *Engine) wakeTo(hints ...hint) {
	e.claims.mu.Lock()
	e.claims.hints = append(e.claims.hints, hints...)
	e.claims.mu.Unlock()
	select {
	case e.wakeup <- struct{}{}:
	default: // it is going to look anyway
	}
}

// makeRoom has a chunk given back of the campaign of which the task holds most,
// when all places are taken and a campaign has none: it does not wait until
// whole chunks of the others are done.
func (e *Engine) makeRoom(due []store.LeaseKey) {
	c := &e.claims
	c.mu.Lock()
	defer c.mu.Unlock()
	waits := func(k store.LeaseKey) bool {
		_, others := c.seen[k]
		return k.Number > 0 && c.chunks[k.CampaignID] == 0 && !others
	}
	if c.total < chunksPerTask || !slices.ContainsFunc(due, waits) {
		return
	}
	var most *seat
	largest := 1
	for key, p := range c.held {
		if n := c.chunks[key.CampaignID]; key.Number > 0 && p.yield != nil && n > largest {
			most, largest = p, n
		}
	}
	if most != nil {
		most.yield()
		most.yield = nil // once is enough
	}
}

// mayYield says how the lease's holder is asked to give it back.
func (c *claims) mayYield(key store.LeaseKey, yield func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, held := c.held[key]; held {
		p.yield = yield
	}
}

// takeHints takes the hints out but those about leases that are still being
// given back: the round that follows has them.
func (e *Engine) takeHints() (hints []hint) {
	c := &e.claims
	c.mu.Lock()
	defer c.mu.Unlock()
	var later []hint
	for _, h := range c.hints {
		if _, held := c.held[h.key]; held && h.version > 0 {
			later = append(later, h)
		} else {
			hints = append(hints, h)
		}
	}
	c.hints = later
	return hints
}

// holds says whether the task holds the lease.
func (c *claims) holds(key store.LeaseKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, held := c.held[key]
	return held
}

// places is how many chunks of one campaign the task may hold.
func (c *claims) places() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perCampaign == 0 {
		return chunksPerCampaign
	}
	return c.perCampaign
}

// reserve makes room for a lease, or says that there is none or that the task
// holds it. A chunk's campaign may have so many places.
func (e *Engine) reserve(key store.LeaseKey, places int) bool {
	c := &e.claims
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ours := c.held[key]; ours {
		return false
	}
	if key.Number > 0 {
		if c.total >= chunksPerTask || c.chunks[key.CampaignID] >= places {
			return false
		}
		c.total++
		c.chunks[key.CampaignID]++
	}
	c.held[key] = &seat{}
	e.metrics.leases.Set(float64(len(c.held)))
	return true
}

func (e *Engine) unreserve(key store.LeaseKey) {
	c := &e.claims
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.held, key)
	if key.Number > 0 {
		c.total--
		if c.chunks[key.CampaignID]--; c.chunks[key.CampaignID] == 0 {
			delete(c.chunks, key.CampaignID)
		}
	}
	e.metrics.leases.Set(float64(len(c.held)))
}

// claim acquires a reserved lease and starts on it, or says that it is not to
// be had.
func (e *Engine) claim(ctx context.Context, h hint) bool {
	key := h.key
	seen, err := e.store.GetLease(ctx, key)
	if err != nil || !e.claimable(seen, h.version) {
		return false
	}
	asked := time.Now()
	lease, err := e.store.AcquireLease(ctx, seen, e.cfg.Owner)
	if err != nil {
		if ctx.Err() == nil && campaign.CodeOf(err) != campaign.CodeConflict {
			e.log.Warn().Err(err).Str("campaign", key.CampaignID).Int("chunk", key.Number).Msg("a lease could not be acquired")
		}
		return false
	}
	if seen.Owner != "" {
		e.metrics.takeovers.Inc()
		e.log.Info().Str("campaign", key.CampaignID).Int("chunk", key.Number).Str("from", seen.Owner).
			Msg("took over a lease whose owner is gone")
	}
	e.background.Go(func() {
		defer e.wake()
		defer e.unreserve(key)
		if key.Number == 0 {
			e.workControl(lease, asked)
		} else {
			e.workChunk(lease, acquired{asked: asked, due: seen.DueAt})
		}
	})
	return true
}

// claimable says whether a lease is free and due, or its owner is gone. It is
// due at the version in any case.
func (e *Engine) claimable(lease store.Lease, version int64) bool {
	switch {
	case lease.Closed || lease.DueAt.After(e.cfg.Now()) && lease.Version != version:
		return false
	case lease.Owner == "":
		delete(e.claims.seen, lease.Key)
		return true
	case e.cfg.ExclusiveStore && lease.Owner != e.cfg.Owner:
		return true
	}
	return e.ranOut(e.sight(lease))
}
