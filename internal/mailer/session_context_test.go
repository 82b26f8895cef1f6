package mailer

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"postern/internal/mailer/smtptest"
)

// The end of a context interrupts what is under way with it, and nothing else.
func TestContextsOfASession(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{})
	relay := startRelay(t, smtptest.Config{Hook: afterMessages(3, func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageDot {
			return smtptest.Action{}
		}
		close(reached)
		return smtptest.Hang()
	})})
	s := dialRelay(t, relay)
	s.timeouts = Timeouts{Longest: time.Minute}.withDefaults() // so that deadlines are left as they stand
	all := mails(4)
	for i := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := s.Send(ctx, all[i], nil); err != nil {
			t.Fatal(err)
		}
		cancel() // between two calls
		waitUntil(t, func() bool {
			s.line.mu.Lock()
			defer s.line.mu.Unlock()
			return s.line.ended
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Send(ctx, all[2], all[3]); err != nil {
		t.Fatal(err)
	}
	go func() { // the same context again
		waitFor(t, reached, "final dot")
		cancel()
	}()
	_, err := s.Send(ctx, all[3], nil)
	expectError(t, err, Error{Stage: StageDot, Scope: ScopeSession, Temporary: true, Ambiguous: true})
	if !errors.Is(err, context.Canceled) || s.Usable() {
		t.Errorf("%v; usable: %v", err, s.Usable())
	}
	expectTaken(t, relay, 0, 1, 2)
}

func TestContextThatEndedBeforeTheMessageAhead(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	s := dialRelay(t, relay)
	all := mails(2)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Send(ctx, all[0], all[1]); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err := s.Send(ctx, all[1], nil)
	expectError(t, err, Error{Stage: StageMail, Scope: ScopeSession, Temporary: true})
	if !errors.Is(err, context.Canceled) || s.Usable() {
		t.Errorf("%v; usable: %v", err, s.Usable())
	}
	expectTaken(t, relay, 0)
}

// A watch that was ended and fires all the same interrupts nobody.
func TestWatchThatFiresLate(t *testing.T) {
	t.Parallel()
	s := dialRelay(t, startRelay(t, smtptest.Config{}))
	s.line.begin(t.Context())
	s.line.contextEnded(s.line.watch - 1)
	if s.line.end() {
		t.Error("interrupted by the watch before")
	}
	mustSend(t, s)
}

// A deadline is set again when it would give a step too little or too much.
func TestNearDeadlines(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for left, want := range map[time.Duration]bool{
		-time.Second: false, 0: false, 14 * time.Second: false,
		15 * time.Second: true, 16 * time.Second: true, 17 * time.Second: false,
	} {
		if got := near(now.Add(left), now, 16*time.Second); got != want {
			t.Errorf("%s left of 16 s: %v", left, got)
		}
	}
	if near(time.Time{}, now, time.Second) {
		t.Error("no deadline is near")
	}
}

// A relay that closes idle connections, with a word or without, is noticed
// without a message that fails.
func TestAlive(t *testing.T) {
	t.Parallel()
	for name, useTLS := range map[string]bool{"clear": false, "TLS": true} {
		for kind, action := range map[string]smtptest.Action{
			"silently": smtptest.Close(), "with 421": smtptest.Reply("421 4.4.2 idle for too long"),
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				idle := make(chan struct{})
				closing := smtptest.At(smtptest.StageDone, action.After(idle))
				_, to, opts := guardedRelay(t, smtptest.Config{ClearAuth: true, Hook: closing})
				to.UseTLS = useTLS
				s, err := attempt(t.Context(), to, opts)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if !s.Alive() {
					t.Error("not alive while the relay keeps it")
				}
				close(idle)
				waitUntil(t, func() bool { return !s.Alive() })
			})
		}
	}
}

func TestAliveWithAnEnvelopeAhead(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	s := dialRelay(t, relay)
	all := mails(2)
	if _, err := s.Send(t.Context(), all[0], all[1]); err != nil || !s.Alive() {
		t.Fatalf("%v; alive: %v", err, s.Alive())
	}
	s.Close()
	if s.Alive() {
		t.Error("alive after Close")
	}
}

func TestObserver(t *testing.T) {
	t.Parallel()
	_, to, opts := guardedRelay(t, smtptest.Config{Hook: smtptest.RefuseRecipient("gone@b.test")})
	seen := &recorder{replies: map[Stage]int{}}
	opts.Observer = seen
	s, err := attempt(t.Context(), to, opts)
	if err != nil {
		t.Fatal(err)
	}
	gone := mailOf(Envelope{From: "a@a.test", To: "gone@b.test"}, aMessage)
	if _, err := s.Send(t.Context(), mails(1)[0], gone); err != nil {
		t.Error(err)
	}
	if _, err := s.Send(t.Context(), gone, nil); err == nil {
		t.Error("sent")
	}
	s.Quit()
	to.Password = "wrong"
	if _, err := Dial(t.Context(), to, opts); err == nil {
		t.Error("authenticated")
	}
	to.Port, opts.Rules = 1, mustRules(t, []int{1}, "127.0.0.1") // where nobody listens
	if _, err := Dial(t.Context(), to, opts); err == nil {
		t.Error("dialled")
	}
	if want := []Stage{StageRcpt, StageAuth, StageDial}; !slices.Equal(seen.failed, want) {
		t.Errorf("failed %v", seen.failed)
	}
	for stage, want := range map[Stage]int{
		StageGreeting: 2, StageHello: 4, StageTLS: 2, StageAuth: 2, StageMail: 3, StageRcpt: 3, StageData: 3, StageDot: 2,
	} {
		if got := seen.replies[stage]; got != want {
			t.Errorf("%s: %d replies, want %d", stage, got, want)
		}
	}
	if n := seen.opened.Load(); n != 1 {
		t.Errorf("%d opened", n)
	}
}
