package mailer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/mailer/smtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forever is how long a test waits for what must happen before it fails.
const forever = 2 * time.Minute

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

func mailOf(env Envelope, msg *Message) *Mail { return &Mail{Envelope: env, Message: msg} }

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
	reply, err := s.Send(t.Context(), mailOf(anEnvelope, aMessage), nil)
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
	_, err = s.Send(ctx, mailOf(anEnvelope, aMessage), nil)
	return s, err
}

// waitFor bounds what a test waits for.
func waitFor(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(forever):
		t.Fatal("no " + what)
	}
}

// mails makes n messages that differ in recipient and content.
func mails(n int) []*Mail {
	all := make([]*Mail, n)
	for i := range all {
		all[i] = mailOf(Envelope{From: "from@a.test", To: recipientNo(i)}, message(textNo(i)))
	}
	return all
}

func recipientNo(i int) string { return fmt.Sprintf("to%d@b.test", i) }
func textNo(i int) string      { return fmt.Sprintf("Subject: no. %d\n\nHello %d\n", i, i) }

// octetsNo is the i-th message as a relay gets it.
func octetsNo(i int) string { return strings.ReplaceAll(textNo(i), "\n", "\r\n") }

// afterMessages lets a hook act on connections that carried n messages.
func afterMessages(n int, h smtptest.Hook) smtptest.Hook {
	return func(e smtptest.Event) smtptest.Action {
		if e.Messages != n {
			return smtptest.Action{}
		}
		return h(e)
	}
}

// scripted is a relay that greets, offers PIPELINING, and then answers what it
// reads (each write of a client is one read, for small ones on loopback) with
// the octets of answer, which may be none; it closes the connection when more
// is false.
func scripted(t testing.TB, answer func(got string) (octets string, more bool)) Relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { play(conn, answer) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		conns.Wait()
	})
	at, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal(listener.Addr())
	}
	return Relay{Host: at.IP.String(), Port: at.Port}
}

func play(conn net.Conn, answer func(string) (string, bool)) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(forever))
	_, _ = io.WriteString(conn, "220 scripted.test\r\n")
	buf := make([]byte, 64<<10)
	for more := true; more; {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		octets := "250-scripted.test\r\n250 PIPELINING\r\n"
		if got := string(buf[:n]); !strings.HasPrefix(got, "EHLO") {
			octets, more = answer(got)
		}
		if _, err := io.WriteString(conn, octets); err != nil {
			return
		}
	}
}

func dialScripted(t testing.TB, to Relay) *Session {
	t.Helper()
	rules, err := ParseRules([]string{"127.0.0.0/8"}, []int{to.Port})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Dial(t.Context(), to, Options{Rules: rules, LocalName: "client.test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// waitUntil polls for what other ends of connections do.
func waitUntil(t testing.TB, what func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(forever); !what(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
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
