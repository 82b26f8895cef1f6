package mailer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/mailer/smtptest"
)

// bothWays runs a test against a relay that pipelines and one that does not.
func bothWays(t *testing.T, test func(t *testing.T, extensions []string)) {
	t.Helper()
	for name, extensions := range map[string][]string{
		"pipelined":    {"PIPELINING", "ENHANCEDSTATUSCODES"},
		"step by step": {"ENHANCEDSTATUSCODES"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, extensions)
		})
	}
}

func expectClean(t testing.TB, s *smtptest.Server) {
	t.Helper()
	if v := s.Violations(); v.Total() != 0 {
		t.Errorf("violations %+v", v)
	}
}

func TestSendsManyOverOneConnection(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, extensions []string) {
		relay := startRelay(t, smtptest.Config{Extensions: extensions, MaxSize: 1000})
		s := dialRelay(t, relay)
		const n = 50
		for range n {
			mustSend(t, s)
		}
		s.Quit()
		got := relay.Messages()
		if len(got) != n || s.Sent() != n {
			t.Fatalf("%d messages, %d by the session's count", len(got), s.Sent())
		}
		last := got[n-1]
		if string(last.Data) != "Subject: hello\r\n\r\nHello\r\n" || last.From != "from@a.test" ||
			last.To[0] != "to@b.test" || last.MailParams != "SIZE=25" {
			t.Errorf("message %+v", last)
		}
		if st := relay.Stats(); st.Opened != 1 || st.Commands["RSET"] != 0 || st.Commands["QUIT"] != 1 || st.Commands["EHLO"] != 1 {
			t.Errorf("stats %+v", st)
		}
		expectClean(t, relay)
	})
}

func TestLargeMessages(t *testing.T) {
	t.Parallel()
	for _, mode := range []smtptest.TLSMode{smtptest.NoTLS, smtptest.StartTLS} {
		relay := startRelay(t, smtptest.Config{TLS: mode})
		to := relayAt(relay)
		to.UseTLS = mode != smtptest.NoTLS
		s, err := Dial(t.Context(), to, optionsFor(t, relay))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		// Around the size up to which a message is one write, and that above which
		// what comes before is more than
		// one block.
		for _, size := range []int{maxTail - 2, maxTail, maxTail + 2, writeBuffer, maxTail + contentBlock, maxTail + contentBlock + 2} {
			text := strings.Repeat("y", size-2-size%100) + strings.Repeat("\r\n", 1+size%100/2)
			msg := &Message{segments: net.Buffers{[]byte(text[:9]), []byte(text[9:])}, size: int64(len(text))}
			if _, err := s.Send(t.Context(), mailOf(anEnvelope, msg), nil); err != nil {
				t.Fatal(err)
			}
			if got := relay.Messages(); string(got[len(got)-1].Data) != text {
				t.Errorf("TLS %v, %d octets: other data", mode, size)
			}
		}
		if _, err := s.Send(t.Context(), mailOf(anEnvelope, largeMessage(3)), nil); err != nil {
			t.Fatal(err)
		}
		if got := relay.Messages(); got[len(got)-1].Size != 3<<20 {
			t.Errorf("TLS %v: %d octets", mode, got[len(got)-1].Size)
		}
	}
}

// stagesOf a session, as the relay and as the mailer name them.
var stagesOf = map[smtptest.Stage]Stage{
	smtptest.StageGreeting: StageGreeting,
	smtptest.StageHello:    StageHello,
	smtptest.StageStartTLS: StageTLS,
	smtptest.StageAuth:     StageAuth,
	smtptest.StageMail:     StageMail,
	smtptest.StageRcpt:     StageRcpt,
	smtptest.StageData:     StageData,
	smtptest.StageDot:      StageDot,
}

