package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// run makes scenarios happen to a fleet, one after another.
type run struct {
	f     *fleet
	later sync.WaitGroup // tasks that are stopped and will go on

	mu   sync.Mutex
	errs []error
}

// fail notes an error of the harness's own.
func (r *run) fail(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *run) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}

// campaignWithin is how long a campaign may take under faults.
const campaignWithin = 4 * time.Minute

func newCourse(f *fleet, promise string, people int) *course {
	return &course{
		f: f, promise: promise, people: people, from: "c" + uuid.NewString() + "@chaos.test",
		explained: map[string]int{}, dead: map[int]bool{}, kills: map[kind]int{}, apart: map[kind]int{},
	}
}

// scenario sends campaigns until all of the scenario's faults have struck.
func (r *run) scenario(ctx context.Context, s scenario) (row, error) {
	result := row{
		store: storeName(r.f), tasks: r.f.tasks, promise: s.promise, fault: s.name,
		kills: map[kind]int{}, apart: map[kind]int{},
	}
	const rounds = 12 // faults that do not strike are given up
	for faults, round := s.faults, 0; len(faults) > 0 && round < rounds; round++ {
		c := newCourse(r.f, s.promise, r.f.people)
		left, err := r.campaign(ctx, c, faults)
		if err != nil {
			return result, fmt.Errorf("%s, %s, %s: %w", result.store, s.promise, s.name, err)
		}
		o, err := c.check(ctx)
		if err != nil {
			c.violated("%v", err)
		}
		result.add(c, o)
		faults = left
	}
	return result, nil
}

// few is how many recipients a campaign has whose acceptance is the fault.
const few = 60

// campaign sends one campaign, and has faults strike it in turn. It gives
// those that have not struck.
func (r *run) campaign(ctx context.Context, c *course, faults []fault) ([]fault, error) {
	ctx, cancel := context.WithTimeout(ctx, campaignWithin)
	defer cancel()
	switch faults[0].kind {
	case accepting:
		c.people = few
		if err := r.accept(ctx, c, faults[0]); err != nil {
			return nil, err
		}
		faults = faults[1:]
	case starting:
		if err := r.renew(ctx, c); err != nil {
			return nil, err
		}
	default:
	}
	if err := c.submit(ctx); err != nil {
		return nil, err
	}
	running, ended := context.WithCancel(ctx)
	followed := make(chan error, 1)
	go func() {
		defer ended()
		err := c.follow(ctx)
		if err == nil {
			c.checkCompleted(ctx)
		}
		followed <- err
	}()
	var err error
	for err == nil && running.Err() == nil && len(faults) > 0 && faults[0].kind != accepting {
		var struck bool
		if struck, err = r.strike(running, c, faults[0]); struck {
			faults = faults[1:]
		}
	}
	if err != nil {
		ended()
		cancel()
	}
	err = errors.Join(err, <-followed)
	r.later.Wait()
	return faults, errors.Join(err, r.err())
}

// accept kills the task that is about to accept the campaign, or just has
// (invariant 8). The request is made again afterwards, with its key.
func (r *run) accept(ctx context.Context, c *course, f fault) error {
	t, err := c.f.awaitLive(ctx)
	if err != nil {
		return err
	}
	c.step = accepting
	answered := make(chan error, 1)
	go func() {
		_, err := c.submitTo(ctx, t, c.letter())
		answered <- err
	}()
	if f.late {
		err = <-answered
	} else {
		err = sleep(ctx, f.wait/2)
	}
	if err != nil {
		return err
	}
	s, err := c.f.relay.signal(ctx, t.child.pid(), deedKill)
	if err != nil {
		return err
	}
	return c.killed(ctx, s)
}

func storeName(f *fleet) string {
	if f.dynamoDB == "" {
		return "embedded"
	}
	return "DynamoDB"
}
