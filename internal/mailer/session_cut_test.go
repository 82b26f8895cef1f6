package mailer

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/mailer/smtptest"
)

var errCut = errors.New("cut")

// cutConn takes so many octets and then fails, as a connection that breaks in
// the middle of a write.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(p []byte) (int, error) {
	n := min(c.left, len(p))
	c.left -= n
	if n, err := c.Conn.Write(p[:n]); err != nil {
		return n, err
	}
	if n < len(p) {
		return n, errCut
	}
	return n, nil
}

// The connection ends after each octet of the replies to a final dot and to the
// envelope behind it.
func TestClosedAtEveryOctetOfAGroup(t *testing.T) {
	t.Parallel()
	const group = "250 2.0.0 ok\r\n250 2.1.0 ok\r\n250-2.1.5 o\r\n250 2.1.5 k\r\n354 go\r\n"
	dotEnd := strings.Index(group, "\n") + 1
	for n := range len(group) + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			calls := 0
			s := dialScripted(t, scripted(t, func(string) (string, bool) {
				if calls++; calls == 1 {
					return group[dotEnd:], true
				}
				return group[:n], false
			}))
			all := mails(2)
			_, err := s.Send(t.Context(), all[0], all[1])
			if n < dotEnd {
				expectError(t, err, Error{Stage: StageDot, Scope: ScopeSession, Temporary: true, Ambiguous: true})
				if s.Begun(all[1]) || s.Usable() {
					t.Error("the session goes on")
				}
				return
			}
			if err != nil || !s.Begun(all[1]) {
				t.Fatalf("%v; begun: %v", err, s.Begun(all[1]))
			}
			_, err = s.Send(t.Context(), all[1], nil)
			e := asError(t, err)
			complete := n == len(group) // then the dot is written, to a relay that is gone
			if e.Scope != ScopeSession || !e.Temporary || e.Code != 0 || e.Ambiguous && !complete || s.Usable() {
				t.Errorf("%+v", e)
			}
		})
	}
}

// A write that breaks off is in doubt only where the system took the final
// dot, and then the reply decides. What is behind the dot was never begun.
func TestWriteThatBreaksOff(t *testing.T) {
	t.Parallel()
	content := len(octetsNo(0))
	for taken := range content + len(finalDot) + len("MAIL FROM:<from@a.test>") {
		t.Run(fmt.Sprint(taken), func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, smtptest.Config{})
			s := dialRelay(t, relay)
			s.timeouts.Quit = 20 * time.Millisecond
			all := mails(2)
			all[0].MayBegin = func() error {
				s.conn = &cutConn{Conn: s.conn, left: len("MAIL FROM:<from@a.test>\r\nRCPT TO:<to0@b.test>\r\nDATA\r\n") + taken}
				return nil
			}
			_, err := s.Send(t.Context(), all[0], all[1])
			if s.Usable() || s.Begun(all[1]) {
				t.Errorf("usable: %v, begun: %v", s.Usable(), s.Begun(all[1]))
			}
			if taken < content+len(finalDot) {
				expectError(t, err, Error{Stage: StageContent, Scope: ScopeSession, Temporary: true})
				expectTaken(t, relay)
				return
			}
			if err != nil || s.Sent() != 1 {
				t.Errorf("%v; the relay took it", err)
			}
			expectTaken(t, relay, 0)
		})
	}
}

func TestWriteThatBreaksOffWithoutAReply(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Hook: smtptest.At(smtptest.StageAccepted, smtptest.Close())})
	s := dialRelay(t, relay)
	all := mails(2)
	all[0].MayBegin = func() error {
		s.conn = &cutConn{Conn: s.conn, left: len("MAIL FROM:<from@a.test>\r\nRCPT TO:<to0@b.test>\r\nDATA\r\n"+octetsNo(0)+finalDot) + 1}
		return nil
	}
	_, err := s.Send(t.Context(), all[0], all[1])
	expectError(t, err, Error{Stage: StageDot, Scope: ScopeSession, Temporary: true, Ambiguous: true})
}