// A fault at each stage of a session with TLS and AUTH, then the same relay
// behaving again: what the Error says, and whether the session goes on.
func TestFaultAtEachStage(t *testing.T) {
	t.Parallel()
	notRcpt := slices.DeleteFunc(slices.Collect(maps.Keys(stagesOf)), func(s smtptest.Stage) bool { return s == smtptest.StageRcpt })
	for name, c := range map[string]struct {
		action smtptest.Action
		want   Error
		usable bool
		stages []smtptest.Stage // all when nil
	}{
		"421": {
			action: smtptest.Reply("421 4.3.2 shutting down"),
			want:   Error{Code: 421, Enhanced: "4.3.2", Scope: ScopeSession, Temporary: true},
		},
		"432": {
			action: smtptest.Reply("432 4.3.2 too many connections"),
			want:   Error{Code: 432, Enhanced: "4.3.2", Scope: ScopeRelay, Temporary: true}, usable: true,
			stages: notRcpt,
		},
		"454": {
			action: smtptest.Reply("454 4.7.0 throttling failure"),
			want:   Error{Code: 454, Enhanced: "4.7.0", Scope: ScopeRelay, Temporary: true}, usable: true,
			stages: notRcpt,
		},
		"535": {
			action: smtptest.Reply("535 5.7.8 no"),
			want:   Error{Code: 535, Enhanced: "5.7.8", Scope: ScopeCampaign}, usable: true,
		},
		"451": {
			action: smtptest.Reply("451 4.7.1 later"),
			want:   Error{Code: 451, Enhanced: "4.7.1", Scope: ScopeRecipient, Temporary: true}, usable: true,
			stages: []smtptest.Stage{smtptest.StageRcpt, smtptest.StageData, smtptest.StageDot},
		},
		"sender refused": {
			action: smtptest.Reply("550 5.7.1 not you"),
			want:   Error{Code: 550, Enhanced: "5.7.1", Scope: ScopeCampaign}, usable: true,
			stages: []smtptest.Stage{smtptest.StageMail},
		},
		"multi-line 554": {
			action: smtptest.Reply("554-5.7.1 one", "554 5.7.1 two"),
			want:   Error{Code: 554, Enhanced: "5.7.1", Scope: ScopeRecipient}, usable: true,
			stages: []smtptest.Stage{smtptest.StageRcpt, smtptest.StageData, smtptest.StageDot},
		},
		"closes": {
			action: smtptest.Close(),
			want:   Error{Scope: ScopeSession, Temporary: true},
		},
		"garbage": {
			action: smtptest.Raw("\x00\x01\x02 nonsense\r\n"),
			want:   Error{Scope: ScopeSession, Temporary: true},
		},
		"endless line": {
			action: smtptest.EndlessLine(),
			want:   Error{Scope: ScopeSession, Temporary: true},
		},
		"endless reply": {
			action: smtptest.EndlessReply(),
			want:   Error{Scope: ScopeSession, Temporary: true},
		},
		"codes differ": {
			action: smtptest.Reply("250-yes", "550 no"),
			want:   Error{Scope: ScopeSession, Temporary: true},
		},
	} {
		for at, stage := range stagesOf {
			if c.stages != nil && !slices.Contains(c.stages, at) {
				continue
			}
			t.Run(name+" at "+string(stage), func(t *testing.T) {
				t.Parallel()
				want := c.want
				want.Stage = stage
				want.Ambiguous = stage == StageDot && want.Code == 0
				checkFault(t, smtptest.Times(1, smtptest.At(at, c.action)), want, c.usable)
			})
		}
	}
}

func checkFault(t *testing.T, hook smtptest.Hook, want Error, usable bool) {
	t.Helper()
	relay, to, opts := guardedRelay(t, smtptest.Config{Hook: hook})
	s, err := attempt(t.Context(), to, opts)
	expectError(t, err, want)
	if s == nil {
		return // the failure was before the session stood
	}
	defer s.Close()
	if s.Usable() != usable {
		t.Fatalf("usable: %v", s.Usable())
	}
	if usable {
		mustSend(t, s)
		if relay.Count() != 1 {
			t.Errorf("%d messages taken", relay.Count())
		}
	}
	expectClean(t, relay)
}

