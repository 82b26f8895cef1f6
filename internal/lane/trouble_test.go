package lane

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
)

func TestOneProbeAtATimeUntilTheRelayWorks(t *testing.T) {
	t.Parallel()
	var mails atomic.Int64
	second, looked := make(chan time.Time, 1), make(chan struct{})
	k := start(t, setting{connections: 8, relay: smtptest.Config{Hook: func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageMail {
			return smtptest.Action{}
		}
		switch mails.Add(1) {
		case 1:
			return smtptest.Reply("451 4.3.0 out of order")
		case 2: // the next probe
			second <- time.Now()
			return smtptest.Action{}.After(looked)
		default:
			return smtptest.Action{}
		}
	}}})
	if tr := k.Trouble(); tr.Known || tr.Text != "" || !tr.Since.IsZero() {
		t.Errorf("before anything was sent: %+v", tr)
	}
	g := k.Join("c")
	defer g.Leave()
	l := newList("l", 30)
	began := time.Now()
	probed := make(chan Outcome, 30)
	l.onDone = func(o Outcome) { probed <- o }
	defer g.Attach(l)()

	if me := failure(t, <-probed); me.Scope != mailer.ScopeRelay || me.Stage != mailer.StageMail {
		t.Errorf("the probe's failure is %+v", me)
	}
	tr := k.Trouble()
	if !tr.Known || !strings.Contains(tr.Text, "451 4.3.0") || tr.Since.Before(began) || tr.NextProbe < gateMin/2 || tr.Parked {
		t.Errorf("after the first probe: %+v", tr)
	}
	close(looked)
	l.wait(t)
	l.balanced(t)
	if waited := (<-second).Sub(began); waited < gateMin*3/4 {
		t.Errorf("the second probe came after %v", waited)
	}
	if n := l.count(isSent); n != 29 {
		t.Errorf("%d sent", n)
	}
	if tr := k.Trouble(); !tr.Known || tr.Text != "" || !tr.Since.IsZero() {
		t.Errorf("the relay works again, and %+v", tr)
	}
}

func TestRecipientsFailuresAreNoTroubleOfTheRelay(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"550 5.1.1 no such user", "454 4.7.1 relay access denied", "451 4.7.1 greylisted"} {
		t.Run(reply[:3], func(t *testing.T) {
			t.Parallel()
			k := start(t, setting{connections: 4, relay: smtptest.Config{Hook: smtptest.At(smtptest.StageRcpt, smtptest.Reply(reply))}})
			g := k.Join("c")
			defer g.Leave()
			l := newList("l", 30)
			defer g.Attach(l)()
			l.wait(t)
			l.balanced(t)
			for _, o := range l.results() {
				if me := failure(t, o); me.Scope != mailer.ScopeRecipient {
					t.Errorf("outcome %+v", me)
				}
			}
			if !k.isOpen() || k.limit() != 4 {
				t.Errorf("gate open %v, limit %d", k.isOpen(), k.limit())
			}
		})
	}
}

func TestTheLimitIsHalvedWhenTheRelayHasTooMuchToDo(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]smtptest.Hook{
		"421 at MAIL":     smtptest.At(smtptest.StageMail, smtptest.Reply("421 4.7.0 busy")),
		"421 at the dot":  smtptest.At(smtptest.StageDot, smtptest.Reply("421 4.3.2 shutting down").ThenClose()),
		"432 at MAIL":     smtptest.At(smtptest.StageMail, smtptest.Reply("432 4.3.2 too many connections")),
		"454 at the dot":  smtptest.At(smtptest.StageDot, smtptest.Reply("454 Throttling failure")),
		"silence at RCPT": smtptest.At(smtptest.StageRcpt, smtptest.Hang()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t, setting{connections: 8, change: func(c *Config, _ *mailer.Relay) {
				if name == "silence at RCPT" {
					c.Session.Timeouts.Longest = 5 * time.Second
				}
			}})
			g := k.Join("c")
			defer g.Leave()
			k.send(t, g, "before", 50)
			if k.limit() != 8 {
				t.Fatalf("the limit is %d after 50 messages", k.limit())
			}
			k.relay.SetHook(smtptest.Times(1, act))
			l := newList("trouble", 1)
			defer g.Attach(l)()
			l.wait(t)
			if l.count(isSent) != 0 {
				t.Fatal("there was no trouble")
			}
			if k.limit() != 4 {
				t.Errorf("the limit is %d, want 4", k.limit())
			}
			k.send(t, g, "slowly", growEvery*4)
			if k.limit() != 5 {
				t.Errorf("the limit is %d after %d messages, want 5", k.limit(), growEvery*4)
			}
		})
	}
}

func TestOneConnectionTooManyIsNoTrouble(t *testing.T) {
	t.Parallel()
	// From some messages on, the relay answers none until it has refused a connection.
	var dots atomic.Int64
	refused := make(chan struct{})
	refusing := sync.OnceFunc(func() { close(refused) })
	k := start(t, setting{connections: 8, relay: smtptest.Config{MaxConnections: 3, Hook: func(e smtptest.Event) smtptest.Action {
		if e.Stage == smtptest.StageGreeting && e.Conn > 3 {
			refusing()
		}
		if e.Stage == smtptest.StageDot && dots.Add(1) > 20 {
			return smtptest.Action{}.After(refused)
		}
		return smtptest.Action{}
	}}})
	g := k.Join("c")
	defer g.Leave()
	var closed atomic.Bool
	l := newList("l", 400)
	l.onDone = func(Outcome) {
		if !k.isOpen() {
			closed.Store(true)
		}
	}
	defer g.Attach(l)()
	l.wait(t)
	if n := l.count(isSent); n != 400 || closed.Load() {
		t.Errorf("%d of 400 sent; gate closed %v", n, closed.Load())
	}
	if k.limit() == 8 {
		t.Errorf("the limit grew back to %d for a relay that takes 3 connections", k.limit())
	}
}

