package lane

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
)

func TestEveryoneGetsOneMessage(t *testing.T) {
	t.Parallel()
	for name, extensions := range map[string][]string{
		"pipelining": nil, "one by one": {"8BITMIME"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t, setting{connections: 8, relay: smtptest.Config{Extensions: extensions}})
			g := k.Join("c")
			defer g.Leave()
			var lists []*list
			for i := range 4 {
				l := newList(fmt.Sprint("list", i), 250)
				lists = append(lists, l)
				t.Cleanup(g.Attach(l))
			}
			for _, l := range lists {
				l.wait(t)
				l.balanced(t)
				if n := l.count(isSent); n != 250 {
					t.Errorf("%s: %d sent", l.name, n)
				}
			}
			for address, n := range k.relay.PerRecipient() {
				if n != 1 {
					t.Errorf("%s has %d messages", address, n)
				}
			}
			if st := k.relay.Stats(); st.Accepted != 1000 || st.Peak > 8 {
				t.Errorf("%d messages over %d connections", st.Accepted, st.Peak)
			}
			if v := k.relay.Violations(); v.Total() != 0 {
				t.Errorf("violations %+v", v)
			}
		})
	}
}

func TestAnOutcomeTellsWhatTheRelayTook(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 2})
	g := k.Join("c")
	defer g.Leave()
	l := newList("l", 20)
	defer g.Attach(l)()
	l.wait(t)
	// The digest is over the digests of segments, so it is compared with one
	// that is made anew.
	w := newUnderWay(nil)
	for _, o := range l.results() {
		if o.Err != nil || o.Reply.Code != 250 || o.At.IsZero() {
			t.Fatalf("outcome %+v", o)
		}
		if want := fmt.Sprintf("l.%d@sender.test", o.Index); o.MessageID != want {
			t.Errorf("Message-ID %s, want %s", o.MessageID, want)
		}
		j := newList("l", o.Index+1)
		j.open = []int{o.Index}
		job, _ := j.Take()
		if err := job.Letter.Render(&w.message, job.Recipient, job.MessageID); err != nil {
			t.Fatal(err)
		}
		if want := w.message.Digest(); !bytes.Equal(o.Digest, want[:]) {
			t.Errorf("digest of %d is not its message's", o.Index)
		}
	}
}

func TestTurnsAreTheGroups(t *testing.T) {
	t.Parallel()
	both := make(chan struct{})
	k := start(t, setting{connections: 4, relay: smtptest.Config{
		Hook: smtptest.At(smtptest.StageGreeting, smtptest.Action{}.After(both)),
	}})
	large, small := k.Join("large"), k.Join("small")
	defer large.Leave()
	defer small.Leave()
	var many []*list
	for i := range 4 {
		l := newList(fmt.Sprint("large", i), 1000)
		many = append(many, l)
		t.Cleanup(large.Attach(l))
	}
	few := newList("small", 20)
	ofLarge := make(chan int, 1)
	few.onTake = func() {
		if few.underWay()+len(few.results()) != 19 {
			return // this is not the last one
		}
		n := 0
		for _, l := range many {
			n += l.underWay() + len(l.results())
		}
		ofLarge <- n
	}
	defer small.Attach(few)()
	close(both)
	few.wait(t)
	// By turns: as many of the large one, give or take a worker's.
	if n := <-ofLarge; n < 15 || n > 25 {
		t.Errorf("the large campaign had %d of its jobs taken while the small one had its 20", n)
	}
	for _, l := range many {
		l.wait(t)
		l.balanced(t)
	}
}

func TestAMessageThatCannotBeMadeIsItsRecipientsAlone(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 2})
	g := k.Join("c")
	defer g.Leave()
	l := newList("l", 40)
	l.firstName = func(i int) string { return strings.Repeat("x", i%4*400) } // 1,200 are too many for a name
	defer g.Attach(l)()
	l.wait(t)
	l.balanced(t)
	for _, o := range l.results() {
		if o.Index%4 < 3 {
			if o.Err != nil {
				t.Errorf("outcome of %d: %v", o.Index, o.Err)
			}
		} else if me := failure(t, o); me.Stage != mailer.StageLetter || me.Scope != mailer.ScopeRecipient {
			t.Errorf("outcome of %d: %+v", o.Index, me)
		}
	}
	if n := k.relay.Count(); n != 30 || !k.isOpen() {
		t.Errorf("%d messages of 30; gate open %v", n, k.isOpen())
	}
}

func TestNoConnectionWithoutAJob(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 4})
	g := k.Join("c")
	defer g.Leave()
	l := newList("l", 1)
	l.open = nil
	defer g.Attach(l)()
	g.Wake()
	k.send(t, k.Join("other"), "other", 1)
	if st := k.relay.Stats(); st.Opened != 1 {
		t.Errorf("%d connections for one message", st.Opened)
	}
}

func TestASessionCarriesItsMessagesAndNoMore(t *testing.T) {
	t.Parallel()
	k := start(t, setting{
		connections: 2, relay: smtptest.Config{MaxMessages: 5},
		change: func(c *Config, _ *mailer.Relay) { c.MessagesPerConnection = 5 },
	})
	g := k.Join("c")
	defer g.Leave()
	k.send(t, g, "l", 50)
	if st := k.relay.Stats(); st.Opened < 10 || st.Opened > 12 || st.Peak > 2 || st.Commands["MAIL"] != 50 {
		t.Errorf("50 messages: %+v", st)
	}
}

func TestIdleSessionsEndAndGiveTheirPermitsBack(t *testing.T) {
	t.Parallel()
	k := start(t, setting{
		connections: 4,
		change:      func(c *Config, _ *mailer.Relay) { c.IdleTimeout = 50 * time.Millisecond },
	})
	g := k.Join("c")
	defer g.Leave()
	k.send(t, g, "l", 50)
	eventually(t, "the connections end", func() bool {
		return k.relay.Stats().InUse == 0 && k.share.Stats().InUse == 0
	})
	if quits := k.relay.Stats().Commands["QUIT"]; quits != k.relay.Stats().Opened {
		t.Errorf("%d of %d sessions ended with QUIT", quits, k.relay.Stats().Opened)
	}
	k.send(t, g, "more", 10)
}

func TestAStaleSessionCostsNobodyAnything(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 1})
	g := k.Join("c")
	defer g.Leave()
	k.send(t, g, "l", 3)
	k.rest(t)
	k.relay.DropConnections()
	eventually(t, "the connection is gone", func() bool { return k.relay.Stats().InUse == 0 })
	k.send(t, g, "more", 3)
	if st := k.relay.Stats(); st.Opened != 2 {
		t.Errorf("%d connections, want 2", st.Opened)
	}
}

func TestARelayThatLosesStepIsSpokenToStepByStep(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 1, relay: smtptest.Config{
		Hook: smtptest.OnConn(1, smtptest.At(smtptest.StageRcpt, smtptest.Reply("250 2.1.5 OK").Inject("250 2.1.5 again\r\n"))),
	}})
	g := k.Join("c")
	defer g.Leave()
	l := newList("l", 5)
	l.again = true
	l.onDone = func(Outcome) { g.Wake() }
	defer g.Attach(l)()
	l.wait(t)
	l.balanced(t)
	if opts, _ := k.opening(); !opts.StepByStep {
		t.Error("the lane still pipelines")
	}
}