// guardedRelay has STARTTLS and AUTH.
func guardedRelay(t testing.TB, cfg smtptest.Config) (*smtptest.Server, Relay, Options) {
	t.Helper()
	cfg.TLS = smtptest.StartTLS
	cfg.Users = map[string]string{"user": "secret"}
	relay := startRelay(t, cfg)
	to := relayAt(relay)
	to.UseTLS, to.Username, to.Password = true, "user", "secret"
	return relay, to, optionsFor(t, relay)
}

func TestRefusedRecipientsSpoilNothing(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, extensions []string) {
		relay := startRelay(t, smtptest.Config{Extensions: extensions, Hook: smtptest.Chain(
			smtptest.RefuseRecipient("gone@b.test"), smtptest.Greylist(1))})
		s := dialRelay(t, relay)
		for range 3 {
			_, err := s.Send(t.Context(), mailOf(Envelope{From: "a@a.test", To: "gone@b.test"}, aMessage), nil)
			expectError(t, err, Error{Stage: StageRcpt, Scope: ScopeRecipient, Code: 550, Enhanced: "5.1.1"})
		}
		_, err := s.Send(t.Context(), mailOf(anEnvelope, aMessage), nil)
		expectError(t, err, Error{Stage: StageRcpt, Scope: ScopeRecipient, Code: 451, Enhanced: "4.7.1", Temporary: true})
		mustSend(t, s)
		mustSend(t, s)
		if got := relay.Messages(); len(got) != 2 || len(got[0].To) != 1 {
			t.Errorf("messages %+v", got)
		}
		if opened := relay.Stats().Opened; opened != 1 {
			t.Errorf("%d connections", opened)
		}
		expectClean(t, relay)
	})
}

func TestMailboxFullIsTemporaryAtRcptOnly(t *testing.T) {
	t.Parallel()
	for at, temporary := range map[smtptest.Stage]bool{
		smtptest.StageMail: false, smtptest.StageRcpt: true, smtptest.StageData: false, smtptest.StageDot: false,
	} {
		relay := startRelay(t, smtptest.Config{Hook: smtptest.At(at, smtptest.Reply("552 5.2.2 full"))})
		_, err := dialRelay(t, relay).Send(t.Context(), mailOf(anEnvelope, aMessage), nil)
		expectError(t, err, Error{Stage: stagesOf[at], Scope: ScopeRecipient, Code: 552, Enhanced: "5.2.2", Temporary: temporary})
	}
}

// RFC 2920 3.1: a relay may accept DATA although no recipient was valid.
func TestDataAcceptedWithoutRecipient(t *testing.T) {
	t.Parallel()
	for name, dot := range map[string]smtptest.Action{
		"refused at the dot": smtptest.Reply("554 5.5.1 no valid recipients"),
		"taken at the dot":   smtptest.Reply("250 2.0.0 for nobody"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, smtptest.Config{Hook: smtptest.Chain(
				smtptest.RefuseRecipient("gone@b.test"),
				smtptest.Times(1, smtptest.At(smtptest.StageData, smtptest.Reply("354 go ahead"))),
				smtptest.Times(1, smtptest.At(smtptest.StageDot, dot)),
			)})
			s := dialRelay(t, relay)
			_, err := s.Send(t.Context(), mailOf(Envelope{From: "a@a.test", To: "gone@b.test"}, aMessage), nil)
			expectError(t, err, Error{Stage: StageRcpt, Scope: ScopeRecipient, Code: 550, Enhanced: "5.1.1"})
			mustSend(t, s)
			if relay.CountTo("gone@b.test") != 0 || relay.CountTo("to@b.test") != 1 {
				t.Errorf("taken: %v", relay.PerRecipient())
			}
			if relay.Stats().Commands["RSET"] != 0 {
				t.Error("RSET after a transaction that was over")
			}
			expectClean(t, relay)
		})
	}
}

