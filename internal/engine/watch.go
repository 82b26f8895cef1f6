package engine

import (
	"context"
	"time"

	"postern/internal/budget"
	"postern/internal/store"
)

// lookEvery is how often a lease of another owner is looked at: by each round,
// but not by those that a wake-up brings in between.
const lookEvery = 900 * time.Millisecond

// sighting is when a lease of another owner was first seen at a version, and
// when it was last looked at.
type sighting struct {
	owner        string
	version      int64
	since, asked time.Time // monotonic
}

// watch looks at the leases that others hold, which come first among the due
// ones, whether the task has a place for them or not: the time of a dead
// owner's lease runs from the first look. One that has run out is taken over
// beyond the campaign's places.
func (e *Engine) watch(ctx context.Context, due []store.LeaseKey) {
	e.forgetSightings()
	e.look(ctx, due)
	campaigns := map[string]struct{}{}
	for key := range e.claims.seen {
		campaigns[key.CampaignID] = struct{}{}
	}
	e.watchBudgets(ctx, campaigns)
	e.noteOthers()
}

func (e *Engine) look(ctx context.Context, due []store.LeaseKey) {
	for _, key := range due {
		if ctx.Err() != nil {
			return
		}
		s, seen := e.claims.seen[key]
		switch {
		case e.claims.holds(key), seen && !e.ranOut(s) && time.Since(s.asked) < lookEvery:
			continue
		case seen && e.ranOut(s):
			e.tryClaim(ctx, hint{key: key}, chunksPerTask)
			continue
		}
		lease, err := e.store.GetLease(ctx, key)
		switch {
		case err != nil, lease.Closed: // the list of due leases lags behind
		case lease.Owner == "":
			delete(e.claims.seen, key)
			return // those behind it are free too
		case lease.Owner != e.cfg.Owner:
			e.sight(lease)
		}
	}
}

// sight notes a look at a lease of another owner, and says since when it has
// not changed.
func (e *Engine) sight(lease store.Lease) sighting {
	now := time.Now()
	s, seen := e.claims.seen[lease.Key]
	if !seen || s.version != lease.Version {
		s = sighting{owner: lease.Owner, version: lease.Version, since: now}
	}
	s.asked = now
	e.claims.seen[lease.Key] = s
	return s
}

func (e *Engine) ranOut(s sighting) bool { return time.Since(s.since) >= e.cfg.LeaseTime }

// forgetSightings drops leases that have not been looked at for long: they are
// not due any more. Not those that one answer leaves out: where more are held
// than an answer names, they are named by turns.
func (e *Engine) forgetSightings() {
	for key, s := range e.claims.seen {
		if time.Since(s.asked) > 2*e.cfg.LeaseTime {
			delete(e.claims.seen, key)
		}
	}
}

// watchBudgets has the budgets of these campaigns' relays watched too: the time
// of a dead owner's connections runs from the first look as well.
func (e *Engine) watchBudgets(ctx context.Context, campaigns map[string]struct{}) {
	for id, stop := range e.claims.watched {
		if _, still := campaigns[id]; !still {
			delete(e.claims.watched, id)
			stop()
		}
	}
	for id := range campaigns {
		if _, already := e.claims.watched[id]; already {
			continue
		}
		c, err := e.store.GetCampaign(ctx, id)
		if err != nil {
			continue // the next round tries again
		}
		account := budget.Account{Host: c.Relay.Host, Port: c.Relay.Port, Username: c.Relay.Username}
		e.claims.watched[id] = e.budgets.Watch(account, e.cfg.Caps)
	}
}
