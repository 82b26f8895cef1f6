package lane

import (
	"errors"
	"time"

	"postern/internal/mailer"
)

// errStopped holds a job of a stopped group back.
var errStopped = errors.New("the campaign is stopped")

// underWay is a job in a worker's hands. It is reused, with the message's
// memory.
type underWay struct {
	worker  *worker
	job     Job
	source  *attachment
	stamp   uint64 // see concurrency
	message mailer.Message
	mail    mailer.Mail
	// held is why the job was held back on this side.
	held error
}

func newUnderWay(w *worker) *underWay {
	u := &underWay{worker: w}
	u.mail.Message = &u.message
	u.mail.MayBegin = u.mayBegin
	u.mail.MayCommit = u.mayCommit
	return u
}

// mayBegin is asked right before MAIL.
func (u *underWay) mayBegin() error {
	u.held = u.worker.permit.Err()
	if u.held == nil && u.source.group.stopped.Load() {
		u.held = errStopped
	}
	if u.held == nil && u.job.MayBegin != nil {
		u.held = u.job.MayBegin()
	}
	return u.held
}

// mayCommit is asked before MAIL and again right before the final dot.
func (u *underWay) mayCommit() error {
	u.held = nil
	if !mayCommand(u.worker.permit) {
		u.held = u.worker.permit.Err()
	}
	if u.held == nil && u.job.MayCommit != nil {
		u.held = u.job.MayCommit()
	}
	return u.held
}

// send takes a job and sends it, and goes on for as long as there are more
// that may follow at once. It says false when there was none.
func (w *worker) send(probe bool) (sent bool) {
	l := w.lane
	now, ahead := w.jobs[0], w.jobs[1]
	if !now.take(false) {
		l.share.Refund()
		l.abandon(probe)
		return false
	}
	defer func() { w.lastUsed = time.Now() }()
	for {
		following := w.takeAhead(ahead)
		w.transact(now, following, probe)
		probe = false
		if following == nil {
			return true
		}
		if !w.mayFollow(ahead) {
			ahead.putBack()
			return true
		}
		now, ahead = ahead, now
	}
}

// take takes a job whose message can be made.
func (u *underWay) take(ahead bool) bool {
	l := u.worker.lane
	for {
		job, t, ok := l.take(u.worker, ahead)
		if !ok {
			return false
		}
		u.job, u.source, u.stamp, u.held = job, t.source, t.stamp, nil
		u.mail.From, u.mail.To = job.From, job.Recipient.Address
		err := job.Letter.Render(&u.message, job.Recipient, job.MessageID)
		if err == nil {
			return true
		}
		u.finish(mailer.Reply{}, err, false)
	}
}

// takeAhead takes the job that follows the one under way, where it may.
func (w *worker) takeAhead(ahead *underWay) *underWay {
	if !w.carries(2) || w.permit.Err() != nil || !w.lane.share.TrySpend() {
		return nil
	}
	if !ahead.take(true) {
		w.lane.share.Refund()
		return nil
	}
	return ahead
}

// transact sends one message, the next one's envelope behind it.
func (w *worker) transact(now, following *underWay, probe bool) {
	var next *mailer.Mail
	if following != nil {
		next = &following.mail
	}
	now.held = nil
	reply, err := w.session.Send(w.lane.lanes.sending, &now.mail, next)
	now.finish(reply, err, probe)
}

// mayFollow says whether the job ahead may be sent now. The relay may have
// its envelope already, which is called off then if need be.
func (w *worker) mayFollow(ahead *underWay) bool {
	if !w.session.Usable() {
		return false
	}
	if !w.session.Begun(&ahead.mail) {
		return w.carries(1) && w.permit.Err() == nil && w.lane.mayGoOn(w)
	}
	if ahead.mayCommit() == nil {
		return true
	}
	w.session.Drop(w.lane.lanes.sending)
	return false
}

// putBack ends a job that was not sent.
func (u *underWay) putBack() {
	u.worker.lane.share.Refund()
	u.report(Outcome{Err: ErrNotStarted})
}

// finish learns from what became of a job, and reports it.
func (u *underWay) finish(reply mailer.Reply, err error, probe bool) {
	l := u.worker.lane
	if err == nil {
		l.works()
		l.sent.Inc()
		digest := u.message.Digest()
		u.report(Outcome{Reply: reply, Digest: digest[:]})
		return
	}
	if u.held != nil {
		l.abandon(probe)
		u.putBack()
		return
	}
	l.judge(u, err, probe)
	l.lanes.metrics.failed(l.label, err)
	u.report(Outcome{Err: err})
}

// report tells the source.
func (u *underWay) report(o Outcome) {
	o.Index, o.MessageID, o.At = u.job.Index, u.job.MessageID, u.worker.lane.lanes.cfg.Now()
	source := u.source.source
	u.job, u.source = Job{}, nil // keeps no letter alive
	source.Done(o)
}
