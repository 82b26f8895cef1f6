package smtptest_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/mailer/smtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg smtptest.Config) *smtptest.Server {
	t.Helper()
	s, err := smtptest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// talk is a raw client: it writes octets and reads what the relay says.
type talk struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, s *smtptest.Server) *talk {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	return &talk{Conn: nc, t: t, r: bufio.NewReader(nc)}
}

func (c *talk) send(octets string) {
	c.t.Helper()
	if _, err := io.WriteString(c, octets); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads one reply for each code and compares.
func (c *talk) expect(codes ...string) {
	c.t.Helper()
	for _, code := range codes {
		if got := c.reply(); !strings.HasPrefix(got, code) {
			c.t.Fatalf("reply %q, want %s", got, code)
		}
	}
}

func (c *talk) reply() string {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("after %q: %v", line, err)
		}
		if len(line) < 4 || line[3] != '-' {
			return line
		}
	}
}

func (c *talk) expectEOF() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 {
		c.t.Fatalf("got %q, %v; want the end", b, err)
	}
}

const envelope = "MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n"

func TestTakesMessagesExactly(t *testing.T) {
	t.Parallel()
	s := start(t, smtptest.Config{})
	c := dial(t, s)
	c.expect("220")
	c.send("EHLO me.test\r\n")
	c.expect("250")
	c.send(envelope)
	c.expect("250", "250", "354")
	c.send("Subject: x\r\n\r\n..dot\r\n.\r\nMAIL FROM:<c@c.test> SIZE=5\r\nRCPT TO:<d@d.test>\r\nDATA\r\n")
	c.expect("250", "250", "250", "354")
	c.send(".\r\nQUIT\r\n")
	c.expect("250", "221")
	c.expectEOF()

	got := s.Messages()
	if len(got) != 2 {
		t.Fatalf("%d messages", len(got))
	}
	want := "Subject: x\r\n\r\n.dot\r\n"
	if string(got[0].Data) != want || got[0].SHA256 != sha256.Sum256([]byte(want)) || got[0].Size != len(want) {
		t.Errorf("data %q", got[0].Data)
	}
	if got[1].MailParams != "SIZE=5" || got[1].From != "c@c.test" || got[1].To[0] != "d@d.test" || got[1].Seq != 2 {
		t.Errorf("second message %+v", got[1])
	}
	if !got[0].Replied || !got[1].Replied {
		t.Error("not marked as replied")
	}
	if v := s.Violations(); v.Total() != 0 {
		t.Errorf("violations %+v", v)
	}
	if st := s.Stats(); st.Commands["MAIL"] != 2 || st.Opened != 1 || st.Transactions != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestCountsViolations(t *testing.T) {
	t.Parallel()
	s := start(t, smtptest.Config{Extensions: []string{"8BITMIME"}})
	c := dial(t, s)
	c.expect("220")
	c.send("EHLO me.test\n")
	c.expect("250")
	c.send("MAIL FROM:<a@a.test>\r\nMAIL FROM:<a@a.test>\r\n") // ahead of its reply, and nested
	c.expect("250", "503")
	c.send("RCPT TO:<b@b.test>\r\n")
	c.expect("250")
	c.send("DATA\r\n")
	c.expect("354")
	c.send("a\rb\r\nc\nd\x00\xe4\r\n" + strings.Repeat("x", 999) + "\r\n\n.\n\r\n.\r\n")
	c.expect("550 5.5.2")
	want := smtptest.Violations{
		BareCR: 1, BareLF: 3, NUL: 1, EightBit: 1, LongLines: 1,
		BadLines: 1, OutOfOrder: 1, NotPipelined: 1,
	}
	if got := s.Violations(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if s.Count() != 0 {
		t.Error("a message with a bare LF was taken")
	}
}

func TestTLSAndAuth(t *testing.T) {
	t.Parallel()
	users := map[string]string{"u": "p"}
	for name, auth := range map[string]smtp.Auth{
		"PLAIN": smtp.PlainAuth("", "u", "p", "127.0.0.1"), "CRAM-MD5": smtp.CRAMMD5Auth("u", "p"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, smtptest.Config{TLS: smtptest.StartTLS, Users: users, DigestOnly: true})
			c, err := smtp.Dial(s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.StartTLS(&tls.Config{RootCAs: s.RootCAs(), ServerName: "127.0.0.1"}); err != nil {
				t.Fatal(err)
			}
			if err := c.Mail("a@a.test"); err == nil || !strings.HasPrefix(err.Error(), "530") {
				t.Fatalf("MAIL without AUTH: %v", err)
			}
			if err := c.Auth(auth); err != nil {
				t.Fatal(err)
			}
			if err := deliver(c); err != nil {
				t.Fatal(err)
			}
			m := s.Messages()[0]
			if !m.TLS || m.User != "u" || m.Data != nil {
				t.Errorf("message %+v", m)
			}
		})
	}
}

func deliver(c *smtp.Client) error {
	if err := c.Mail("a@a.test"); err != nil {
		return err
	}
	if err := c.Rcpt("b@b.test"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "hello\r\n"); err != nil {
		return err
	}
	return w.Close()
}

func TestScripts(t *testing.T) {
	t.Parallel()
	greylist := smtptest.Greylist(1)
	s := start(t, smtptest.Config{Hook: smtptest.Chain(smtptest.RefuseRecipient("x@b.test"), greylist)})
	c := dial(t, s)
	c.send("EHLO me.test\r\nMAIL FROM:<>\r\nRCPT TO:<X@b.test>\r\nRCPT TO:<b@b.test>\r\nRCPT TO:<b@b.test>\r\n")
	c.expect("220", "250", "250", "550", "451", "250")

	s.SetHook(smtptest.At(smtptest.StageAccepted, smtptest.Close()))
	c.send("DATA\r\n")
	c.expect("354")
	c.send(".\r\n")
	c.expectEOF()
	if err := s.Wait(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	if m := s.Messages()[0]; m.Replied || s.CountTo("b@b.test") != 1 {
		t.Errorf("a lost reply: %+v", m)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := start(t, smtptest.Config{MaxMessages: 1, MaxSize: 10, MaxConnections: 1})
	c := dial(t, s)
	c.expect("220")
	second := dial(t, s)
	second.expect("421")
	second.expectEOF()
	c.send("EHLO me.test\r\nMAIL FROM:<a@a.test> SIZE=11\r\n")
	c.expect("250", "552")
	c.send(envelope)
	c.expect("250", "250", "354")
	c.send("x\r\n.\r\n")
	c.expect("250")
	c.send("MAIL FROM:<a@a.test>\r\n")
	c.expect("421")
	c.expectEOF()
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, smtptest.Config{IdleTimeout: 20 * time.Millisecond})
	c := dial(t, s)
	c.expect("220", "421")
	c.expectEOF()
}

func TestCloseFreesWhoWaits(t *testing.T) {
	t.Parallel()
	s, err := smtptest.Start(smtptest.Config{Hook: smtptest.At(smtptest.StageMail, smtptest.Reply("250 OK").After(make(chan struct{})))})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s)
	c.send("EHLO me.test\r\nMAIL FROM:<a@a.test>\r\n")
	c.expect("220", "250")
	s.Close() // hangs when the waiting connection is not freed
	c.expectEOF()
}
