package main

import (
	"context"
	"sync"
	"time"

	"postern/internal/mailer/smtptest"
)

// strike makes one fault happen to the campaign. The context ends when the
// campaign does: a fault that has not struck by then is left for the next one.
// It says whether it has struck; what it leaves behind is dealt with in any
// case.
func (r *run) strike(ctx context.Context, c *course, f fault) (bool, error) {
	if err := c.gap(ctx, f.gap); err != nil {
		return false, nil //nolint:nilerr // the campaign is over
	}
	c.step = f.kind
	switch f.kind {
	case atMail, atContent, atDot, atReply, stopping:
		return r.kill(ctx, c, orderOf(f))
	case unstored, unanswer, freezing, claiming:
		if c.f.direct != nil {
			return r.killAtStore(ctx, c, f)
		}
		return r.kill(ctx, c, timedOrderOf(f))
	case starting:
		return r.killAtStart(ctx, c, f)
	case cleanStop:
		return r.stop(ctx, c, f)
	case suspend:
		return r.suspend(ctx, c, f)
	case cut, busy, greylist, slow:
		return r.cloud(ctx, c, f)
	default:
		return r.spoil(ctx, c, f)
	}
}

// gap waits until so many messages more have been taken, or for a while where
// none are.
func (c *course) gap(ctx context.Context, more int) error {
	const patience = 3 * time.Second
	begin := -1
	for until := time.Now().Add(patience); time.Now().Before(until); {
		now, err := ask[tally](ctx, c.f.relay, "tally", c.from)
		if err != nil {
			return err
		}
		if begin < 0 {
			begin = now.Messages
		}
		if now.Messages >= begin+more {
			return nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// orderOf is how a fault strikes by way of the relay.
func orderOf(f fault) order {
	stages := map[kind]smtptest.Stage{
		atMail: smtptest.StageMail, atContent: smtptest.StageContent, atDot: smtptest.StageDot,
		atReply: smtptest.StageDone, stopping: smtptest.StageDot,
	}
	o := order{Stage: stages[f.kind], Skip: f.skip, Deed: deedKill, Wait: f.wait}
	switch f.kind {
	case atContent:
		o.Late, o.Wait = f.late, f.wait/10
	case stopping:
		o.Deed = deedTermKill
	default:
	}
	return o
}

// timedOrderOf hits a step of the embedded store by time: a result is stored
// about 50 ms after its 250, and freezing goes on while the first messages are
// sent.
func timedOrderOf(f fault) order {
	switch f.kind {
	case unstored:
		return order{Stage: smtptest.StageDone, Skip: f.skip, Deed: deedKill, Late: true, Wait: f.wait}
	case unanswer:
		return order{Stage: smtptest.StageDone, Skip: f.skip, Deed: deedKill, Late: true, Wait: 40*time.Millisecond + f.wait}
	default:
		return order{Stage: smtptest.StageMail, Skip: f.skip, Deed: deedKill}
	}
}

// kill has the relay kill a task.
func (r *run) kill(ctx context.Context, c *course, o order) (bool, error) {
	s, err := c.f.relay.await(ctx, o)
	if err != nil {
		return false, nil //nolint:nilerr // the campaign is over, or the task was
	}
	return true, c.killed(context.WithoutCancel(ctx), s)
}

// killAtStore kills the task whose write goes by, before it is passed on or
// after it was applied.
func (r *run) killAtStore(ctx context.Context, c *course, f fault) (bool, error) {
	kinds := map[kind]write{unstored: writeResult, unanswer: writeResult, freezing: writeChunk, claiming: writeClaim}
	after := f.kind == unanswer || f.kind != unstored && f.late
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	var once sync.Mutex
	var s strike
	spring := func(t *task) bool {
		once.Lock()
		defer once.Unlock()
		if limited.Err() != nil {
			return false
		}
		var err error
		s, err = ask[strike](limited, c.f.relay, "signal", signalled{PID: t.child.pid(), Deed: deedKill, IfOpen: true})
		if err != nil || s.PID == 0 {
			return false
		}
		cancel()
		return true
	}
	defer c.f.trap(kinds[f.kind], f.skip, after, spring)()
	<-limited.Done()
	once.Lock()
	defer once.Unlock()
	if s.PID == 0 {
		return false, nil
	}
	return true, c.killed(context.WithoutCancel(ctx), s)
}

// killAtStart kills a task that has been started, as soon as it mails somebody;
// and some before they have done anything.
func (r *run) killAtStart(ctx context.Context, c *course, f fault) (bool, error) {
	if fresh := c.f.youngest(); f.late && !fresh.isUp() {
		_ = sleep(ctx, f.wait)
		if s, err := c.f.relay.signal(ctx, fresh.child.pid(), deedKill); err == nil {
			if err := c.killed(context.WithoutCancel(ctx), s); err != nil {
				return false, err
			}
		}
	}
	return r.kill(ctx, c, order{Stage: smtptest.StageMail, Fresh: true, Deed: deedKill})
}

// renew kills all tasks, so that those that work on the campaign have just been
// started.
func (r *run) renew(ctx context.Context, c *course) error {
	c.step = starting
	for _, t := range c.f.live() {
		s, err := c.f.relay.signal(ctx, t.child.pid(), deedKill)
		if err != nil {
			return err
		}
		if err := c.killed(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// suspend stops a task for longer than its lease. The next fault does not wait
// for its end, while there are tasks that work.
func (r *run) suspend(ctx context.Context, c *course, f fault) (bool, error) {
	if len(c.f.live()) < 2 && c.f.tasks > 1 {
		return false, sleep(ctx, time.Second)
	}
	stage := smtptest.StageContent
	if f.late {
		stage = smtptest.StageDot
	}
	s, err := c.f.relay.await(ctx, order{Stage: stage, Skip: f.skip, Deed: deedStop})
	if err != nil {
		return false, nil //nolint:nilerr // the campaign is over
	}
	c.f.rest(s.PID, true)
	r.later.Go(func() { r.fail(c.paused(context.WithoutCancel(ctx), s, f.span)) })
	return true, nil
}

// cloud is some bad weather at the relay.
func (r *run) cloud(ctx context.Context, c *course, f fault) (bool, error) {
	after := context.WithoutCancel(ctx)
	if err := c.f.relay.tell(after, "sky", f.weatherOf()); err != nil {
		return false, err
	}
	_ = sleep(ctx, f.span)
	return true, c.f.relay.tell(after, "sky", []weather{})
}

// spoil makes the store fail for some time.
func (r *run) spoil(ctx context.Context, c *course, f fault) (bool, error) {
	faults := map[kind]storeFault{
		throttle: {throttled: 0.5}, answerLost: {lost: 0.3}, down: {down: true}, downLong: {down: true},
	}
	c.f.spoil(faults[f.kind])
	defer c.f.spoil(storeFault{})
	err := sleep(ctx, f.span)
	if f.kind != downLong || c.id == "" {
		return err == nil, nil
	}
	// Every lease has run out, and nothing has been recorded since.
	addresses, err := c.unrecorded(context.WithoutCancel(ctx), 0)
	c.mu.Lock()
	c.crashes += c.f.tasks
	c.mu.Unlock()
	c.explain(addresses)
	return true, err
}