func TestAConnectionThatDoesNotOpenIsTheRelaysTrouble(t *testing.T) {
	t.Parallel()
	opened := make(chan time.Time, 100)
	k := start(t, setting{connections: 4, relay: smtptest.Config{Hook: func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageGreeting {
			return smtptest.Action{}
		}
		opened <- time.Now()
		return smtptest.Reply("421 4.3.2 not now").ThenClose()
	}}})
	g := k.Join("c")
	defer g.Leave()
	l := newList("l", 10)
	told := make(chan Outcome, 10)
	l.onDone = func(o Outcome) { told <- o }
	defer g.Attach(l)()
	me := failure(t, <-told)
	if me.Scope != mailer.ScopeRelay || me.Stage != mailer.StageGreeting || me.Code != 421 {
		t.Errorf("outcome %+v", me)
	}
	tr := k.Trouble()
	if tr.Text == "" || tr.Since.IsZero() || !tr.Known {
		t.Errorf("trouble %+v", tr)
	}
	first, second := <-opened, <-opened
	if waited := second.Sub(first); waited < gateMin*3/4 {
		t.Errorf("the second connection came %v behind that of the first probe", waited)
	}
}

func TestConnectionsLostOneAfterAnotherAreTheRelaysTrouble(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 2})
	g := k.Join("c")
	defer g.Leave()
	k.send(t, g, "before", 20)
	k.relay.SetHook(smtptest.At(smtptest.StageContent, smtptest.Close()))
	l := newList("l", 100)
	defer g.Attach(l)()
	failures := func() int {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.gate.failures
	}
	lost := 0
	eventually(t, "the gate is closed, and all that was under way is lost", func() bool {
		closings := failures()
		probes := closings - 1 // each has lost one more
		lost = l.count(func(o Outcome) bool { return !isNotStarted(o) }) - probes
		return closings > 0 && l.underWay() == 0 && failures() == closings
	})
	if k.Trouble().Text == "" {
		t.Error("the relay is not in trouble")
	}
	if least := maxLosses*2 + 1; lost < least || lost > least+2 {
		t.Errorf("the gate closed after %d losses, want about %d", lost, least)
	}
	if l.count(isSent) != 0 {
		t.Error("a message was taken")
	}
}

func TestARefusedSenderStopsItsGroupAtOnceAndNoOther(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 8, relay: smtptest.Config{Hook: func(e smtptest.Event) smtptest.Action {
		if e.Stage == smtptest.StageMail && strings.Contains(e.Command, "bad@sender.test") {
			return smtptest.Reply("553 5.7.1 not yours")
		}
		return smtptest.Action{}
	}}})
	good, bad := k.Join("good"), k.Join("bad")
	defer good.Leave()
	defer bad.Leave()
	k.send(t, good, "before", 30)

	refused := newList("bad", 500)
	refused.from = "bad@sender.test"
	var over atomic.Bool
	refused.onDone = func(o Outcome) {
		if !isNotStarted(o) {
			over.Store(true)
		}
	}
	refused.onTake = func() {
		if over.Load() {
			t.Error("a recipient was taken after the campaign was refused")
		}
	}
	defer bad.Attach(refused)()
	k.send(t, good, "after", 300)
	eventually(t, "the refusal is told, and nothing is under way", func() bool { return over.Load() && refused.underWay() == 0 })
	refused.balanced(t)
	campaigns := refused.count(func(o Outcome) bool { return !isNotStarted(o) })
	if campaigns < 1 || campaigns > 8 || refused.count(isSent) > 0 {
		t.Errorf("%d refusals of 8 connections", campaigns)
	}
	if !k.isOpen() {
		t.Error("the gate is closed")
	}
}

func TestRefusedCredentialsAreTriedOnceForAllGroups(t *testing.T) {
	t.Parallel()
	k := start(t, setting{
		connections: 8, relay: smtptest.Config{Users: map[string]string{"u": "right"}, Mechanisms: []string{"CRAM-MD5"}},
		change: func(_ *Config, r *mailer.Relay) { r.Username, r.Password = "u", "wrong" },
	})
	var lists []*list
	k.mu.Lock() // all groups are there before anybody connects
	for _, name := range []string{"a", "b", "c"} {
		l, g := newList(name, 10), &Group{lane: k.Lane, id: name}
		lists = append(lists, l)
		k.groups = append(k.groups, g)
		g.sources = []*attachment{{group: g, source: l, wakes: 1}}
	}
	k.mu.Unlock()
	k.signal()
	for _, l := range lists {
		eventually(t, l.name+" is told", func() bool { return len(l.results()) > 0 })
		if me := failure(t, l.results()[0]); me.Scope != mailer.ScopeCampaign || me.Stage != mailer.StageAuth || len(l.results()) > 1 {
			t.Errorf("outcomes of %s: %v", l.name, l.results())
		}
	}
	if n := k.relay.Stats().AuthFailures; n != 1 {
		t.Errorf("the password was tried %d times", n)
	}
}
