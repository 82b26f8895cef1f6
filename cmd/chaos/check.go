package main

import (
	"context"
	"fmt"
	"time"

	"postern/internal/client"
)

// outcome is what a campaign has come to.
type outcome struct {
	recipients, messages, lost, duplicates, unknown int
	trails                                          int           // audit trails that have passed
	unsigned                                        time.Duration // how long the trail's signature was waited for
}

// check holds the campaign's end to the invariants, and then its audit trail
// to the ledger. Nothing is under way any more.
func (c *course) check(ctx context.Context) (outcome, error) {
	rows, err := c.final(ctx)
	if err != nil {
		return outcome{}, err
	}
	records, err := c.f.relay.records(ctx, c.from)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{recipients: c.people, messages: len(records)}
	times := c.checkRecords(records)
	for _, r := range rows {
		c.checkRow(r, times[r.Email], &o)
	}
	for address, n := range times {
		o.duplicates += n - 1
		c.checkTimes(address, n)
	}
	if len(rows) != c.people {
		c.violated("invariant 1: there are %d rows for %d recipients", len(rows), c.people)
		o.lost += max(0, c.people-len(rows))
	}
	if o.duplicates > c.bound {
		c.violated("invariant 2: %d duplicates; at most %d may be", o.duplicates, c.bound)
	}
	sum, err := ask[tally](ctx, c.f.relay, "tally", c.from)
	if most := intents*c.crashes + sum.Cuts; err == nil && o.unknown > most {
		c.violated("invariant 3: %d are unknown; at most %d may be", o.unknown, most)
	}
	c.checkTrail(ctx, records, rows, &o)
	return o, err
}

// checkRecords holds the relay's ledger to invariant 9, counts messages by
// recipient, and notes the replies that were lost on the wire.
func (c *course) checkRecords(records []record) map[string]int {
	times, ids := map[string]int{}, map[string]string{}
	for _, r := range records {
		if times[r.To]++; times[r.To] == 1 {
			ids[r.To] = r.ID
		}
		if r.ID == "" || r.ID != ids[r.To] {
			c.violated("invariant 9: messages to %s have the Message-IDs %q and %q", r.To, ids[r.To], r.ID)
		}
		if r.PID == 0 {
			c.violated("a message to %s is of no known task", r.To)
		}
	}
	for _, r := range records {
		// What a dead task had in flight is counted.
		if r.Cut || !r.Replied && !c.dead[r.PID] {
			c.explain(map[string]bool{r.To: true})
		}
	}
	return times
}

func (c *course) checkRow(r client.Delivery, times int, o *outcome) {
	switch r.State {
	case "sent":
		if times == 0 {
			o.lost++
			c.violated("invariant 1: %s is sent, and the relay has nothing", r.Email)
		}
	case "unknown":
		o.unknown++
		if c.promise != atMostOnce {
			c.violated("%s is unknown without having been asked for", r.Email)
		}
	default:
		if times == 0 {
			o.lost++
		}
		c.violated("invariant 1: %s is %s (%s)", r.Email, r.State, r.Reply)
	}
}

func (c *course) checkTimes(address string, n int) {
	switch {
	case c.promise == atMostOnce && n > 1:
		c.violated("invariant 3: %s was mailed %d times", address, n)
	case n-1 > c.explained[address]:
		c.violated("invariant 2: %s was mailed %d times, and was in flight %d times when a task was hit", address, n, c.explained[address])
	}
}

// final reads totals and rows by the API, and holds them against each other:
// at once when the campaign is completed, no row may be without a result.
func (c *course) final(ctx context.Context) ([]client.Delivery, error) {
	for deadline := time.Now().Add(30 * time.Second); ; {
		rows, err := c.count(ctx)
		if err == nil || time.Now().After(deadline) {
			return rows, err
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// count gives the rows where they make the totals.
func (c *course) count(ctx context.Context) ([]client.Delivery, error) {
	t, err := c.f.awaitLive(ctx)
	if err != nil {
		return nil, err
	}
	s, err := t.Status(ctx, c.id)
	if err != nil {
		return nil, err
	}
	rows, err := t.Deliveries(ctx, c.id, "")
	if err != nil {
		return nil, err
	}
	states := map[string]int{}
	for _, r := range rows {
		states[r.State]++
	}
	if states["sent"] != s.Sent || states["failed"] != s.Failed || states["unknown"] != s.Unknown ||
		states["suppressed"] != s.Suppressed || states["pending"] != s.Pending {
		return nil, fmt.Errorf("invariant 5: the rows have %v and the totals %+v", states, s)
	}
	return rows, nil
}

// checkCompleted is invariant 4, at the moment when the campaign is said to be
// completed.
func (c *course) checkCompleted(ctx context.Context) {
	if c.last.Status != "completed" {
		c.violated("the campaign is %s: %s", c.last.Status, c.last.Reason)
		return
	}
	t, err := c.f.awaitLive(ctx)
	if err != nil {
		return
	}
	if open, err := t.Deliveries(ctx, c.id, "pending"); err == nil && len(open) > 0 {
		c.violated("invariant 4: the campaign is completed, and %d recipients have no result", len(open))
	}
}
