package lane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"postern/internal/mailer"
)

// maxLosses is how many connections may be lost in a row, for each that the
// lane may have, before the relay as a whole is in trouble.
const maxLosses = 2

// judge learns from a failure what it says about the relay. A group that
// cannot go on is stopped here, before another worker takes a job of it.
func (l *Lane) judge(u *underWay, err error, probe bool) {
	me, ok := errors.AsType[*mailer.Error](err)
	if !ok || l.lanes.sending.Err() != nil {
		l.abandon(probe)
		return
	}
	switch me.Scope {
	case mailer.ScopeRecipient:
		if me.Stage == mailer.StageLetter {
			l.abandon(probe)
			return
		}
		l.works()
	case mailer.ScopeCampaign:
		l.stopGroup(u.source.group, me)
		l.abandon(probe)
	case mailer.ScopeSession:
		l.slowDown(me, u.stamp)
		if l.lost() || probe {
			l.fails(me, probe)
		}
	default:
		l.slowDown(me, u.stamp)
		l.fails(me, probe)
	}
}

// notConnected learns from a connection that could not be opened. Where the
// relay as a whole is in trouble, or refuses the campaigns, jobs that wait are
// told so: one, or one of each group.
func (w *worker) notConnected(err error, stamp uint64, probe bool) {
	l := w.lane
	me, ok := errors.AsType[*mailer.Error](err)
	if !ok || l.serving.Err() != nil {
		l.abandon(probe)
		return
	}
	me = asRelayTrouble(me)
	switch {
	case me.Scope == mailer.ScopeCampaign:
		for w.tell(me) {
		}
		l.abandon(probe)
	case l.slowDown(me, stamp) && !probe && l.bearsOthers(w):
		// The relay bears those that stand, and not one more.
	default:
		l.fails(me, probe)
		w.tell(me)
	}
}

// stopGroup stops a group none of whose messages would fare better.
func (l *Lane) stopGroup(g *Group, me *mailer.Error) {
	g.Stop()
	e := l.log.Warn().Str("campaign", g.id).Str("stage", string(me.Stage)).Int("code", me.Code)
	if me.Stage == mailer.StageMail {
		e = e.Str("reply", me.Reply()) // which is about the sender, and is in no reason
	}
	e.Msg("the relay refuses the campaign as a whole")
}

// asRelayTrouble: a connection that does not even open says something about
// the relay, not about one connection.
func asRelayTrouble(me *mailer.Error) *mailer.Error {
	if me.Scope != mailer.ScopeSession {
		return me
	}
	widened := *me
	widened.Scope = mailer.ScopeRelay
	return &widened
}

// tell makes a failure to connect the outcome of a job that waits; it says
// whether there was one.
func (w *worker) tell(me *mailer.Error) bool {
	l := w.lane
	job, t, ok := l.take(w, false)
	if !ok {
		return false
	}
	if me.Scope == mailer.ScopeCampaign {
		l.stopGroup(t.source.group, me)
	}
	l.lanes.metrics.failed(l.label, me)
	t.source.source.Done(Outcome{Index: job.Index, MessageID: job.MessageID, Err: me, At: l.lanes.cfg.Now()})
	return true
}

// Replies by which a relay says that it has too much to do: 421 (RFC 5321,
// closing the connection), 432 (too many connections, of Exchange Online) and
// 454 (a rate limit, of SES). At RCPT they concern the recipient.
const (
	codeShuttingDown = 421
	codeTooMany      = 432
	codeThrottled    = 454
)

// slowDown halves the limit where the relay has too much to do, and says
// whether that is so.
func (l *Lane) slowDown(me *mailer.Error, stamp uint64) bool {
	switch me.Code {
	case codeShuttingDown, codeTooMany, codeThrottled:
	case 0:
		if !isTimeout(me) {
			return false
		}
	default:
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.concurrency.limit
	if l.concurrency.trouble(stamp) {
		l.log.Info().Int("connections", l.concurrency.limit).Int("before", before).
			Str("stage", string(me.Stage)).Int("code", me.Code).
			Msg("the relay has too much to do; fewer connections")
	}
	return true
}

func isTimeout(me *mailer.Error) bool {
	timeout, ok := errors.AsType[net.Error](me.Err)
	return errors.Is(me, os.ErrDeadlineExceeded) || ok && timeout.Timeout() && !errors.Is(me, context.DeadlineExceeded)
}

// lost counts a connection that the relay has let down, and says whether they
// are too many.
func (l *Lane) lost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losses++
	return l.losses > maxLosses*l.concurrency.most
}

// works notes that the relay answers as it should.
func (l *Lane) works() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losses = 0
	changed := !l.gate.open
	l.gate.succeed()
	if l.trouble != "" {
		l.log.Info().Msg("the relay works again")
		l.trouble = ""
	}
	if l.concurrency.success() || changed {
		l.signalLocked()
	}
}

// fails notes trouble of the relay as a whole.
func (l *Lane) fails(me *mailer.Error, probe bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait, counts := l.gate.fail(probe)
	if !counts {
		return
	}
	if l.probeTimer == nil {
		l.probeTimer = time.AfterFunc(wait, l.signal)
	} else {
		l.probeTimer.Reset(wait)
	}
	if l.trouble == "" {
		l.trouble = fmt.Sprintf("relay %s is in trouble: %s; trying again", l.relay.Addr(), me.Public())
		l.logTrouble(me)
	}
}

// logTrouble leaves out what the relay wrote, which may name people.
func (l *Lane) logTrouble(me *mailer.Error) {
	e := l.log.Warn().Str("stage", string(me.Stage))
	if me.Code == 0 {
		e = e.Str("reason", me.Text)
	} else {
		e = e.Int("code", me.Code).Str("enhanced", me.Enhanced)
	}
	e.Msg("the relay is in trouble; trying again")
}

// bearsOthers says whether the relay has sessions although w gets none, so
// that the limit will see to it: w tries again until it is beyond the limit.
func (l *Lane) bearsOthers(w *worker) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.standing > 0 && (l.concurrency.limit > 1 || w.index > 0)
}
