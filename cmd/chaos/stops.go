package main

import (
	"context"
	"errors"

	"postern/internal/mailer/smtptest"
)

// stops has tasks stop cleanly in mid-campaign, half of them on each store: each
// ends by itself without an error, nobody is lost and nobody mailed twice.
func stops(ctx context.Context, g *ground) error {
	var rows []row
	var errs []error
	for i, cfg := range []fleetConfig{
		{name: "stops-embedded", tasks: 1},
		{name: "stops-dynamodb", tasks: tasksTogether, dynamoDB: g.dynamoDB},
	} {
		cfg.seed, cfg.people, cfg.pace = g.seed+uint64(i), g.people, relayPace
		if cfg.dynamoDB != "" {
			cfg.people /= 3
		}
		result, err := g.stopFleet(ctx, cfg, g.stops/2+g.stops%2*i)
		rows, errs = append(rows, result), append(errs, err)
	}
	printTable(g.out, rows)
	printTrails(g.out, rows)
	return errors.Join(append(errs, broken(rows))...)
}

func (g *ground) stopFleet(ctx context.Context, cfg fleetConfig, n int) (row, error) {
	result := row{tasks: cfg.tasks, promise: atLeastOnce, fault: cleanStop, kills: map[kind]int{}, apart: map[kind]int{}}
	f, err := g.fleet(ctx, cfg)
	if err != nil {
		return result, err
	}
	defer f.close()
	result.store = storeName(f)
	p := newPlanner(g.seed, uint64(cfg.tasks), cfg.dynamoDB == "")
	return (&run{f: f}).scenario(ctx, p.repeat(cleanStop, n, atLeastOnce))
}

// cleanStop is SIGTERM at a task with an open transaction.
const cleanStop kind = "clean stop"

// stop has a task stop cleanly, and another take its place.
func (r *run) stop(ctx context.Context, c *course, f fault) (bool, error) {
	s, err := c.f.relay.await(ctx, order{Stage: smtptest.StageDot, Skip: f.skip, Deed: deedTerm})
	if err != nil {
		return false, nil //nolint:nilerr // the campaign is over
	}
	ctx = context.WithoutCancel(ctx)
	stopped, err := c.f.byPID(s.PID)
	if err != nil {
		return false, err
	}
	c.f.rest(s.PID, true) // it is not asked for totals any more
	if err := c.f.bury(ctx, stopped); err != nil {
		return false, err
	}
	if state := stopped.child.cmd.ProcessState; !state.Success() {
		c.violated("invariant 10: a task that was told to stop ended with %s; its log is %s", state, stopped.log)
	}
	c.mu.Lock()
	c.kills[c.step]++
	c.mu.Unlock()
	addresses, err := c.unrecorded(ctx, s.PID)
	if err == nil && len(addresses) > 0 {
		c.violated("invariant 10: a task that has stopped left %d messages unrecorded", len(addresses))
	}
	if err == nil {
		_, err = c.f.spawn(ctx)
	}
	return true, err
}