func TestLostReplyIsAmbiguous(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Hook: smtptest.At(smtptest.StageAccepted, smtptest.Close())})
	_, err := dialRelay(t, relay).Send(t.Context(), mailOf(anEnvelope, aMessage), nil)
	expectError(t, err, Error{Stage: StageDot, Scope: ScopeSession, Temporary: true, Ambiguous: true})
	if relay.Count() != 1 {
		t.Error("the relay did not take it")
	}
}

func TestUnclearReplyToTheDotIsAmbiguous(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Hook: smtptest.At(smtptest.StageDot, smtptest.Reply("354 what"))})
	_, err := dialRelay(t, relay).Send(t.Context(), mailOf(anEnvelope, aMessage), nil)
	expectError(t, err, Error{Stage: StageDot, Scope: ScopeSession, Code: 354, Temporary: true, Ambiguous: true})
}

func TestTimeoutAtEachStage(t *testing.T) {
	t.Parallel()
	set := map[Stage]func(*Timeouts, time.Duration){
		StageGreeting: func(ts *Timeouts, d time.Duration) { ts.Greeting = d },
		StageHello:    func(ts *Timeouts, d time.Duration) { ts.Hello = d },
		StageTLS:      func(ts *Timeouts, d time.Duration) { ts.TLS = d },
		StageAuth:     func(ts *Timeouts, d time.Duration) { ts.Auth = d },
		StageMail:     func(ts *Timeouts, d time.Duration) { ts.Mail = d },
		StageRcpt:     func(ts *Timeouts, d time.Duration) { ts.Rcpt = d },
		StageData:     func(ts *Timeouts, d time.Duration) { ts.Data = d },
		StageDot:      func(ts *Timeouts, d time.Duration) { ts.Dot = d },
	}
	for at, stage := range stagesOf {
		t.Run(string(stage), func(t *testing.T) {
			t.Parallel()
			// The others have their minutes: a test that used the wrong one
			// would not end.
			_, to, opts := guardedRelay(t, smtptest.Config{Hook: smtptest.At(at, smtptest.Hang())})
			set[stage](&opts.Timeouts, 300*time.Millisecond)
			s, err := attempt(t.Context(), to, opts)
			expectError(t, err, Error{Stage: stage, Scope: ScopeSession, Temporary: true, Ambiguous: stage == StageDot})
			if !strings.Contains(err.Error(), "300ms") {
				t.Errorf("the error does not say how long: %v", err)
			}
			if s != nil && s.Usable() {
				t.Error("usable")
			}
		})
	}
}

func TestTimeoutWhileWriting(t *testing.T) {
	t.Parallel()
	for name, useTLS := range map[string]bool{"clear": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stuck := smtptest.At(smtptest.StageContent, smtptest.Close().After(make(chan struct{})))
			relay, to, opts := guardedRelay(t, smtptest.Config{Hook: stuck, ClearAuth: true})
			to.UseTLS = useTLS
			opts.Timeouts.Block, opts.Timeouts.Quit = 100*time.Millisecond, 50*time.Millisecond
			s, err := Dial(t.Context(), to, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_, err = s.Send(t.Context(), mailOf(anEnvelope, largeMessage(64)), nil)
			expectError(t, err, Error{Stage: StageContent, Scope: ScopeSession, Temporary: true})
			if relay.Count() != 0 {
				t.Error("taken")
			}
		})
	}
}

func TestClosedWhileWriting(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Hook: smtptest.At(smtptest.StageContent, smtptest.Close())})
	_, err := dialRelay(t, relay).Send(t.Context(), mailOf(anEnvelope, largeMessage(64)), nil)
	expectError(t, err, Error{Stage: StageContent, Scope: ScopeSession, Temporary: true})
}

