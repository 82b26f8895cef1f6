package main

import (
	"context"
	"time"
)

// explain notes that each of the addresses may have one message more.
func (c *course) explain(addresses map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a := range addresses {
		c.explained[a]++
	}
	c.bound += len(addresses)
	c.allowance += len(addresses)
}

// unrecorded is to whom messages of a task's (0: of any task's) are at the
// relay that the store does not know of.
func (c *course) unrecorded(ctx context.Context, pid int) (map[string]bool, error) {
	found := map[string]bool{}
	stored, err := c.f.snap(ctx, c, false)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.frozen = stored.control.Freeze.Final
	c.mu.Unlock()
	records, err := c.f.relay.records(ctx, c.from)
	for _, r := range records {
		if (pid == 0 || r.PID == pid) && !stored.recorded(r.To) {
			found[r.To] = true
		}
	}
	return found, err
}

// killed goes on after a task was killed: a new one takes its place, and what
// the dead one had in flight is counted.
func (c *course) killed(ctx context.Context, s strike) error {
	if err := c.dies(ctx, s); err != nil {
		return err
	}
	if c.f.direct == nil { // the embedded store is looked at before a task opens it
		if err := c.countDead(ctx, s.PID); err != nil {
			return err
		}
		_, err := c.f.spawn(ctx)
		return err
	}
	if _, err := c.f.spawn(ctx); err != nil {
		return err
	}
	return c.countDead(ctx, s.PID)
}

// dies notes a kill, and waits until nothing more comes of the dead task.
func (c *course) dies(ctx context.Context, s strike) error {
	c.mu.Lock()
	c.dead[s.PID] = true
	c.unsettled++
	c.crashes++
	if len(s.Open) > 0 {
		c.kills[c.step]++
	} else {
		c.apart[c.step]++
	}
	c.mu.Unlock()
	dead, err := c.f.byPID(s.PID)
	if err != nil {
		return err
	}
	return c.f.bury(ctx, dead)
}

// countDead counts what a dead task had in flight, while its leases still
// stand.
func (c *course) countDead(ctx context.Context, pid int) error {
	addresses, err := c.unrecorded(ctx, pid)
	if err != nil {
		return err
	}
	if most := window + connections; len(addresses) > most {
		c.violated("invariant 2: a killed task had %d messages acknowledged and not recorded; at most %d may be", len(addresses), most)
	}
	c.explain(addresses)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsettled--
	if c.step == freezing && c.frozen && c.kills[freezing] > 0 { // hit by time, and too late
		c.kills[freezing]--
		c.apart[freezing]++
	}
	return nil
}

// settleTime is for what a stopped task had written to reach the relay's
// ledger.
const settleTime = 300 * time.Millisecond

// paused goes on after a task was stopped by SIGSTOP, and lets it go on after
// d. What was in flight, and one message for each open transaction that may
// slip through, is counted, if a lease may have run out meanwhile.
func (c *course) paused(ctx context.Context, s strike, d time.Duration) error {
	c.f.rest(s.PID, true)
	defer c.f.rest(s.PID, false)
	stopped := time.Now()
	lossy := c.f.direct != nil // nobody takes a lease of the embedded store over
	if lossy {
		if err := c.countPaused(ctx, s); err != nil {
			return err
		}
	}
	err := sleep(ctx, d-time.Since(stopped))
	open, _ := ask[[]flight](context.WithoutCancel(ctx), c.f.relay, "flights", s.PID)
	if lossy {
		c.explain(recipientsOf(open))
	}
	_, cont := c.f.relay.signal(context.WithoutCancel(ctx), s.PID, deedCont)
	if err == nil {
		err = cont
	}
	return err
}

// leaseTime is how long a lease holds.
const leaseTime = 10 * time.Second

func (c *course) countPaused(ctx context.Context, s strike) error {
	if err := sleep(ctx, settleTime); err != nil {
		return err
	}
	addresses, err := c.unrecorded(ctx, s.PID)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.crashes++
	c.mu.Unlock()
	c.explain(addresses)
	c.explain(recipientsOf(s.Open))
	return nil
}

func recipientsOf(open []flight) map[string]bool {
	found := map[string]bool{}
	for _, f := range open {
		if f.To != "" {
			found[f.To] = true
		}
	}
	return found
}
