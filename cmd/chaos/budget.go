package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"postern/internal/mailer/smtptest"
)

// The caps of the run that holds tasks to a relay's budget, and what the relay
// may see of them.
const (
	capConnections = 8
	capRate        = 500 // messages a second
	mostInSecond   = 550
	budgetPeople   = 12000
)

// budgets sends one campaign by four tasks under a relay's caps. One task is
// killed, and one added later.
func budgets(ctx context.Context, g *ground) error {
	f, err := g.fleet(ctx, fleetConfig{
		name: "budget", tasks: tasksTogether, dynamoDB: g.dynamoDB, seed: g.seed, people: budgetPeople, pace: time.Millisecond,
		env: []string{"RELAY_MAX_CONNECTIONS=" + strconv.Itoa(capConnections), "RELAY_RATE=" + strconv.Itoa(capRate)},
	})
	if err != nil {
		return err
	}
	defer f.close()
	ctx, cancel := context.WithTimeout(ctx, campaignWithin)
	defer cancel()
	c := newCourse(f, atLeastOnce, budgetPeople)
	if err := c.submit(ctx); err != nil {
		return err
	}
	began := time.Now()
	followed := make(chan error, 1)
	go func() { followed <- c.follow(ctx) }()
	open, err := c.killAndAdd(ctx)
	if err != nil {
		cancel()
	}
	if err := errors.Join(err, <-followed); err != nil {
		return err
	}
	took := time.Since(began)
	o, err := c.check(ctx)
	if err != nil {
		return err
	}
	l, err := ask[limits](ctx, f.relay, "limits", struct{}{})
	if err != nil {
		return err
	}
	g.say("%d tasks, one killed with %d transactions open, one added: %d messages in %s, %d lost, %d duplicates of at most %d, %d audit trails verified",
		tasksTogether, open, o.messages, took.Round(100*time.Millisecond), o.lost, o.duplicates, c.bound, o.trails)
	g.say("connections: %d allowed; the relay saw at most %d open, %d issuing commands at once", capConnections, l.Open, l.Issuing)
	g.say("messages a second: %d allowed; in no second more than %d", capRate, l.Second)
	if l.Issuing > capConnections || l.Second > mostInSecond {
		c.violated("the caps were exceeded")
	}
	return broken([]row{{store: storeName(f), tasks: tasksTogether, promise: atLeastOnce, violations: c.violations}})
}

// killAndAdd kills a task after a quarter of the campaign, and adds one after
// half of it. It gives how many transactions were open at the kill.
func (c *course) killAndAdd(ctx context.Context) (open int, err error) {
	if err := c.awaitMessages(ctx, c.people/4); err != nil {
		return 0, err
	}
	s, err := c.f.relay.await(ctx, order{Stage: smtptest.StageContent, Deed: deedKill})
	if err != nil {
		return 0, err
	}
	c.step = atContent
	if err := errors.Join(c.dies(ctx, s), c.countDead(ctx, s.PID)); err != nil {
		return 0, err
	}
	if err := c.awaitMessages(ctx, c.people/2); err != nil {
		return 0, err
	}
	_, err = c.f.spawn(ctx)
	return len(s.Open), err
}

func (c *course) awaitMessages(ctx context.Context, n int) error {
	for {
		now, err := ask[tally](ctx, c.f.relay, "tally", c.from)
		if err != nil || now.Messages >= n {
			return err
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for %d messages: %w", n, err)
		}
	}
}
