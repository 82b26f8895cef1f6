package lane

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
)

func TestTasksShareTheConnections(t *testing.T) {
	t.Parallel()
	slow := smtptest.At(smtptest.StageDot, smtptest.Action{}.Delay(2*time.Millisecond))
	first := start(t, setting{connections: 4, relay: smtptest.Config{Hook: slow}})
	g := first.Join("c")
	defer g.Leave()
	mine := newList("mine", 2000)
	mine.putBackTo(g)
	defer g.Attach(mine)()
	eventually(t, "the first task has all connections", func() bool { return first.relay.Stats().InUse == 4 })

	second := &kit{relay: first.relay, cells: first.cells, owner: "second"}
	second.open(t, setting{connections: 4})
	other := second.Join("c")
	defer other.Leave()
	theirs := newList("theirs", 200)
	theirs.putBackTo(other)
	defer other.Attach(theirs)()
	theirs.wait(t)
	mine.wait(t)

	for _, l := range []*list{mine, theirs} {
		l.balanced(t)
		for _, o := range l.results() {
			if o.Err != nil && !isNotStarted(o) {
				t.Errorf("%s: %v", l.name, o.Err)
			}
		}
	}
	for address, n := range first.relay.PerRecipient() {
		if n != 1 {
			t.Errorf("%s has %d messages", address, n)
		}
	}
	st := first.relay.Stats()
	if st.Peak > 4 || st.Accepted != 2200 {
		t.Errorf("%d messages over up to %d connections", st.Accepted, st.Peak)
	}
	if st.Opened > 30 {
		t.Errorf("%d connections were opened", st.Opened)
	}
}

// A permit that is called back while messages are under way: the message is
// finished, the connection ended, and only then another may open one.
func TestARevokedPermitIsGivenBackBehindTheMessage(t *testing.T) {
	t.Parallel()
	first := start(t, setting{connections: 2})
	g := first.Join("c")
	defer g.Leave()
	answer := make(chan struct{})
	atDot := smtptest.At(smtptest.StageDot, smtptest.Action{}.After(answer))
	first.send(t, g, "before", 2)
	first.relay.SetHook(smtptest.Chain(smtptest.OnConn(1, atDot), smtptest.OnConn(2, atDot)))
	l := newList("l", 20)
	l.putBackTo(g)
	defer g.Attach(l)()
	eventually(t, "messages are under way", func() bool { return first.relay.Stats().Transactions == 2 })

	second := &kit{relay: first.relay, cells: first.cells, owner: "second"}
	second.open(t, setting{connections: 2})
	other := second.Join("c")
	defer other.Leave()
	theirs := newList("theirs", 20)
	theirs.putBackTo(other)
	defer other.Attach(theirs)()
	eventually(t, "a permit is revoked", func() bool { return first.share.Stats().Connections == 1 })
	if st := first.relay.Stats(); st.Opened != 2 || st.Transactions != 2 {
		t.Errorf("while the messages are under way: %+v", st)
	}
	close(answer)
	theirs.wait(t)
	l.wait(t)
	if st := first.relay.Stats(); st.Peak != 2 || st.Accepted != 42 {
		t.Errorf("%+v", st)
	}
	for _, o := range l.results() {
		if o.Err != nil && !isNotStarted(o) {
			t.Errorf("outcome %v", o.Err)
		}
	}
}

func TestTheRateHolds(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 4, change: func(c *Config, _ *mailer.Relay) { c.Caps.Rate = 100 }})
	g := k.Join("c")
	defer g.Leave()
	began := time.Now()
	k.send(t, g, "l", 50)
	// A burst of 2 % at once, then one each 10 ms.
	if took := time.Since(began); took < 450*time.Millisecond || took > 30*time.Second {
		t.Errorf("50 messages at 100 a second took %v", took)
	}
}

func TestASlowRateNeedsFewConnections(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 16, change: func(c *Config, _ *mailer.Relay) { c.Caps.Rate = 20 }})
	g := k.Join("c")
	defer g.Leave()
	k.send(t, g, "l", 20)
	if n := k.relay.Stats().Opened; n > 8 {
		t.Errorf("%d connections of 16 for 20 messages a second", n)
	}
}

func TestTheDaysMessagesHold(t *testing.T) {
	t.Parallel()
	var later atomic.Int64 // hours that have passed
	k := start(t, setting{connections: 2, change: func(c *Config, _ *mailer.Relay) {
		c.Caps.Daily = 5
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load()) * time.Hour) }
	}})
	g := k.Join("c")
	defer g.Leave()
	l := newList("l", 10)
	defer g.Attach(l)()
	eventually(t, "the day's budget is exhausted", func() bool { return k.Trouble().Parked && l.count(isSent) == 5 })
	tr := k.Trouble()
	if !strings.Contains(tr.Text, "has had its 5 messages of the last 24 hours; more from 20") {
		t.Errorf("text %q", tr.Text)
	}
	if !tr.Since.IsZero() || tr.NextProbe != dayMax || !tr.Known {
		t.Errorf("trouble %+v", tr)
	}
	if k.MayStay(l) {
		t.Error("somebody stays to probe a relay that is well")
	}
	g.Wake()
	l.balanced(t)
	if n := k.relay.Count(); n != 5 {
		t.Errorf("%d messages", n)
	}

	later.Store(25)
	g.Wake() // instead of waiting for the lane's own look
	l.wait(t)
	l.balanced(t)
	if tr := k.Trouble(); k.relay.Count() != 10 || !tr.Parked && tr.Text != "" {
		t.Errorf("%d messages; trouble %+v", k.relay.Count(), tr)
	}
}
