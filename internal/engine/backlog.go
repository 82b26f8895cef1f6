package engine

import (
	"context"
	"math"
	"time"

	"postern/internal/store"
)

// backlogEvery is how many PollEvery are between two looks at the totals of
// the campaigns at work here: one small read each.
const backlogEvery = 5

// watchBacklog keeps count of what is still to be done until the context ends.
func (e *Engine) watchBacklog(ctx context.Context) {
	ticker := time.NewTicker(backlogEvery * e.cfg.PollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			e.countBacklog(ctx)
		}
	}
}

// countBacklog adds this task's parts of its campaigns' backlogs up. While the
// store does not answer, the count stays as it was.
func (e *Engine) countBacklog(ctx context.Context) {
	var sum float64
	for _, r := range e.runs.atWork() {
		totals, err := e.store.Totals(ctx, r.campaign.ID)
		if err != nil {
			return
		}
		sum += float64(max(totals.Pending(), 0)) / float64(1+e.claims.othersOn(r.campaign.ID))
	}
	e.backlog.Store(math.Float64bits(sum))
	e.metrics.backlog.Set(sum)
}

// Backlog is this task's part of the recipients without a result in the
// campaigns that it works on. The sum of all tasks' is the whole.
func (e *Engine) Backlog() float64 { return math.Float64frombits(e.backlog.Load()) }

// noteOthers counts, by campaign, the other tasks that hold leases of it.
func (e *Engine) noteOthers() {
	type share struct{ campaign, owner string }
	shares := map[share]struct{}{}
	for key, s := range e.claims.seen {
		shares[share{key.CampaignID, s.owner}] = struct{}{}
	}
	others := map[string]int{}
	for s := range shares {
		others[s.campaign]++
	}
	e.claims.mu.Lock()
	defer e.claims.mu.Unlock()
	e.claims.others = others
}

func (c *claims) othersOn(campaignID string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.others[campaignID]
}

// noteWaiting counts the due leases that nobody works on.
func (e *Engine) noteWaiting(due []store.LeaseKey) {
	c := &e.claims
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := 0
	for _, key := range due {
		_, ours := c.held[key]
		_, others := c.seen[key]
		if !ours && !others {
			waiting++
		}
	}
	e.metrics.due.Set(float64(waiting))
}
