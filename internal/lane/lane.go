package lane

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"postern/internal/budget"
	"postern/internal/mailer"
)

// Lane is the way to one relay: a worker for each connection that there may
// be, each with its own session; the gate; the adaptive limit; and the groups
// whose jobs the workers take in turn.
type Lane struct {
	lanes *Lanes
	relay mailer.Relay
	refs  int // under the lanes' lock
	label string
	log   zerolog.Logger
	share *budget.Share
	sent  prometheus.Counter

	// serving ends with the lane, or with all sending: workers take nothing
	// more.
	serving context.Context //nolint:containedctx // a lifetime, not a call's
	stop    context.CancelFunc
	running sync.WaitGroup

	// events counts what a worker may have waited for; see signal.
	events atomic.Uint64

	mu      sync.Mutex
	workers []*worker
	idle    int // workers that are parked
	groups  []*Group
	turn    int // index of the group to ask first

	opts        mailer.Options
	gate        gate
	probeTimer  *time.Timer // signals when the gate lets the next probe through
	concurrency concurrency
	trouble     string               // with the relay as a whole; "" for none
	losses      int                  // connections lost in a row
	standing    int                  // sessions
	encryption  *tls.ConnectionState // of the session that was opened last; nil for none
	staying     Source               // the one source that stays to probe
	pacing      bool                 // a worker waits for the budget's rate
	day         dayWait              // for the relay's day
}

func newLane(ls *Lanes, r mailer.Relay) *Lane {
	label := ls.metrics.relayLabel(r)
	l := &Lane{
		lanes: ls, relay: r, label: label,
		log:         ls.cfg.Log.With().Str("relay", r.Addr()).Logger(),
		share:       ls.cfg.Budgets.Open(budget.Account{Host: r.Host, Port: r.Port, Username: r.Username}, ls.cfg.Caps),
		opts:        ls.cfg.Session,
		sent:        ls.metrics.sent(label),
		concurrency: newConcurrency(ls.cfg.Caps.Connections),
	}
	l.opts.Observer = ls.metrics.observer(label)
	l.serving, l.stop = context.WithCancel(ls.sending)
	for i := range ls.cfg.Caps.Connections {
		l.workers = append(l.workers, newWorker(l, i))
	}
	for _, w := range l.workers {
		l.running.Go(w.run)
	}
	return l
}

// closeTimeout bounds how long the budget may take to write down what a lane
// gives back.
const closeTimeout = 5 * time.Second

// Close takes a reference back. The last one lets what is under way finish,
// ends the sessions and gives the budget back.
func (l *Lane) Close() {
	if !l.lanes.release(l) {
		return
	}
	l.stop()
	l.running.Wait()
	l.stopTimers()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.lanes.sending), closeTimeout)
	defer cancel()
	l.share.Close(ctx)
}

func (l *Lane) stopTimers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range []*time.Timer{l.probeTimer, l.day.timer} {
		if t != nil {
			t.Stop()
		}
	}
}

// Relay is where the lane leads.
func (l *Lane) Relay() mailer.Relay { return l.relay }

// Label is the relay's in metrics: its address, or "other" for one of many.
func (l *Lane) Label() string { return l.label }

// Join adds a campaign at work, which leaves by Leave.
func (l *Lane) Join(campaignID string) *Group {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &Group{lane: l, id: campaignID}
	l.groups = append(l.groups, g)
	return g
}

// turnOf is a source whose turn it is.
type turnOf struct {
	source *attachment
	wakes  uint64 // of the source, when it was chosen
	stamp  uint64 // of the job to come
}

// next gives the source whose turn it is, and wakes another worker where one
// is parked, since there may be more. A job that is taken ahead of its time
// needs an open gate.
func (l *Lane) next(w *worker, ahead bool) (t turnOf, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ahead && !l.goesOn(w) {
		return t, false
	}
	for i := range l.groups {
		at := (l.turn + i) % len(l.groups)
		if a := l.groups[at].next(); a != nil {
			l.turn = at + 1
			l.wakeOne()
			return turnOf{source: a, wakes: a.wakes, stamp: l.concurrency.stamp()}, true
		}
	}
	return t, false
}

// goesOn says, with the lock held, whether a worker under way may go on to
// another message at once.
func (l *Lane) goesOn(w *worker) bool {
	return l.gate.open && w.index < l.concurrency.limit && l.serving.Err() == nil
}

// isAlone says whether there is but one session. What its worker does between a
// reply and the next message, the relay waits for. Where there are more, others
// send meanwhile, and might send what this one took before its time.
func (l *Lane) isAlone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.standing == 1
}

func (l *Lane) mayGoOn(w *worker) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.goesOn(w)
}

// dry notes that a source had nothing when it was asked.
func (l *Lane) dry(t turnOf) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.source.dry = t.wakes
}

// take gives a job of the group whose turn it is.
func (l *Lane) take(w *worker, ahead bool) (job Job, t turnOf, ok bool) {
	for {
		if t, ok = l.next(w, ahead); !ok {
			return Job{}, t, false
		}
		if job, ok = t.source.take(); ok {
			return job, t, true
		}
		l.dry(t)
	}
}

// workFor says whether w may work at all now and whether there is something
// to do. Sources are asked only on behalf of a worker without a session, whom
// it costs a connection to find out.
func (l *Lane) workFor(w *worker) bool {
	for {
		l.mu.Lock()
		admitted := l.serving.Err() == nil && w.index < l.concurrency.limit && l.gate.passable() &&
			(w.session != nil || !l.pacing) // more connections do not make the budget's rate larger
		var t turnOf
		if a := l.peek(); admitted && a != nil {
			t = turnOf{source: a, wakes: a.wakes}
		}
		dayWasOver := !l.day.until.IsZero()
		l.mu.Unlock()
		dayMayBeOver := w.session == nil || dayWasOver
		if t.source == nil || dayMayBeOver && l.dayIsOver() {
			return false
		}
		if w.session != nil || t.source.ready() {
			return true
		}
		l.dry(t)
	}
}

// peek gives a source that is worth asking, with the lock held.
func (l *Lane) peek() *attachment {
	for _, g := range l.groups {
		if g.stopped.Load() {
			continue
		}
		for _, a := range g.sources {
			if a.wakes != a.dry {
				return a
			}
		}
	}
	return nil
}

// try asks the gate.
func (l *Lane) try() (probe, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gate.try()
}

// abandon gives a probe back that found out nothing; another worker may have
// waited for it.
func (l *Lane) abandon(probe bool) {
	if !probe {
		return
	}
	l.mu.Lock()
	l.gate.abandon(probe)
	l.mu.Unlock()
	l.signal()
}

// opening gives what a session is opened with, and a stamp for that.
func (l *Lane) opening() (mailer.Options, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opts, l.concurrency.stamp()
}

// stepByStep lets further sessions do without PIPELINING.
func (l *Lane) stepByStep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.opts.StepByStep {
		l.opts.StepByStep = true
		l.log.Warn().Msg("the relay offers PIPELINING and loses step with it; going step by step")
	}
}
