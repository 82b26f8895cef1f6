package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postern/internal/mailer/smtptest"
)

const (
	// takeoverWithin bounds the time from a task's death to the survivors
	// sending its chunk.
	takeoverWithin = leaseTime + 2*time.Second
	takeoverTimes  = 10
	takeoverPeople = 2400 // chunks enough for four tasks
)

// takeovers kills tasks of four on one campaign, and measures how long it
// takes until the survivors send each of the dead one's chunks.
func takeovers(ctx context.Context, g *ground) error {
	f, err := g.fleet(ctx, fleetConfig{
		name: "takeover", tasks: tasksTogether, dynamoDB: g.dynamoDB, seed: g.seed, people: takeoverPeople, pace: 4 * relayPace,
	})
	if err != nil {
		return err
	}
	defer f.close()
	g.say("| kill | chunks of the dead task | the first is sent after | the last is sent after |\n|---:|---:|---:|---:|")
	p := newPlanner(g.seed, 0, false)
	var slowest time.Duration
	for i := range takeoverTimes {
		times, err := takeover(ctx, f, p.fault(atContent))
		if err != nil {
			return err
		}
		first, last := times[0], times[len(times)-1]
		g.say("| %d | %d | %s | %s |", i+1, len(times), first.Round(10*time.Millisecond), last.Round(10*time.Millisecond))
		slowest = max(slowest, first)
	}
	g.say("\n%d audit trails verified", takeoverTimes) // any other is an error
	if slowest > takeoverWithin {
		return fmt.Errorf("a dead task's chunk was sent by the survivors after %s only; %s at most", slowest, takeoverWithin)
	}
	return nil
}

// takeover kills one task in a campaign of its own, and gives after how long
// the survivors have sent something of each of its chunks, in order.
func takeover(ctx context.Context, f *fleet, at fault) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, campaignWithin)
	defer cancel()
	c := newCourse(f, atLeastOnce, f.people)
	c.step = at.kind
	if err := c.submit(ctx); err != nil {
		return nil, err
	}
	if err := c.awaitMessages(ctx, f.people/8); err != nil {
		return nil, err
	}
	s, err := f.relay.await(ctx, order{Stage: smtptest.StageContent, Skip: at.skip, Deed: deedKill})
	if err != nil {
		return nil, err
	}
	held, err := c.chunksOf(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := c.killed(ctx, s); err != nil {
		return nil, err
	}
	if err := c.follow(ctx); err != nil {
		return nil, err
	}
	if _, err := c.check(ctx); err != nil {
		return nil, err
	}
	times, err := c.takenUp(ctx, s, held)
	if err == nil {
		err = broken([]row{{store: storeName(f), tasks: f.tasks, promise: c.promise, fault: at.kind, violations: c.violations}})
	}
	if err == nil && len(times) == 0 {
		err = fmt.Errorf("nothing was left to send of the %d recipients whom the dead task held", len(held))
	}
	return times, err
}

// chunksOf gives the chunk of each address in those that a dead task holds,
// for the store's leases still have its name then.
func (c *course) chunksOf(ctx context.Context, s strike) (map[string]int, error) {
	stored, err := c.f.snap(ctx, c, true)
	if err != nil {
		return nil, err
	}
	held := map[string]int{}
	for address := range recipientsOf(s.Open) {
		owner := stored.owners[address]
		for other, n := range stored.chunks {
			if owner != "" && stored.owners[other] == owner && !stored.recorded(other) {
				held[other] = n
			}
		}
	}
	return held, nil
}

// takenUp gives after how long each of the chunks was first sent by another
// task, in order.
func (c *course) takenUp(ctx context.Context, s strike, held map[string]int) ([]time.Duration, error) {
	records, err := c.f.relay.records(ctx, c.from)
	firsts := map[int]time.Duration{}
	for _, r := range records {
		n, is := held[r.To]
		after := r.At.Sub(s.At)
		if !is || r.PID == s.PID || after < 0 {
			continue
		}
		if _, found := firsts[n]; !found {
			firsts[n] = after
		}
	}
	var times []time.Duration
	for _, t := range firsts {
		times = append(times, t)
	}
	slices.Sort(times)
	return times, err
}
