package lane

import (
	"fmt"
	"time"
)

// dayWait is a wait for the budget's day.
type dayWait struct {
	until time.Time // zero when there is none
	noted time.Time // the one that was logged
	timer *time.Timer
}

// dayLook is how often a lane that waits for its relay's day reads the clock,
// which may be set.
const dayLook = time.Minute

// dayOver says whether the relay has had its messages of the day. When the
// time has come, only trying tells.
func (l *Lane) dayOver() (until time.Time, is bool) {
	until, is = l.share.DayExhausted()
	return until, is && l.lanes.cfg.Now().Before(until)
}

// dayIsOver is dayOver for a worker that waits for it: one will look again
// later.
func (l *Lane) dayIsOver() bool {
	until, is := l.dayOver()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !is {
		l.day.until = time.Time{}
		return false
	}
	l.noteDay(until)
	l.day.until = until
	wait := min(max(until.Sub(l.lanes.cfg.Now()), time.Second), dayLook)
	if l.day.timer == nil {
		l.day.timer = time.AfterFunc(wait, l.signal)
	} else {
		l.day.timer.Reset(wait)
	}
	return true
}

// noteDay counts and logs the end of the relay's day once, with the lock held.
func (l *Lane) noteDay(until time.Time) {
	if until.Equal(l.day.noted) {
		return
	}
	l.day.noted = until
	l.lanes.metrics.daysOver.WithLabelValues(l.label).Inc()
	l.log.Warn().Time("until", until).Msg("the relay has had its messages of the day")
}

// Trouble is what keeps a lane from sending.
type Trouble struct {
	// Text is for the campaigns' owners, from mailer.Error.Public; "" when there
	// is no trouble.
	Text string
	// Since is when the relay's trouble began, on the monotonic clock; zero
	// without trouble, and while only the day's budget is exhausted, which
	// nobody should give up for.
	Since time.Time
	// NextProbe is how long it is until the relay is tried again, or the day's
	// budget looked at.
	NextProbe time.Duration
	// Parked: the trouble lasts, so sources that only wait should give their
	// places to other relays'; see MayStay.
	Parked bool
	// Known is false as long as nothing has been heard of the relay yet.
	Known bool
}

// dayMax is the longest wait for the day's budget before another look: other
// tasks may give back what they have reserved.
const dayMax = 10 * time.Minute

// Trouble says how the relay is.
func (l *Lane) Trouble() Trouble {
	until, is := l.dayOver()
	l.mu.Lock()
	defer l.mu.Unlock()
	if is {
		l.noteDay(until)
		return Trouble{
			Text: fmt.Sprintf("relay %s has had its %d messages of the last 24 hours; more from %s",
				l.relay.Addr(), l.lanes.cfg.Caps.Daily, until.UTC().Format(time.RFC3339)),
			NextProbe: min(max(until.Sub(l.lanes.cfg.Now()), gateMin), dayMax), Parked: true, Known: true,
		}
	}
	t := Trouble{Text: l.trouble, Known: l.trouble != "" || l.gate.open}
	if !l.gate.open && l.gate.failures > 0 {
		t.Since = l.gate.since
		t.NextProbe = max(time.Until(l.gate.nextAt), gateMin)
		t.Parked = l.gate.failures >= parkAfter
	}
	return t
}

// MayStay says whether s is the one attached source that keeps its place while
// the relay is in trouble, to probe it: the first that asks, until it is
// detached. Nobody needs to stay while the day's budget is exhausted.
func (l *Lane) MayStay(s Source) bool {
	if _, is := l.dayOver(); is {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.staying == nil {
		l.staying = s
	}
	return l.staying == s
}
