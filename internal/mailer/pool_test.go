package mailer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mailer/smtptest"
)

func newPool(t testing.TB, s *smtptest.Server, opts PoolOptions) *Pool {
	t.Helper()
	opts.Options = optionsFor(t, s)
	p := NewPool(relayAt(s), opts)
	t.Cleanup(p.Close)
	return p
}

func mustGet(t testing.TB, p *Pool) *Session {
	t.Helper()
	s, err := p.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sendBy sends one message through the pool.
func sendBy(ctx context.Context, p *Pool) error {
	s, err := p.Get(ctx)
	if err != nil {
		return err
	}
	defer p.Put(s)
	_, err = s.Send(ctx, anEnvelope, aMessage)
	return err
}

func TestPoolReusesTheLastSession(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	p := newPool(t, relay, PoolOptions{MaxConnections: 2})
	a, b := mustGet(t, p), mustGet(t, p)
	if got, want := p.Stats(), (PoolStats{Open: 2, InUse: 2}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	p.Put(a)
	p.Put(b)
	if got, want := p.Stats(), (PoolStats{Open: 2, Idle: 2}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	if got := mustGet(t, p); got != b {
		t.Error("not the one used last")
	} else {
		p.Put(got)
	}
	p.Close()
	if st := relay.Stats(); st.Commands["QUIT"] != 2 || st.InUse != 0 || st.Opened != 2 {
		t.Errorf("after Close: %+v", st)
	}
	if got := p.Stats(); got != (PoolStats{}) {
		t.Errorf("after Close: %+v", got)
	}
}

func TestPoolUnderLoad(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{DigestOnly: true})
	p := newPool(t, relay, PoolOptions{MaxConnections: 4, MaxMessages: 20})
	var workers sync.WaitGroup
	const each = 100
	for range 16 {
		workers.Go(func() {
			for range each {
				if err := sendBy(t.Context(), p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	st := relay.Stats()
	if st.Accepted != 16*each || st.Peak > 4 {
		t.Errorf("stats %+v", st)
	}
	if want := 16 * each / 20; st.Opened < want || st.Commands["QUIT"] < want-4 {
		t.Errorf("%d connections, %d QUIT: a session carries 20 messages", st.Opened, st.Commands["QUIT"])
	}
	expectClean(t, relay)
}

func TestPoolWaitsForAPlace(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	p := newPool(t, relay, PoolOptions{MaxConnections: 1})
	s := mustGet(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Get(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v while the only place was taken", err)
	}
	p.Put(s)
	if got := mustGet(t, p); got != s {
		t.Error("another session")
	} else {
		p.Put(got)
	}
}

func TestPoolFreesPlacesOfFailures(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Hook: smtptest.Chain(
		smtptest.Times(3, smtptest.At(smtptest.StageGreeting, smtptest.Close())),
		smtptest.Times(3, smtptest.At(smtptest.StageMail, smtptest.Close())),
	)})
	p := newPool(t, relay, PoolOptions{MaxConnections: 1})
	for i := range 6 {
		e := asError(t, sendBy(t.Context(), p))
		if want := []Stage{StageGreeting, StageMail}[i/3]; e.Stage != want {
			t.Errorf("%d: %v", i, e)
		}
	}
	if err := sendBy(t.Context(), p); err != nil {
		t.Error(err)
	}
	if got, want := p.Stats(), (PoolStats{Open: 1, Idle: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

// A relay that closes idle connections, with a word or without, costs nobody
// anything.
func TestPoolNoticesClosedSessions(t *testing.T) {
	t.Parallel()
	for name, useTLS := range map[string]bool{"clear": false, "TLS": true} {
		for kind, action := range map[string]smtptest.Action{
			"silently": smtptest.Close(), "with 421": smtptest.Reply("421 4.4.2 idle for too long"),
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				idle := make(chan struct{})
				closing := smtptest.OnConn(1, smtptest.At(smtptest.StageDone, action.After(idle)))
				relay, to, opts := guardedRelay(t, smtptest.Config{ClearAuth: true, Hook: closing})
				to.UseTLS = useTLS
				p := NewPool(to, PoolOptions{Options: opts})
				defer p.Close()
				if err := sendBy(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				s := p.idle[0].Session
				if !s.alive() {
					t.Error("not alive while the relay keeps it")
				}
				close(idle)
				waitUntil(t, func() bool { return !s.alive() })
				if err := sendBy(t.Context(), p); err != nil {
					t.Error(err)
				}
				if n := relay.Stats().Opened; n != 2 {
					t.Errorf("%d connections", n)
				}
			})
		}
	}
}

// waitUntil polls for what other ends of connections do.
func waitUntil(t testing.TB, what func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !what(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
	}
}

func TestPoolEndsIdleSessions(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	p := newPool(t, relay, PoolOptions{IdleTimeout: 30 * time.Millisecond, MaxConnections: 3})
	a, b, c := mustGet(t, p), mustGet(t, p), mustGet(t, p)
	p.Put(a)
	p.Put(b)
	waitUntil(t, func() bool { return relay.Stats().Commands["QUIT"] == 2 && p.Stats() == PoolStats{Open: 1, InUse: 1} })
	p.Put(c)
	waitUntil(t, func() bool { return relay.Stats().InUse == 0 })
	if err := sendBy(t.Context(), p); err != nil {
		t.Error(err)
	}
}

// The one timer follows the session that has been idle longest.
func TestPoolIdleTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Relay{}, PoolOptions{IdleTimeout: 10 * time.Second})
		ended := func() *Session {
			s := &Session{broken: true, raw: closable{}}
			p.places <- struct{}{}
			p.inUse++
			return s
		}
		a, b := ended(), ended()
		// Put ends broken sessions; what is looked at here is the idle list.
		p.push(a)
		<-p.places
		time.Sleep(6 * time.Second)
		p.push(b)
		<-p.places
		for _, want := range []int{2, 1, 0} {
			synctest.Wait()
			if got := p.Stats().Idle; got != want {
				t.Errorf("%d idle, want %d", got, want)
			}
			time.Sleep(5 * time.Second)
		}
		p.Close()
	})
}

func TestPoolAfterClose(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	p := newPool(t, relay, PoolOptions{})
	s := mustGet(t, p)
	p.Close()
	if _, err := p.Get(t.Context()); !errors.Is(err, errPoolClosed) {
		t.Errorf("Get after Close: %v", err)
	}
	mustSend(t, s)
	p.Put(s)
	if relay.Stats().InUse != 0 || p.Stats().Open != 0 {
		t.Error("a session outlived the pool")
	}
}

// recorder is an Observer.
type recorder struct {
	opened  atomic.Int64
	mu      sync.Mutex
	failed  []Stage
	replies map[Stage]int
}

func (r *recorder) ConnectionOpened() { r.opened.Add(1) }

func (r *recorder) Failed(e *Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, e.Stage)
}

func (r *recorder) Replied(stage Stage, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if took > 0 && took < time.Minute {
		r.replies[stage]++
	}
}

func TestObserver(t *testing.T) {
	t.Parallel()
	relay, to, opts := guardedRelay(t, smtptest.Config{Hook: smtptest.RefuseRecipient("gone@b.test")})
	seen := &recorder{replies: map[Stage]int{}}
	opts.Observer = seen
	s, err := attempt(t.Context(), to, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(t.Context(), Envelope{From: "a@a.test", To: "gone@b.test"}, aMessage); err == nil {
		t.Error("sent")
	}
	s.Quit()
	to.Password = "wrong"
	if _, err := Dial(t.Context(), to, opts); err == nil {
		t.Error("authenticated")
	}
	relay.Close()
	if _, err := Dial(t.Context(), to, opts); err == nil {
		t.Error("dialled")
	}
	if len(seen.failed) != 3 || seen.failed[0] != StageRcpt || seen.failed[1] != StageAuth || seen.failed[2] != StageDial {
		t.Errorf("failed %v", seen.failed)
	}
	for stage, want := range map[Stage]int{
		StageGreeting: 2, StageHello: 4, StageTLS: 2, StageAuth: 2, StageMail: 2, StageRcpt: 2, StageData: 2, StageDot: 1,
	} {
		if got := seen.replies[stage]; got != want {
			t.Errorf("%s: %d replies, want %d", stage, got, want)
		}
	}
	if n := seen.opened.Load(); n != 1 {
		t.Errorf("%d opened", n)
	}
}
