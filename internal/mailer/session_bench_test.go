package mailer

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"postern/internal/mailer/smtptest"
)

// rawSink is a relay that does as little as one can and allocates nothing, so
// that what is measured is the session. It takes each write of the client to
// come as one read, which holds for small ones on loopback.
func rawSink(t testing.TB, extensions ...string) Relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() {
		_ = listener.Close()
		<-served
	})
	hello := "250-sink.test\r\n"
	for _, e := range extensions {
		hello += "250-" + e + "\r\n"
	}
	go func() {
		defer close(served)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "220 sink.test ESMTP\r\n")
		swallow(conn, []byte(hello+"250 SIZE\r\n"))
	}()
	at, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal(listener.Addr())
	}
	return Relay{Host: at.IP.String(), Port: at.Port}
}

func swallow(conn net.Conn, hello []byte) {
	goAhead := []byte("354 End data with <CR><LF>.<CR><LF>\r\n")
	begun := append([]byte("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n"), goAhead...)
	taken := []byte("250 2.0.0 Ok\r\n")
	both := append(bytes.Clone(taken), begun...)
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		reply := taken
		got := buf[:n]
		switch ahead := bytes.HasSuffix(got, []byte("DATA\r\n")); {
		case bytes.HasPrefix(got, []byte("EHLO")):
			reply = hello
		case bytes.HasPrefix(got, []byte("QUIT")):
			return
		case len(got) == len("DATA\r\n") && ahead:
			reply = goAhead
		case ahead && bytes.HasPrefix(got, []byte("MAIL")):
			reply = begun
		case ahead:
			reply = both
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

func dialSink(t testing.TB, extensions ...string) *Session {
	t.Helper()
	to := rawSink(t, extensions...)
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

// twoMails are a letter's messages of 2 KB to two recipients.
func twoMails(t testing.TB) *[2]Mail {
	t.Helper()
	l, r := aLetterOf2KB(t)
	var mails [2]Mail
	for i := range mails {
		mails[i] = *mailOf(Envelope{
			From: "news@example.com", To: r.Address,
			MayBegin: func() error { return nil }, MayCommit: func() error { return nil },
		}, &Message{})
		if err := l.Render(mails[i].Message, r, "id@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	return &mails
}

// What a message costs in allocations, digest included. A figure that grows is
// a fault, and is not to be raised lightly.
func TestSendAllocations(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts what others allocate
	const reached = 0
	s := dialSink(t, "PIPELINING")
	mails := twoMails(t)
	i := 0
	send := func() {
		m, next := &mails[i&1], &mails[(i+1)&1]
		_ = m.Message.Digest()
		if _, err := s.Send(t.Context(), m, next); err != nil {
			t.Fatal(err)
		}
		i++
	}
	send()
	if n := testing.AllocsPerRun(500, send); n > reached+1 {
		t.Errorf("%v allocations a message, %d were reached", n, reached)
	}
	if !s.Begun(&mails[i&1]) {
		t.Error("the session did not look ahead")
	}
}

// BenchmarkSession sends messages of 2 KB to a relay that costs next to
// nothing.
func BenchmarkSession(b *testing.B) {
	for name, extensions := range map[string][]string{"pipelined": {"PIPELINING"}, "step by step": nil} {
		b.Run(name, func(b *testing.B) {
			s := dialSink(b, extensions...)
			sendMany(b, s, twoMails(b))
		})
	}
}

// sendMany sends the two mails in turn, each with the other ahead.
func sendMany(b *testing.B, s *Session, mails *[2]Mail) {
	b.Helper()
	b.SetBytes(mails[0].Message.Size())
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Send(b.Context(), &mails[i&1], &mails[(i+1)&1]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSend sends messages of 2 KB, and of 1 MB, over one session. The
// relay runs in the same process, so its work and its allocations (a few for
// each message) are in the figures.
func BenchmarkSend(b *testing.B) {
	small := message("Subject: hello\n\n" + strings.Repeat(strings.Repeat("x", 70)+"\n", 28))
	for _, c := range []struct {
		name string
		cfg  smtptest.Config
		msg  *Message
	}{
		{"2KB", smtptest.Config{}, small},
		{"2KB without PIPELINING", smtptest.Config{Extensions: []string{}}, small},
		{"2KB with TLS", smtptest.Config{TLS: smtptest.StartTLS}, small},
		{"1MB", smtptest.Config{}, largeMessage(1)},
		{"1MB with TLS", smtptest.Config{TLS: smtptest.StartTLS}, largeMessage(1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.cfg.DigestOnly = true
			relay := startRelay(b, c.cfg)
			to := relayAt(relay)
			to.UseTLS = c.cfg.TLS == smtptest.StartTLS
			s, err := Dial(b.Context(), to, optionsFor(b, relay))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Quit()
			mail := mailOf(anEnvelope, c.msg)
			sendMany(b, s, &[2]Mail{*mail, *mail})
		})
	}
}
