package lane

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"postern/internal/mailer/smtptest"
)

func TestNobodyAsksASourceBehindItsDetach(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Group, func()){
		"detach": func(_ *Group, detach func()) { detach() },
		"Stop":   func(g *Group, _ func()) { g.Stop() },
		"Leave":  func(g *Group, _ func()) { g.Leave() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t, setting{connections: 8})
			steady := k.Join("steady")
			defer steady.Leave()
			k.send(t, steady, "before", 50)
			for range 50 {
				g := k.Join("c")
				l := newList("l", 1000)
				var over atomic.Bool
				l.onTake = func() {
					if over.Load() {
						panic("asked behind its end")
					}
				}
				begun := make(chan struct{})
				begin := sync.OnceFunc(func() { close(begun) })
				l.onDone = func(Outcome) { begin() }
				detach := g.Attach(l)
				waitFor(t, begun, "outcome")
				end(g, detach)
				over.Store(true)
				g.Wake()
				detach()
				g.Leave()
				eventually(t, "all that were taken are done", func() bool { return l.underWay() == 0 })
				l.balanced(t)
			}
		})
	}
}

func TestTheEndOfTheContextCutsOff(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 4})
	g := k.Join("c")
	defer g.Leave()
	k.send(t, g, "before", 20)
	var atDot atomic.Int64
	k.relay.SetHook(func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageDot {
			return smtptest.Action{}
		}
		atDot.Add(1)
		return smtptest.Hang()
	})
	l := newList("l", 100)
	detach := g.Attach(l)
	eventually(t, "all connections have a message under way", func() bool { return atDot.Load() == 4 })
	k.cutOff()
	eventually(t, "all that were taken are done", func() bool { return l.underWay() == 0 })
	l.balanced(t)
	ambiguous := l.count(func(o Outcome) bool { return !isNotStarted(o) && failure(t, o).Ambiguous })
	if ambiguous != 4 || l.count(isSent) != 0 {
		t.Errorf("%d ambiguous outcomes of 4 messages under way", ambiguous)
	}
	if tr := k.Trouble(); tr.Text != "" {
		t.Errorf("the cut-off is held against the relay: %s", tr.Text)
	}
	detach()
}

func TestCloseLetsWhatIsUnderWayFinish(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 1})
	g := k.Join("c")
	k.send(t, g, "before", 1)
	answer := make(chan struct{})
	k.relay.SetHook(smtptest.Times(1, smtptest.At(smtptest.StageDot, smtptest.Action{}.After(answer))))
	l := newList("l", 100)
	detach := g.Attach(l)
	eventually(t, "a message is under way", func() bool { return k.relay.Stats().Transactions == 1 })
	closed := make(chan struct{})
	again := k.lanes.Open(k.Relay())
	go func() {
		defer close(closed)
		again.Close() // not the last one
		k.close()
	}()
	waitFor(t, k.serving.Done(), "end of serving")
	close(answer)
	waitFor(t, closed, "end of the lane")
	detach()
	g.Leave()
	l.balanced(t)
	// The message at hand, and the one whose envelope was with the relay.
	if sent := l.count(isSent); sent < 1 || sent > 2 || k.relay.Count() != sent+1 {
		t.Errorf("%d sent, %d at the relay", sent, k.relay.Count())
	}
	for _, o := range l.results() {
		if o.Err != nil && !isNotStarted(o) {
			t.Errorf("outcome %v", o.Err)
		}
	}
	if st := k.relay.Stats(); st.InUse != 0 || st.Commands["QUIT"] != 1 {
		t.Errorf("%+v", st)
	}
}

// A message whose lease is lost while its envelope is ahead is called off.
func TestAnEnvelopeAheadIsDroppedWithItsLease(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 1})
	g := k.Join("c")
	defer g.Leave()
	k.send(t, g, "before", 1)
	lost := errors.New("the lease is lost")
	var isLost atomic.Bool
	atDot, answer := make(chan struct{}), make(chan struct{})
	reached := sync.OnceFunc(func() { close(atDot) })
	k.relay.SetHook(smtptest.Times(1, func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageDot {
			return smtptest.Action{}
		}
		reached()
		return smtptest.Action{}.After(answer)
	}))
	l := newList("l", 2)
	l.mayCommit = func() error {
		if isLost.Load() {
			return lost
		}
		return nil
	}
	defer g.Attach(l)()
	// Hand and ahead: with the relay's answer outstanding, both are taken.
	waitFor(t, atDot, "final dot")
	eventually(t, "a message is under way and one ahead", func() bool { return l.underWay() == 2 })
	isLost.Store(true)
	close(answer)
	l.wait(t)
	l.balanced(t)
	if out := l.results(); out[0].Err != nil || !isNotStarted(out[1]) {
		t.Errorf("outcomes %v", out)
	}
	if k.relay.CountTo(l.address(1)) != 0 || k.relay.Stats().Commands["MAIL"] != 3 {
		t.Errorf("the relay has %v; %d envelopes", k.relay.PerRecipient(), k.relay.Stats().Commands["MAIL"])
	}
	k.send(t, g, "after", 1)
}

func TestAJobThatMayNotBeginIsPutBack(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 1})
	g := k.Join("c")
	defer g.Leave()
	k.send(t, g, "before", 2)
	l := newList("l", 3)
	l.mayBegin = func() error { return errors.New("the campaign is over") }
	defer g.Attach(l)()
	l.wait(t)
	l.balanced(t)
	if n := l.count(isNotStarted); n != 3 {
		t.Errorf("%d of 3 were not started: %v", n, l.results())
	}
	if st := k.relay.Stats(); st.Commands["MAIL"] != 2 || st.Opened != 1 || !k.isOpen() {
		t.Errorf("%+v", st)
	}
}

func TestOneSourceStays(t *testing.T) {
	t.Parallel()
	k := start(t, setting{connections: 1})
	g := k.Join("c")
	defer g.Leave()
	a, b := newList("a", 0), newList("b", 0)
	detachA, detachB := g.Attach(a), g.Attach(b)
	if !k.MayStay(a) || k.MayStay(b) || !k.MayStay(a) {
		t.Error("not the first that asked stays")
	}
	detachA()
	if !k.MayStay(b) {
		t.Error("nobody stays")
	}
	detachB()
}
