package mailer

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"postern/internal/mailer/smtptest"
)

// Meanwhile is called when the relay has the final dot and before its reply is
// awaited: neither would go on without the other here.
func TestMeanwhileIsBetweenTheDotAndItsReply(t *testing.T) {
	t.Parallel()
	for name, extensions := range map[string][]string{"pipelined": nil, "step by step": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atDot, answer := make(chan struct{}, 1), make(chan struct{})
			relay := startRelay(t, smtptest.Config{Extensions: extensions, Hook: func(e smtptest.Event) smtptest.Action {
				if e.Stage != smtptest.StageDot {
					return smtptest.Action{}
				}
				atDot <- struct{}{}
				return smtptest.Action{}.After(answer)
			}})
			s := dialRelay(t, relay)
			all := mails(2)
			calls := 0
			all[0].Meanwhile = func() {
				calls++
				waitFor(t, atDot, "final dot")
				close(answer)
			}
			all[1].Meanwhile = func() { calls += 10 }
			sendAll(t, s, all)
			if calls != 11 {
				t.Errorf("calls: %d", calls)
			}
			expectTaken(t, relay, 0, 1)
		})
	}
}

// It is called where a reply to the dot is awaited, be it a refusal or none at
// all, and nowhere else, and changes nothing of what becomes of the message.
func TestMeanwhileIsForMessagesThatAreWithTheRelay(t *testing.T) {
	t.Parallel()
	held := errors.New("held back")
	for name, c := range map[string]struct {
		at    smtptest.Stage
		deed  smtptest.Action
		hold  func(*Mail)
		calls int
		stage Stage
	}{
		"dot refused":   {at: smtptest.StageDot, deed: smtptest.Reply("554 5.7.1 no"), calls: 1, stage: StageDot},
		"dot deferred":  {at: smtptest.StageDot, deed: smtptest.Reply("451 4.3.0 later"), calls: 1, stage: StageDot},
		"closed at dot": {at: smtptest.StageDot, deed: smtptest.Close(), calls: 1, stage: StageDot},
		"MAIL refused":  {at: smtptest.StageMail, deed: smtptest.Reply("550 5.7.1 no"), stage: StageMail},
		"RCPT refused":  {at: smtptest.StageRcpt, deed: smtptest.Reply("550 5.1.1 no"), stage: StageRcpt},
		"DATA refused":  {at: smtptest.StageData, deed: smtptest.Reply("451 4.3.0 no"), stage: StageData},
		"closed early":  {at: smtptest.StageData, deed: smtptest.Close(), stage: StageData},
		"not begun":     {hold: func(m *Mail) { m.MayBegin = func() error { return held } }, stage: StageMail},
		"not committed": {hold: func(m *Mail) {
			asked := 0
			m.MayCommit = func() error {
				if asked++; asked == 2 {
					return held
				}
				return nil
			}
		}, stage: StageContent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := smtptest.Config{}
			if c.at != "" {
				cfg.Hook = smtptest.At(c.at, c.deed)
			}
			s := dialRelay(t, startRelay(t, cfg))
			m, calls := mails(1)[0], 0
			m.Meanwhile = func() { calls++ }
			if c.hold != nil {
				c.hold(m)
			}
			_, err := s.Send(t.Context(), m, nil)
			if e := asError(t, err); e.Stage != c.stage || calls != c.calls {
				t.Errorf("%d calls, want %d; %+v", calls, c.calls, e)
			}
		})
	}
}

// Where the write breaks off behind the dot, the relay's reply decides, and so
// what is done meanwhile is needed.
func TestMeanwhileOfAWriteThatBreaksOff(t *testing.T) {
	t.Parallel()
	for _, behind := range []int{-1, 0, 5} {
		t.Run(fmt.Sprint(behind), func(t *testing.T) {
			t.Parallel()
			s := dialRelay(t, startRelay(t, smtptest.Config{}))
			s.timeouts.Quit = 20 * time.Millisecond
			all, calls := mails(2), 0
			all[0].Meanwhile = func() { calls++ }
			all[0].MayBegin = func() error {
				s.conn = &cutConn{Conn: s.conn, left: behind +
					len("MAIL FROM:<from@a.test>\r\nRCPT TO:<to0@b.test>\r\nDATA\r\n"+octetsNo(0)+finalDot)}
				return nil
			}
			_, err := s.Send(t.Context(), all[0], all[1])
			if sent := err == nil; sent != (behind >= 0) || sent != (calls == 1) {
				t.Errorf("%d calls, error %v", calls, err)
			}
		})
	}
}

// The envelope takes over what the message's header has found out of the
// recipient's address, and nothing of another's.
func TestTheEnvelopesAddressIsItsOwn(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	s := dialRelay(t, relay)
	l := mustCompile(t, aContent())
	var m Message
	send := func(header, envelope string) error {
		if err := l.Render(&m, recipientOf(l, header, nil), "id@example.com"); err != nil {
			return err
		}
		_, err := s.Send(t.Context(), mailOf(Envelope{From: "a@a.test", To: envelope}, &m), nil)
		return err
	}
	for _, to := range []struct{ header, envelope string }{
		{"b@bücher.test", "b@bücher.test"}, {"jürgen@bücher.test", "jürgen@bücher.test"},
		{"b@b.test", "b@bücher.test"}, {"b@bücher.test", "c@c.test"},
	} {
		if err := send(to.header, to.envelope); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range []string{"b@b.test> SIZE=1", "b@b.test\r\nRSET", ""} {
		if e := asError(t, send("b@b.test", to)); e.Stage != StageMail || e.Scope != ScopeRecipient {
			t.Errorf("%q: %+v", to, e)
		}
	}
	// What failed to be made leaves no address behind.
	if send("b@b.test\r\n", "b@b.test\r\n") == nil || m.to != (soundAddress{}) {
		t.Errorf("left behind: %+v", m.to)
	}
	var got []string
	for _, m := range relay.Messages() {
		got = append(got, m.To[0])
	}
	want := []string{"b@xn--bcher-kva.test", "jürgen@xn--bcher-kva.test", "b@xn--bcher-kva.test", "c@c.test"}
	if !slices.Equal(got, want) {
		t.Errorf("recipients %q, want %q", got, want)
	}
}

func TestASoundAddressStillNeedsARelayThatTakesIt(t *testing.T) {
	t.Parallel()
	s := dialRelay(t, startRelay(t, smtptest.Config{Extensions: []string{"PIPELINING"}}))
	var m Message
	l := mustCompile(t, aContent())
	if err := l.Render(&m, recipientOf(l, "jürgen@b.test", nil), "id@example.com"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Send(t.Context(), mailOf(Envelope{From: "a@a.test", To: "jürgen@b.test"}, &m), nil)
	expectError(t, err, Error{Stage: StageMail, Scope: ScopeRecipient})
}
