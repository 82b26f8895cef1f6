package engine

import (
	"context"
	"slices"
	"time"

	"postern/internal/store"
)

// claimLoop looks for work until the context ends: every PollEvery, when it is
// woken, and when a lease that it watches runs out.
func (e *Engine) claimLoop(ctx context.Context) {
	defer e.watchBudgets(ctx, nil)
	for {
		e.claimRound(ctx)
		timer := time.NewTimer(max(e.untilAsked(), leastWait))
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

// untilAsked is when the store is to be asked again what is due: PollEvery
// after the last time, or when a watched lease runs out before.
func (e *Engine) untilAsked() time.Duration {
	c := &e.claims
	wait := e.cfg.PollEvery - time.Since(c.asked)
	for _, s := range c.seen {
		if left := e.cfg.LeaseTime - time.Since(s.since); left > 0 {
			wait = min(wait, left)
		}
	}
	return wait
}

// askSooner is the part of PollEvery after which the store is asked again by a
// task that has places and knows of nothing to take up.
const askSooner = 8

// claimRound takes up what is due, as far as there is room. A wake-up alone is
// no reason to ask the store, which takes several reads: what the task has
// been told of, and what had no place before, is tried at once.
func (e *Engine) claimRound(ctx context.Context) {
	c := &e.claims
	hints := e.takeHints()
	for _, h := range hints {
		if !e.tryClaim(ctx, h, c.places()) && len(c.waiting) < scanLimit {
			c.waiting = append(c.waiting, h.key)
		}
	}
	idle := len(hints)+len(c.waiting) == 0 && time.Since(c.asked) >= e.cfg.PollEvery/askSooner
	if !idle && e.untilAsked() > 0 {
		e.claimAll(ctx, c.inTurn(c.waiting))
		e.makeRoom(c.waiting)
		return
	}
	c.asked = time.Now()
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
	c.share(keys)
	e.claimAll(ctx, c.inTurn(keys))
	e.noteWaiting(keys)
	e.makeRoom(keys)
}

// claimAll claims the leases in this order, as far as there is room, and
// remembers those for which there is none.
func (e *Engine) claimAll(ctx context.Context, keys []store.LeaseKey) {
	c := &e.claims
	c.waiting = nil
	for _, key := range keys {
		if ctx.Err() != nil {
			return
		}
		if s, seen := c.seen[key]; seen && time.Since(s.asked) < lookEvery {
			continue // held by another a moment ago
		}
		if !e.tryClaim(ctx, hint{key: key}, c.places()) {
			c.waiting = append(c.waiting, key)
		}
	}
}

// tryClaim claims a lease if the task has a place for it, of which a chunk's
// campaign may have so many. It says no where there is none.
func (e *Engine) tryClaim(ctx context.Context, h hint, places int) (hasPlace bool) {
	if e.claims.holds(h.key) {
		return true
	}
	if !e.reserve(h.key, places) {
		return false
	}
	if !e.claim(ctx, h) {
		e.unreserve(h.key)
	}
	return true
}

// share splits the task's places among the campaigns that have work.
func (c *claims) share(due []store.LeaseKey) {
	campaigns := map[string]struct{}{}
	for _, k := range due {
		campaigns[k.CampaignID] = struct{}{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.perCampaign = min(max(chunksPerTask/max(len(campaigns), 1), 1), chunksPerCampaign)
}

// inTurn orders the keys so that the campaigns of which the task holds least
// come first, and each has its first before any has its second: a small
// campaign does not wait behind a large one.
func (c *claims) inTurn(keys []store.LeaseKey) []store.LeaseKey {
	byCampaign := map[string][]store.LeaseKey{}
	var order []string
	for _, k := range keys {
		if _, found := byCampaign[k.CampaignID]; !found {
			order = append(order, k.CampaignID)
		}
		byCampaign[k.CampaignID] = append(byCampaign[k.CampaignID], k)
	}
	c.byHeld(order)
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

// byHeld orders campaigns by how few chunks of theirs the task holds.
func (c *claims) byHeld(campaigns []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortStableFunc(campaigns, func(a, b string) int { return c.chunks[a] - c.chunks[b] })
}
