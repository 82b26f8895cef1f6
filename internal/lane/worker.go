package lane

import (
	"context"
	"errors"
	"time"

	"postern/internal/budget"
	"postern/internal/mailer"
)

// patience is how long a worker waits for a connection or a message of the
// budget before it looks again whether it still needs one.
const patience = time.Second

// worker sends over one connection at a time.
type worker struct {
	lane  *Lane
	index int // works while it is below the lane's limit

	// Under the lane's lock.
	parked    bool
	connected bool          // has a session, as of its parking
	wake      chan struct{} // room for the one wake-up of a parked worker

	// The worker's own.
	permit  *budget.Permit
	session *mailer.Session
	// rested: the session has been idle, so the relay may have ended it.
	rested   bool
	lastUsed time.Time // the session
	idle     *time.Timer
	// jobs are those in hand and behind them, for their memory, unused ones.
	jobs [mostInHand]*underWay
	// inHand counts the jobs that were taken and are not done. The first is the
	// one being sent, the next is that whose envelope goes behind its final dot.
	inHand int
}

func newWorker(l *Lane, index int) *worker {
	w := &worker{lane: l, index: index, wake: make(chan struct{}, 1), idle: time.NewTimer(time.Hour)}
	w.idle.Stop()
	for i := range w.jobs {
		w.jobs[i] = newUnderWay(w)
	}
	return w
}

func (w *worker) run() {
	defer w.disconnect()
	for w.lane.serving.Err() == nil {
		seen := w.lane.events.Load()
		if !w.work() {
			w.park(seen)
		}
	}
}

// work sends what there is. It says false when there is nothing to do, or
// something must happen first of which a signal will tell.
func (w *worker) work() (again bool) {
	if w.isWorn() {
		w.lane.wakeNext() // to end a session may take a moment
		w.disconnect()
	}
	if !w.lane.workFor(w) {
		return false
	}
	if w.permit == nil {
		w.acquire()
		return true // the wait may have been long: look again
	}
	probe, ok := w.lane.try()
	if !ok {
		return false
	}
	// The budget first: a session must not idle while its worker waits for it.
	if !w.spend(probe) {
		w.lane.abandon(probe)
		return false
	}
	if !w.connect(probe) {
		w.lane.share.Refund()
		return true
	}
	return w.send(probe)
}

// isWorn says whether the connection must be ended before anything else.
func (w *worker) isWorn() bool {
	if w.permit == nil {
		return false
	}
	return w.permit.Err() != nil || w.session != nil && (!w.session.Usable() || !w.carries(1))
}

// carries says whether the session may carry n more messages.
func (w *worker) carries(n int) bool {
	most := w.lane.lanes.cfg.MessagesPerConnection
	return most == 0 || w.session.Sent()+n <= most
}

// acquire asks for a connection, for a while.
func (w *worker) acquire() {
	w.lane.wakeNext() // whoever has a connection need not wait with this one
	ctx, cancel := context.WithTimeout(w.lane.serving, patience)
	defer cancel()
	if p, err := w.lane.share.Acquire(ctx, w.lane); err == nil {
		w.permit = p
	}
}

// connect makes sure that there is a session. Where there is none to be had,
// the lane knows.
func (w *worker) connect(probe bool) bool {
	if w.session != nil && w.rested && !w.session.Alive() {
		w.closeSession()
	}
	w.rested = false
	if w.session != nil {
		return true
	}
	opts, stamp := w.lane.opening()
	s, err := mailer.Dial(w.lane.serving, w.lane.relay, opts)
	if err != nil {
		w.notConnected(err, stamp, probe)
		return false
	}
	w.session, w.lastUsed = s, time.Now()
	w.lane.opened(s)
	w.lane.stands(+1)
	return true
}

// spend takes a message off the budget. One worker waits for all, so that the
// others' sessions are idle meanwhile; a probe waits in any case.
func (w *worker) spend(probe bool) bool {
	l := w.lane
	if l.share.TrySpend() {
		return true
	}
	if l.dayIsOver() {
		return false
	}
	if l.startPacing() {
		defer l.endPacing()
	} else if !probe {
		return false
	}
	w.rested = w.session != nil // and may be ended by the relay meanwhile
	// Not a deadline, in whose light the wait might seem hopeless at once.
	ctx, cancel := context.WithCancel(l.serving)
	defer cancel()
	defer time.AfterFunc(patience, cancel).Stop()
	return l.share.Spend(ctx) == nil
}

// park waits until something has happened since the events that were seen.
func (w *worker) park(seen uint64) {
	l := w.lane
	if !l.within(w) {
		w.disconnect()
		l.wakeNext() // the wake-up was meant for one that may work
	} else if w.session == nil {
		w.disconnect()
	}
	if !l.park(w, seen) {
		return
	}
	var revoked <-chan struct{}
	if w.session != nil {
		revoked = w.permit.Revoked()
		w.rested = true
		w.idle.Reset(l.lanes.cfg.IdleTimeout - time.Since(w.lastUsed))
		defer w.idle.Stop()
	}
	select {
	case <-w.wake:
		return
	case <-w.idle.C:
	case <-revoked:
	case <-l.serving.Done():
	}
	if l.leave(w) {
		w.disconnect()
	}
}

// disconnect ends the session, and only then gives the permit back.
func (w *worker) disconnect() {
	if w.permit == nil {
		return
	}
	if w.session != nil {
		if mayCommand(w.permit) && w.lane.lanes.sending.Err() == nil {
			w.session.Quit()
		}
		w.closeSession()
	}
	w.permit.Release()
	w.permit = nil
}

func (w *worker) closeSession() {
	if w.session.OutOfStep() {
		w.lane.stepByStep()
	}
	w.session.Close()
	w.session = nil
	w.lane.stands(-1)
}

// mayCommand says whether what has been begun on a connection may be finished.
// It may while its permit is only wanted elsewhere.
func mayCommand(p *budget.Permit) bool {
	err := p.Err()
	return err == nil || errors.Is(err, budget.ErrRevoked)
}
