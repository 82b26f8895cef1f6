package mailer

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/mailer/smtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startRelay(t testing.TB, cfg smtptest.Config) *smtptest.Server {
	t.Helper()
	s, err := smtptest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// relayAt is the Relay of a server, in clear and without AUTH.
func relayAt(s *smtptest.Server) Relay { return Relay{Host: s.Host(), Port: s.Port()} }

// optionsFor allow a server, and wait so long for it that a test which needs a
// time-out fails by its own.
func optionsFor(t testing.TB, s *smtptest.Server) Options {
	t.Helper()
	rules, err := ParseRules([]string{"127.0.0.0/8"}, []int{s.Port()})
	if err != nil {
		t.Fatal(err)
	}
	return Options{Rules: rules, LocalName: "client.test", RootCAs: s.RootCAs()}
}

func dialRelay(t testing.TB, s *smtptest.Server) *Session {
	t.Helper()
	session, err := Dial(t.Context(), relayAt(s), optionsFor(t, s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	return session
}

// message makes a Message of text with LF line ends.
func message(text string) *Message {
	octets := []byte(strings.ReplaceAll(text, "\n", "\r\n"))
	half := len(octets) / 2
	return &Message{segments: net.Buffers{octets[:half], octets[half:]}, size: int64(len(octets))}
}

// largeMessage makes a Message of n segments of 1 MB, all of them the same.
func largeMessage(n int) *Message {
	segment := []byte(strings.Repeat(strings.Repeat("x", 62)+"\r\n", 1<<14))
	m := &Message{size: int64(n * len(segment))}
	for range n {
		m.segments = append(m.segments, segment)
	}
	return m
}

var (
	anEnvelope = Envelope{From: "from@a.test", To: "to@b.test"}
	aMessage   = message("Subject: hello\n\nHello\n")
)

// asError is the *Error in err.
func asError(t testing.TB, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v, want an *Error", err)
	}
	return e
}

// expectError compares all of an Error that does not depend on wording.
func expectError(t testing.TB, err error, want Error) {
	t.Helper()
	got := *asError(t, err)
	got.Text, got.Err = "", nil
	if got != want {
		t.Errorf("got  %+v (%v)\nwant %+v", got, err, want)
	}
}

func mustSend(t testing.TB, s *Session) {
	t.Helper()
	reply, err := s.Send(t.Context(), anEnvelope, aMessage)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Reply{Code: 250, Enhanced: "2.0.0", Text: "accepted"}); reply != want {
		t.Fatalf("reply %+v, want %+v", reply, want)
	}
}

// attempt opens a session and sends one message.
func attempt(ctx context.Context, relay Relay, opts Options) (*Session, error) {
	s, err := Dial(ctx, relay, opts)
	if err != nil {
		return nil, err
	}
	_, err = s.Send(ctx, anEnvelope, aMessage)
	return s, err
}

// waitFor bounds what a test waits for.
func waitFor(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("no " + what)
	}
}

// closable is a connection that is there only to be closed.
type closable struct{ net.Conn }

func (closable) Close() error { return nil }
