package lane

import (
	"bytes"
	"crypto/sha256"
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
	digest  [sha256.Size]byte // of the message, once it is written
	mail    mailer.Mail
	// held is why the job was held back on this side.
	held error
}

func newUnderWay(w *worker) *underWay {
	u := &underWay{worker: w}
	u.mail.Message = &u.message
	u.mail.MayBegin = u.mayBegin
	u.mail.MayCommit = u.mayCommit
	u.mail.Meanwhile = u.meanwhile
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

// meanwhile is what is done while the relay's reply to the final dot is awaited.
func (u *underWay) meanwhile() {
	u.digest = u.message.Digest()
	if w := u.worker; w.lane.isAlone() {
		w.takeAhead(mostInHand)
	}
}

// mostInHand is how many jobs a worker has at once: the one being sent, the one
// whose envelope is ahead, and a third where no other worker could take it,
// made ready while the reply to the first is awaited.
const mostInHand = 3

// send takes a job and sends it, and goes on for as long as there are more
// that may follow at once. It says false when there was none.
func (w *worker) send(probe bool) (sent bool) {
	l := w.lane
	if !w.take(false) {
		l.share.Refund()
		l.abandon(probe)
		return false
	}
	defer func() { w.lastUsed = time.Now() }()
	for ; ; probe = false {
		if w.inHand > 1 && !w.mayGoOn() { // it was taken a reply ago
			w.putBack(1)
		}
		w.takeAhead(2)
		w.transact(probe)
		if w.inHand == 0 {
			return true
		}
		if !w.mayFollow() {
			w.putBack(0)
			return true
		}
	}
}

// take takes one job more into the worker's hands.
func (w *worker) take(ahead bool) bool {
	if !w.jobs[w.inHand].take(ahead) {
		return false
	}
	w.inHand++
	return true
}

// takeAhead takes jobs that follow the one being sent, where it may, until
// there are n.
func (w *worker) takeAhead(n int) {
	for w.inHand < n && w.carries(w.inHand+1) && w.permit.Err() == nil && w.lane.share.TrySpend() {
		if !w.take(true) {
			w.lane.share.Refund()
			return
		}
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

// transact sends the first message, the next one's envelope behind it, and is
// done with it.
func (w *worker) transact(probe bool) {
	now := w.jobs[0]
	var next *mailer.Mail
	if w.inHand > 1 {
		next = &w.jobs[1].mail
	}
	now.held = nil
	reply, err := w.session.Send(w.lane.lanes.sending, &now.mail, next)
	now.finish(reply, err, probe)
	copy(w.jobs[:], w.jobs[1:])
	w.jobs[mostInHand-1] = now
	w.inHand--
}

// mayGoOn says whether the worker may begin another message at once.
func (w *worker) mayGoOn() bool { return w.permit.Err() == nil && w.lane.mayGoOn(w) }

// mayFollow says whether the job that is first now may be sent. The relay may
// have its envelope already, which is called off then if need be.
func (w *worker) mayFollow() bool {
	ahead := w.jobs[0]
	if !w.session.Usable() {
		return false
	}
	if !w.session.Begun(&ahead.mail) {
		return w.carries(1) && w.mayGoOn()
	}
	if ahead.mayCommit() == nil {
		return true
	}
	w.session.Drop(w.lane.lanes.sending)
	return false
}

// putBack ends the jobs in hand from the nth on, which will not be sent.
func (w *worker) putBack(n int) {
	for _, u := range w.jobs[n:w.inHand] {
		u.putBack()
	}
	w.inHand = n
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
		u.report(Outcome{Reply: reply, Digest: bytes.Clone(u.digest[:])})
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
	u.job, u.source = Job{}, nil // keeps no letter alive,
	u.message.Reset()            // nor does its message
	source.Done(o)
}