// A relay that has seen too much of a message answers and closes; its answer
// counts, not the broken connection.
func TestRefusedWhileWriting(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Hook: smtptest.At(smtptest.StageContent, smtptest.Reply("552 5.3.4 enough"))})
	s := dialRelay(t, relay)
	_, err := s.Send(t.Context(), mailOf(anEnvelope, largeMessage(64)), nil)
	expectError(t, err, Error{Stage: StageContent, Scope: ScopeRecipient, Code: 552, Enhanced: "5.3.4"})
	if s.Usable() {
		t.Error("usable in the middle of a message")
	}
}

func TestCancelAtEachStage(t *testing.T) {
	t.Parallel()
	for at, stage := range stagesOf {
		t.Run(string(stage), func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{})
			// Step by step, so that all replies before the stage have come.
			_, to, opts := guardedRelay(t, smtptest.Config{Extensions: []string{}, Hook: func(e smtptest.Event) smtptest.Action {
				if e.Stage != at {
					return smtptest.Action{}
				}
				close(reached)
				return smtptest.Hang()
			}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				waitFor(t, reached, "stage")
				cancel()
			}()
			s, err := attempt(ctx, to, opts)
			if e := asError(t, err); stage == StageGreeting && e.Stage == StageDial {
				e.Stage = StageGreeting // the relay greets before the dialler knows
			}
			expectError(t, err, Error{Stage: stage, Scope: ScopeSession, Temporary: true, Ambiguous: stage == StageDot})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v is not context.Canceled", err)
			}
			if s != nil && s.Usable() {
				t.Error("usable")
			}
		})
	}
}

func TestCancelledBeforeSendCostsNothing(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	s := dialRelay(t, relay)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Send(ctx, mailOf(anEnvelope, aMessage), nil)
	expectError(t, err, Error{Stage: StageMail, Scope: ScopeSession, Temporary: true})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
	mustSend(t, s)
	if n := relay.Stats().Commands["MAIL"]; n != 1 {
		t.Errorf("%d MAIL", n)
	}
}

// What may not be committed never is: not begun at the first question, not
// ended at the second.
func TestMayCommit(t *testing.T) {
	t.Parallel()
	errLost := errors.New("the lease is lost")
	for name, msg := range map[string]*Message{"short": aMessage, "large": largeMessage(2)} {
		for failAt := 1; failAt <= 2; failAt++ {
			t.Run(fmt.Sprintf("%s, question %d", name, failAt), func(t *testing.T) {
				t.Parallel()
				relay := startRelay(t, smtptest.Config{})
				s := dialRelay(t, relay)
				asked := 0
				env := anEnvelope
				env.MayCommit = func() error {
					if asked++; asked == failAt {
						return errLost
					}
					return nil
				}
				_, err := s.Send(t.Context(), mailOf(env, msg), nil)
				want := Error{Stage: StageMail, Scope: ScopeSession, Temporary: true}
				if failAt == 2 {
					want.Stage = StageContent
				}
				expectError(t, err, want)
				if !errors.Is(err, errLost) {
					t.Errorf("%v does not wrap the cause", err)
				}
				if s.Usable() != (failAt == 1) {
					t.Errorf("usable: %v", s.Usable())
				}
				relay.Close()
				if relay.Count() != 0 || relay.Stats().Commands["MAIL"] != failAt-1 {
					t.Errorf("%d taken, stats %+v", relay.Count(), relay.Stats())
				}
			})
		}
	}
}

