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
	held   map[store.LeaseKey]struct{}
	chunks map[string]int // held chunks by campaign
	total  int            // held chunks
	// perCampaign is how many chunks of one campaign the task may hold now; 0
	// before the first look.
	perCampaign int
	hints       []store.LeaseKey

	// seen is used by the claiming goroutine only.
	seen map[store.LeaseKey]sighting
}

// sighting is when a lease of another owner was first seen at a version.
type sighting struct {
	version int64
	since   time.Time // monotonic
}

// claimLoop looks for work until the context ends: every PollEvery, when it is
// woken, and when a lease that it watches runs out.
func (e *Engine) claimLoop(ctx context.Context) {
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
func (e *Engine) wake(hints ...store.LeaseKey) {
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
	e.claimAll(ctx, e.takeHints())
	keys, err := e.store.DueLeases(ctx, e.cfg.Now(), scanLimit)
	if err != nil {
		if ctx.Err() == nil {
			e.log.Warn().Err(err).Msg("the store does not tell what work is due")
		}
		return
	}
	e.forgetSightings(keys)
	e.claimAll(ctx, e.inTurn(keys))
}

func (e *Engine) takeHints() []store.LeaseKey {
	e.claims.mu.Lock()
	defer e.claims.mu.Unlock()
	hints := e.claims.hints
	e.claims.hints = nil
	return hints
}

func (e *Engine) claimAll(ctx context.Context, keys []store.LeaseKey) {
	for _, key := range keys {
		if ctx.Err() != nil {
			return
		}
		if e.reserve(key) && !e.claim(ctx, key) {
			e.unreserve(key)
		}
	}
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

// forgetSightings drops leases that are not due any more. Held ones come first
// in the list, so one that is missing is not held.
func (e *Engine) forgetSightings(due []store.LeaseKey) {
	still := make(map[store.LeaseKey]sighting, len(e.claims.seen))
	for _, k := range due {
		if s, found := e.claims.seen[k]; found {
			still[k] = s
		}
	}
	e.claims.seen = still
}

// reserve makes room for a lease, or says that there is none or that the task
// holds it.
func (e *Engine) reserve(key store.LeaseKey) bool {
	c := &e.claims
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ours := c.held[key]; ours {
		return false
	}
	if key.Number > 0 {
		if c.total >= chunksPerTask || c.perCampaign > 0 && c.chunks[key.CampaignID] >= c.perCampaign {
			return false
		}
		c.total++
		c.chunks[key.CampaignID]++
	}
	c.held[key] = struct{}{}
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
func (e *Engine) claim(ctx context.Context, key store.LeaseKey) bool {
	seen, err := e.store.GetLease(ctx, key)
	if err != nil || !e.claimable(seen) {
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
			e.workChunk(lease, asked)
		}
	})
	return true
}

// claimable says whether a lease is free and due, or its owner is gone.
func (e *Engine) claimable(lease store.Lease) bool {
	switch {
	case lease.Closed || lease.DueAt.After(e.cfg.Now()):
		return false
	case lease.Owner == "":
		return true
	case e.cfg.ExclusiveStore && lease.Owner != e.cfg.Owner:
		return true
	}
	s, found := e.claims.seen[lease.Key]
	if !found || s.version != lease.Version {
		e.claims.seen[lease.Key] = sighting{version: lease.Version, since: time.Now()}
		return false
	}
	return time.Since(s.since) >= e.cfg.LeaseTime
}
