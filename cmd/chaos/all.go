package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// relayPace is how long the relay takes for a message on the average: long
// enough that transactions are open at any moment.
const relayPace = 15 * time.Millisecond

// tasksTogether are the tasks of a fleet on DynamoDB.
const tasksTogether = 4

// all makes every fault to fleets on both stores and with both promises.
func all(ctx context.Context, g *ground) error {
	var work []assignment
	if g.only != "dynamodb" {
		work = append(work, g.assign("embedded", 2, killSteps(true), disturbances(true))...)
	}
	if g.only != "embedded" {
		work = append(work, g.assign("dynamodb", 3, killSteps(false), disturbances(false))...)
	}
	return g.make(ctx, work)
}

// assignment is the scenarios of one fleet.
type assignment struct {
	fleet     fleetConfig
	scenarios []scenario
}

// assign spreads the scenarios of a store over so many fleets.
func (g *ground) assign(store string, fleets int, steps, others []kind) []assignment {
	work := make([]assignment, fleets)
	planners := make([]*planner, fleets)
	for i := range work {
		number := uint64(10*fleets + i)
		planners[i] = newPlanner(g.seed, number, store == "embedded")
		work[i].fleet = fleetConfig{
			name: fmt.Sprintf("%s-%d", store, i+1), tasks: 1, seed: g.seed<<8 + number, people: g.people, pace: relayPace,
		}
		if store == "dynamodb" {
			work[i].fleet.dynamoDB, work[i].fleet.tasks, work[i].fleet.people = g.dynamoDB, tasksTogether, g.people/3
		}
	}
	turn := 0
	give := func(of func(p *planner) scenario) {
		i := turn % fleets
		work[i].scenarios = append(work[i].scenarios, of(planners[i]))
		turn++
	}
	for _, promise := range []string{atLeastOnce, atMostOnce} {
		for _, k := range steps {
			if g.step == "" || g.step == string(k) {
				give(func(p *planner) scenario { return p.repeat(k, g.times(store, k), promise) })
			}
		}
		for _, k := range others {
			if g.step == "" || g.step == string(k) {
				give(func(p *planner) scenario { return p.repeat(k, min(g.repeats, 2), promise) })
			}
		}
		for range fleets {
			if g.step == "" || g.step == string(mixed) {
				give(func(p *planner) scenario { return p.mix(2*g.repeats, promise) })
			}
		}
	}
	return work
}

// times is how often a step is hit in a scenario: less on DynamoDB, where a dead
// task's work rests for the lease; but claiming is hit there alone.
func (g *ground) times(store string, k kind) int {
	if store == "embedded" || k == claiming {
		return g.repeats
	}
	return max(1, g.repeats*2/3)
}

// make has the fleets work at the same time, and prints what came of it.
func (g *ground) make(ctx context.Context, work []assignment) error {
	var mu sync.Mutex
	var rows []row
	var errs []error
	var group sync.WaitGroup
	for _, a := range work {
		group.Go(func() {
			err := g.work(ctx, a, func(r row) {
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, r)
				g.say("%-9s %d tasks, %-13s %-42s %3d kills, %2d apart, %5d messages, %d lost, %3d duplicates of at most %d, %2d trails verified, %d violations",
					r.store, r.tasks, r.promise, r.fault, sum(r.kills), sum(r.apart), r.messages, r.lost, r.duplicates, r.bound, r.trails, len(r.violations))
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				g.say("%s: %v", a.fleet.name, err)
			}
			errs = append(errs, err)
		})
	}
	group.Wait()
	g.say("")
	printTable(g.out, rows)
	printSteps(g.out, rows)
	printTrails(g.out, rows)
	return errors.Join(append(errs, broken(rows))...)
}

// work has one fleet go through its scenarios.
func (g *ground) work(ctx context.Context, a assignment, done func(row)) error {
	if len(a.scenarios) == 0 {
		return nil
	}
	f, err := g.fleet(ctx, a.fleet)
	if err != nil {
		return err
	}
	defer f.close()
	r := &run{f: f}
	for _, s := range a.scenarios {
		result, err := r.scenario(ctx, s)
		done(result)
		if err != nil {
			return err
		}
	}
	l, err := ask[limits](ctx, f.relay, "limits", struct{}{})
	if err == nil && l.Violations > 0 {
		err = fmt.Errorf("%s: %d violations of the standards at the relay", a.fleet.name, l.Violations)
	}
	return err
}

// broken is an error with what the rows have against the invariants.
func broken(rows []row) error {
	var errs []error
	for _, r := range rows {
		for _, v := range r.violations {
			errs = append(errs, fmt.Errorf("%s, %d tasks, %s, %s: %s", r.store, r.tasks, r.promise, r.fault, v))
		}
	}
	return errors.Join(errs...)
}