func TestMayCommitIsAskedTwice(t *testing.T) {
	t.Parallel()
	s := dialRelay(t, startRelay(t, smtptest.Config{}))
	asked := 0
	env := anEnvelope
	env.MayCommit = func() error { asked++; return nil }
	if _, err := s.Send(t.Context(), mailOf(env, aMessage), nil); err != nil || asked != 2 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

func TestWhatTheRelayCannotTake(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Extensions: []string{"PIPELINING"}, MaxSize: 100})
	s := dialRelay(t, relay)
	for name, c := range map[string]struct {
		env  Envelope
		msg  *Message
		text string
	}{
		"too large":           {anEnvelope, message(strings.Repeat("x", 99) + "\n"), "101 octets"},
		"UTF-8 recipient":     {Envelope{From: "a@a.test", To: "jürgen@b.test"}, aMessage, "SMTPUTF8"},
		"UTF-8 sender":        {Envelope{From: "jürgen@a.test", To: "b@b.test"}, aMessage, "sender"},
		"injected parameters": {Envelope{From: "a@a.test", To: "b> ORCPT=x@b.test"}, aMessage, "recipient"},
		"injected command":    {Envelope{From: "a@a.test", To: "b@b.test>\r\nRSET"}, aMessage, "recipient"},
	} {
		_, err := s.Send(t.Context(), mailOf(c.env, c.msg), nil)
		want := Error{Stage: StageMail, Scope: ScopeRecipient}
		if c.text == "sender" {
			want.Scope = ScopeCampaign
		}
		expectError(t, err, want)
		if !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", name, err, c.text)
		}
	}
	if n := relay.Stats().Commands["MAIL"]; n != 0 {
		t.Errorf("%d MAIL", n)
	}
	mustSend(t, s)
}

func TestInternationalAddresses(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	s := dialRelay(t, relay)
	for _, to := range []string{"b@bücher.test", "jürgen@bücher.test"} {
		if _, err := s.Send(t.Context(), mailOf(Envelope{From: "a@a.test", To: to}, aMessage), nil); err != nil {
			t.Fatal(err)
		}
	}
	got := relay.Messages()
	if got[0].To[0] != "b@xn--bcher-kva.test" || strings.Contains(got[0].MailParams, "SMTPUTF8") {
		t.Errorf("domain only: %+v", got[0])
	}
	if got[1].To[0] != "jürgen@xn--bcher-kva.test" || !strings.Contains(got[1].MailParams, "SMTPUTF8") {
		t.Errorf("local part too: %+v", got[1])
	}
}

func TestHELO(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{NoEHLO: true})
	s := dialRelay(t, relay)
	mustSend(t, s)
	if got := relay.Messages()[0]; got.MailParams != "" || relay.Stats().Commands["HELO"] != 1 {
		t.Errorf("message %+v", got)
	}
	to := relayAt(relay)
	to.Username = "user"
	_, err := Dial(t.Context(), to, optionsFor(t, relay))
	expectError(t, err, Error{Stage: StageHello, Scope: ScopeCampaign, Code: 502, Enhanced: "5.5.1"})
}

