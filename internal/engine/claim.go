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
	// scanLimit is how many due leases are looked at in one round.
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

	// These are used by the claiming goroutine only. watched ends the watching
	// of the budgets of campaigns whose leases others hold.
	seen    map[store.LeaseKey]sighting
	watched map[string]func()
}

// hint names a lease that may be due, ahead of the store's own list.
type hint struct {
	key store.LeaseKey
	// released is the version that this task released it with, 0 when it did
	// not: its time has passed then on the monotonic clock, and whatever the
	// wall clock says, which may have been set back, it is due.
	released int64
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

// claimLoop looks for work until the context ends: every PollEvery, when it is
// woken, and when a lease that it watches runs out.
func (e *Engine) claimLoop(ctx context.Context) {
	defer e.watchBudgets(ctx, nil)
	for {
		e.claimRound(ctx)
		timer := time.NewTimer(e.untilNextRound())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-e.wakeup:
			timer.Stop()
		}
	}
}

// untilNextRound is PollEvery, or less where a watched lease runs out before.
func (e *Engine) untilNextRound() time.Duration {
	wait := e.cfg.PollEvery
	for _, s := range e.claims.seen {
		if left := e.cfg.LeaseTime - time.Since(s.since); left > 0 {
			wait = min(wait, left)
		}
	}
	return max(wait, leastWait)
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

// claimRound takes up what is due, as far as there is room.
func (e *Engine) claimRound(ctx context.Context) {
	for _, h := range e.takeHints() {
		e.tryClaim(ctx, h, e.claims.places())
	}
	keys, err := e.store.DueLeases(ctx, e.cfg.Now(), scanLimit)
	if err != nil {
		if ctx.Err() == nil {
			e.log.Warn().Err(err).Msg("the store does not tell what work is due")
		}
		return
	}
	if !e.cfg.ExclusiveStore {
		e.watch(ctx, keys)
	}
	keys = e.inTurn(keys)
	e.claimAll(ctx, keys)
	e.makeRoom(keys)
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
		if _, held := c.held[h.key]; held && h.released > 0 {
			later = append(later, h)
		} else {
			hints = append(hints, h)
		}
	}
	c.hints = later
	return hints
}

func (e *Engine) claimAll(ctx context.Context, keys []store.LeaseKey) {
	for _, key := range keys {
		if ctx.Err() != nil {
			return
		}
		if s, seen := e.claims.seen[key]; seen && time.Since(s.asked) < lookEvery {
			continue // held by another a moment ago
		}
		e.tryClaim(ctx, hint{key: key}, e.claims.places())
	}
}

// tryClaim claims a lease if the task has a place for it; a chunk's campaign
// may have so many.
func (e *Engine) tryClaim(ctx context.Context, h hint, places int) {
	if e.reserve(h.key, places) && !e.claim(ctx, h) {
		e.unreserve(h.key)
	}
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

// inTurn orders the keys so that the campaigns of which the task holds least
// come first, and each has its first before any has its second: a small
// campaign does not wait behind a large one.
func (e *Engine) inTurn(keys []store.LeaseKey) []store.LeaseKey {
	byCampaign := map[string][]store.LeaseKey{}
	var order []string
	for _, k := range keys {
		if _, found := byCampaign[k.CampaignID]; !found {
			order = append(order, k.CampaignID)
		}
		byCampaign[k.CampaignID] = append(byCampaign[k.CampaignID], k)
	}
	e.claims.share(order)
	turns := make([]store.LeaseKey, 0, len(keys))
	for round := 0; len(turns) < len(keys); round++ {
		for _, id := range order {
			if round < len(byCampaign[id]) {
				turns = append(turns, byCampaign[id][round])
			}
		}
	}
	return turns
}

// share splits the task's places among the campaigns that have work, and
// orders these by how few chunks of theirs the task holds.
func (c *claims) share(campaigns []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.perCampaign = min(max(chunksPerTask/max(len(campaigns), 1), 1), chunksPerCampaign)
	slices.SortStableFunc(campaigns, func(a, b string) int { return c.chunks[a] - c.chunks[b] })
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
	if err != nil || !e.claimable(seen, h.released) {
		return false
	}
	asked := time.Now()
	lease, err := e.store.AcquireLease(ctx, seen, e.cfg.Owner)
	if err != nil {
		if ctx.Err() == nil && campaign.CodeOf(err) != campaign.CodeConflict {
			e.log.Warn().Err(err).Str("campaign", key.CampaignID).Int("lease", key.Number).Msg("a lease could not be acquired")
		}
		return false
	}
	if seen.Owner != "" {
		e.metrics.takeovers.Inc()
		e.log.Info().Str("campaign", key.CampaignID).Int("lease", key.Number).Str("from", seen.Owner).
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

// claimable says whether a lease is free and due, or its owner is gone. One
// that this task released with the version is due.
func (e *Engine) claimable(lease store.Lease, released int64) bool {
	switch {
	case lease.Closed || lease.DueAt.After(e.cfg.Now()) && lease.Version != released:
		return false
	case lease.Owner == "":
		delete(e.claims.seen, lease.Key)
		return true
	case e.cfg.ExclusiveStore && lease.Owner != e.cfg.Owner:
		return true
	}
	return e.ranOut(e.sight(lease))
}
