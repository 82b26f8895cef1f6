package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"postern/internal/client"
)

// What a task may have acknowledged and not yet recorded, besides one message
// for each connection, and the intents that it may have under way: stated in
// Postern's documents, and repeated here because nothing of Postern's is to
// tell the harness what to expect.
const (
	window  = 256
	intents = 64
)

// pollEvery is how often a campaign's totals are asked for.
const pollEvery = 100 * time.Millisecond

// course is a campaign on its way, with all that is held against it.
type course struct {
	f       *fleet
	promise string
	from    string // the envelope sender, by which the relay tells campaigns apart
	people  int    // recipients; all that there are, or the first
	id      string
	step    kind // the fault that is being made
	frozen  bool // the whole audience was, when the store was last looked at

	mu         sync.Mutex
	explained  map[string]int // how many more messages than one an address may have
	bound      int            // the sum of these
	allowance  int            // how many may be acknowledged and not recorded for good
	dead       map[int]bool   // tasks that were killed
	unsettled  int            // of them, those that have not been counted yet
	crashes    int            // kills, and stops past the lease
	kills      map[kind]int   // at a task with an open transaction
	apart      map[kind]int   // at a task without one
	polls      int
	violations []string
	last       client.Status
	seen       int // recipients at the relay at the last poll
}

func (c *course) violated(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.violations) < 20 {
		c.violations = append(c.violations, fmt.Sprintf(format, args...))
	}
}

// letter is the campaign. Its text has the filler, so that a chunk holds about
// a hundred and fifty recipients and there are many.
func (c *course) letter() client.Campaign {
	l := client.Campaign{
		From: c.from, Subject: "Hello {{first_name}}", Body: "<p title=\"{{filler}}\">Hello {{first_name}}</p>",
		Delivery: c.promise,
	}
	if c.people < c.f.people {
		for i := range c.people {
			l.Recipients = append(l.Recipients, address(i))
		}
	}
	return l
}

// keyed adds an Idempotency-Key to each request.
type keyed struct {
	key string
	via http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Idempotency-Key", k.key)
	return k.via.RoundTrip(r)
}

// submitTo hands the campaign in at a task.
func (c *course) submitTo(ctx context.Context, t *task, letter client.Campaign) (string, error) {
	via := t.Client
	via.HTTP = &http.Client{Transport: keyed{key: c.from, via: c.f.http.Transport}, Timeout: 30 * time.Second}
	return via.Submit(ctx, letter)
}

// submit hands the campaign in until it is accepted, and holds the service to
// invariant 7.
func (c *course) submit(ctx context.Context) error {
	for {
		t, err := c.f.awaitLive(ctx)
		if err != nil {
			return err
		}
		if c.id, err = c.submitTo(ctx, t, c.letter()); err == nil {
			c.checkKey(ctx)
			return nil
		}
		if err := sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// checkKey repeats the request, and makes another with its key.
func (c *course) checkKey(ctx context.Context) {
	other := c.letter()
	other.Subject = "Another"
	for _, t := range c.f.live() {
		if id, err := c.submitTo(ctx, t, c.letter()); err == nil && id != c.id {
			c.violated("invariant 7: one Idempotency-Key made the campaigns %s and %s", c.id, id)
		}
		_, err := c.submitTo(ctx, t, other)
		if e, answered := errors.AsType[*client.Error](err); err == nil || answered && e.Status/100 == 4 && e.Status != http.StatusUnprocessableEntity {
			c.violated("invariant 7: another body with the key of campaign %s was answered with %v", c.id, err)
		}
	}
}

// follow polls the campaign until it rests.
func (c *course) follow(ctx context.Context) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for turn := 0; ; turn++ {
		if up := c.f.live(); len(up) > 0 {
			c.poll(ctx, up[turn%len(up)])
		}
		if c.last.Rests() {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			state, _ := json.Marshal(c.last)
			return fmt.Errorf("the campaign does not end (last: %s): %w", state, ctx.Err())
		}
	}
}

// poll asks for the totals once, and holds them to invariant 5. A task that
// does not answer, as one that has just been killed, says nothing.
func (c *course) poll(ctx context.Context, t *task) {
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := t.Status(limited, c.id)
	if err != nil {
		if e, answered := errors.AsType[*client.Error](err); answered && e.Status == http.StatusNotFound {
			c.violated("invariant 8: campaign %s was accepted and is not there", c.id)
		}
		return
	}
	now, err := ask[tally](ctx, c.f.relay, "tally", c.from)
	if err != nil {
		return
	}
	c.mu.Lock()
	open := c.allowance + (c.f.tasks+c.unsettled)*window + connections
	before := c.seen
	c.seen, c.last = now.Recipients, s
	c.polls++
	c.mu.Unlock()
	if parts := s.Sent + s.Failed + s.Unknown + s.Suppressed + s.Pending; parts != s.Total || s.Pending < 0 {
		c.violated("invariant 5: the parts make %d of %d: %+v", parts, s.Total, s)
	}
	if s.Sent > now.Recipients {
		c.violated("invariant 5: %d are counted as sent, and the relay has acknowledged %d", s.Sent, now.Recipients)
	}
	if late := before - s.Sent - s.Unknown; late > open {
		c.violated("invariant 5: %d are acknowledged and not counted; at most %d may be", late, open)
	}
}
