package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/lane"
	"postern/internal/mailer"
	"postern/internal/store"
)

// failRun ends a campaign at work here that cannot go on, with the reason for
// its owner.
func (e *Engine) failRun(r *run, reason string) {
	e.stopRun(r, store.Transition{To: campaign.StatusFailed, Reason: reason})
}

// pauseRun stops a campaign at work here until a person has done what the
// reason says.
func (e *Engine) pauseRun(r *run, reason string) {
	e.stopRun(r, store.Transition{To: campaign.StatusPaused, Reason: reason})
}

// stopRun starts nothing more of a campaign here, and makes the first stop of
// a run durable for all tasks, however long the store is out of reach.
func (e *Engine) stopRun(r *run, t store.Transition) {
	r.stopping.Do(func() {
		// Before the run's end, which has the leases given back: they wait for
		// the stop.
		done := e.runs.beginStop(r)
		r.over(errCampaignOver)
		t.Since = r.campaign.RunningSince
		e.background.Go(func() {
			defer done()
			e.stopCampaign(r.campaign.ID, t)
		})
	})
}

// stopCampaign makes a stop durable, unless the campaign has moved on.
func (e *Engine) stopCampaign(id string, t store.Transition) {
	err := e.untilDone(e.working, func(ctx context.Context) error {
		_, err := e.transition(ctx, id, t)
		return err
	})
	if err != nil && campaign.CodeOf(err) != campaign.CodeConflict {
		e.log.Error().Err(err).Str("campaign", id).Msg("the campaign could not be stopped for good; whoever takes it up next will try again")
	}
}

// untilDone repeats a call while the store is out of reach.
func (e *Engine) untilDone(ctx context.Context, call func(context.Context) error) error {
	for try := 1; ; try++ {
		err := call(ctx)
		if err == nil || campaign.CodeOf(err) != campaign.CodeUnavailable {
			return err
		}
		if sleep(ctx, jitter(backoff(storeRetryMin, storeRetryMax, try))) != nil {
			return fmt.Errorf("%w (given up: the task stops)", err)
		}
	}
}

// beginStop notes that the run's stop is being made durable, until done.
func (rs *runs) beginStop(r *run) (done func()) {
	stopped := make(chan struct{})
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.stops[r] = stopped
	return func() {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		delete(rs.stops, r)
		close(stopped)
	}
}

// awaitStop waits while a stop of the campaign is being made durable: until
// then the store has it as one to work on. The error is the context's cause.
func (rs *runs) awaitStop(ctx context.Context, id string) error {
	for {
		stopped := rs.stopOf(id)
		if stopped == nil {
			return nil
		}
		select {
		case <-stopped:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (rs *runs) stopOf(id string) <-chan struct{} {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for r, stopped := range rs.stops {
		if r.campaign.ID == id {
			return stopped
		}
	}
	return nil
}

// campaignStops stops a campaign at work here for a failure that all its
// messages would meet. Credentials can be mended by a person, so the campaign
// waits for one; it fails for anything else.
func (e *Engine) campaignStops(r *run, me *mailer.Error) {
	relay := mailer.Relay{Host: r.campaign.Relay.Host, Port: r.campaign.Relay.Port}.Addr()
	if refusesCredentials(me) {
		e.credentialsRefused(r, fmt.Sprintf("relay %s refuses the credentials: %s; resume the campaign once they hold, or with others (smtp_username, smtp_password)",
			relay, me.Public()))
		return
	}
	e.failRun(r, "relay "+relay+": "+me.Public())
}

// refusesCredentials says whether a failure is about who the relay talks to:
// AUTH itself, or one of the replies of RFC 4954 section 6 to another command.
func refusesCredentials(me *mailer.Error) bool {
	return me.Stage == mailer.StageAuth || slices.Contains([]int{530, 534, 535, 538}, me.Code)
}

// heedTrouble keeps the campaign's notice true as to the relay, and pauses the
// campaign when nothing of it could be settled, here or on any other task, for
// as long as a recipient would be tried: counted from when the trouble began,
// and from when this period of running did.
func (e *Engine) heedTrouble(r *run, now campaign.Campaign) {
	t := r.lane.Trouble()
	e.noteTrouble(now, t)
	if t.Since.IsZero() {
		r.stall = stall{}
		return
	}
	limit := e.cfg.Retry.For
	if time.Since(t.Since) < limit || e.cfg.Now().Sub(now.RunningSince) < limit {
		e.watchStall(r, t.Since)
		return
	}
	if since, known := e.watchStall(r, t.Since); known && time.Since(since) >= limit {
		e.pauseRun(r, fmt.Sprintf("nothing could be sent for longer than %s (%q); resume the campaign when the relay works, or with another one",
			limit, t.Text))
	}
}

// noteTrouble keeps the campaign's notice true as to the relay.
func (e *Engine) noteTrouble(now campaign.Campaign, t lane.Trouble) {
	if t.Known && campaign.WithoutAddresses(t.Text) != now.Notice {
		e.notice(now.ID, t.Text)
	}
}

// stall is since when a campaign has not moved while its relay was in trouble
// for this task.
type stall struct {
	since   time.Time // monotonic
	settled int64
}

// watchStall says since when nothing of the campaign was settled by any task.
func (e *Engine) watchStall(r *run, troubled time.Time) (since time.Time, known bool) {
	totals, err := e.store.Totals(r.ctx, r.campaign.ID)
	if err != nil {
		return time.Time{}, false
	}
	settled := totals.Total - totals.Pending()
	switch {
	case r.stall.since.IsZero():
		r.stall = stall{since: troubled, settled: settled}
	case r.stall.settled != settled:
		r.stall = stall{since: time.Now(), settled: settled}
	}
	return r.stall.since, true
}

// heedTime fails a campaign that has been in progress for too long.
func (e *Engine) heedTime(r *run, now campaign.Campaign) {
	if e.outOfTime(now) {
		e.failRun(r, e.timeIsUp())
	}
}

// outOfTime says whether the campaign has been in progress for longer than it
// may.
func (e *Engine) outOfTime(c campaign.Campaign) bool {
	return e.cfg.TimeLimit > 0 && !c.RunningSince.IsZero() && e.cfg.Now().Sub(c.RunningSince) > e.cfg.TimeLimit
}

func (e *Engine) timeIsUp() string {
	return fmt.Sprintf("it was in progress for longer than %s; resume it for the recipients without a result", e.cfg.TimeLimit)
}