func TestLocalName(t *testing.T) {
	t.Parallel()
	said := make(chan string, 2)
	relay := startRelay(t, smtptest.Config{Hook: func(e smtptest.Event) smtptest.Action {
		if e.Stage == smtptest.StageHello {
			said <- e.Command
		}
		return smtptest.Action{}
	}})
	dialRelay(t, relay)
	if got := <-said; got != "EHLO client.test" {
		t.Errorf("given: %q", got)
	}
	opts := optionsFor(t, relay)
	opts.LocalName = ""
	s, err := Dial(t.Context(), relayAt(relay), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	name := strings.TrimPrefix(<-said, "EHLO ")
	if name != "[127.0.0.1]" && (checkHostName(name) != nil || !strings.Contains(name, ".")) {
		t.Errorf("own name: %q", name)
	}
	opts.LocalName = "x\r\nMAIL FROM:<a@a.test>"
	_, err = Dial(t.Context(), relayAt(relay), opts)
	expectError(t, err, Error{Stage: StageHello, Scope: ScopeCampaign})
}

func TestAddressLiteral(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"10.0.0.1:25": "[10.0.0.1]", "[2001:db8::1]:25": "[IPv6:2001:db8::1]", "[fe80::1%eth0]:25": "[IPv6:fe80::1]",
		"[::ffff:10.0.0.1]:25": "[10.0.0.1]",
	} {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(port)
		ip, err := net.ResolveIPAddr("ip", host)
		if err != nil {
			t.Fatal(err)
		}
		if got := addressLiteral(&net.TCPAddr{IP: ip.IP, Zone: ip.Zone, Port: n}); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestParseExtensions(t *testing.T) {
	t.Parallel()
	got := parseExtensions([]byte("relay.test STARTTLS\nsize 1000\nPIPELINING\nAUTH=LOGIN\nauth PLAIN cram-md5\nSMTPUTF8\n\n8BITMIME"))
	if got.startTLS || !got.pipelining || !got.smtpUTF8 || !got.size || got.maxSize != 1000 {
		t.Errorf("%+v", got)
	}
	if strings.Join(got.auth, " ") != "LOGIN PLAIN CRAM-MD5" {
		t.Errorf("AUTH %q", got.auth)
	}
	for _, size := range []string{"SIZE", "SIZE 0", "SIZE -1", "SIZE x", "SIZE 99999999999999999999"} {
		if got := parseExtensions([]byte("r\n" + size)); !got.size || got.maxSize != 0 {
			t.Errorf("%s: %+v", size, got)
		}
	}
}

// A session that the relay closed while nobody looked fails as a session: the
// recipient bears nothing.
func TestReusedSessionThatWasClosed(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	s := dialRelay(t, relay)
	mustSend(t, s)
	relay.DropConnections()
	for range 2 { // the second time on a session that is known to be closed
		_, err := s.Send(t.Context(), mailOf(anEnvelope, aMessage), nil)
		expectError(t, err, Error{Stage: StageMail, Scope: ScopeSession, Temporary: true})
		if s.Usable() {
			t.Error("usable")
		}
	}
}

// After a refusal the relay must be told RSET, and must agree.
func TestFaultAtReset(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, extensions []string) {
		for name, action := range map[string]smtptest.Action{
			"refused": smtptest.Reply("550 5.5.1 no"), "closed": smtptest.Close(),
		} {
			relay := startRelay(t, smtptest.Config{Extensions: extensions, Hook: smtptest.Chain(
				smtptest.RefuseRecipient("gone@b.test"), smtptest.At(smtptest.StageReset, action))})
			s := dialRelay(t, relay)
			_, err := s.Send(t.Context(), mailOf(Envelope{From: "a@a.test", To: "gone@b.test"}, aMessage), nil)
			expectError(t, err, Error{Stage: StageRcpt, Scope: ScopeRecipient, Code: 550, Enhanced: "5.1.1"})
			_, err = s.Send(t.Context(), mailOf(anEnvelope, aMessage), nil)
			if e := asError(t, err); e.Scope != ScopeSession || !e.Temporary || e.Ambiguous || s.Usable() {
				t.Errorf("%s: %+v", name, e)
			}
			relay.Close()
			if relay.Count() != 0 {
				t.Errorf("%s: taken", name)
			}
		}
	})
}

// The lone dot behind a refused recipient changes nothing about the refusal.
func TestLoneDotFails(t *testing.T) {
	t.Parallel()
	for name, action := range map[string]smtptest.Action{
		"closed": smtptest.Close(), "421": smtptest.Reply("421 4.3.2 shutting down"),
	} {
		relay := startRelay(t, smtptest.Config{Hook: smtptest.Chain(
			smtptest.RefuseRecipient("gone@b.test"),
			smtptest.At(smtptest.StageData, smtptest.Reply("354 go ahead")),
			smtptest.At(smtptest.StageDot, action))})
		s := dialRelay(t, relay)
		_, err := s.Send(t.Context(), mailOf(Envelope{From: "a@a.test", To: "gone@b.test"}, aMessage), nil)
		expectError(t, err, Error{Stage: StageRcpt, Scope: ScopeRecipient, Code: 550, Enhanced: "5.1.1"})
		if s.Usable() {
			t.Errorf("%s: usable", name)
		}
	}
}
