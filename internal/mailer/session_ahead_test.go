package mailer

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"postern/internal/mailer/smtptest"
)

// countingConn counts what goes over a connection.
type countingConn struct {
	net.Conn
	writes, reads int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

func (c *countingConn) Read(p []byte) (int, error) {
	c.reads++
	return c.Conn.Read(p)
}

// counted puts a counter between a session and its connection.
func counted(s *Session) *countingConn {
	c := &countingConn{Conn: s.conn}
	s.conn, s.arrival.Conn = c, c
	return c
}

// sendAll sends messages one after the other, each with the next one ahead.
func sendAll(t testing.TB, s *Session, all []*Mail) {
	t.Helper()
	for i, m := range all {
		if _, err := s.Send(t.Context(), m, nextOf(all, i)); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

func nextOf(all []*Mail, i int) *Mail {
	if i+1 == len(all) {
		return nil
	}
	return all[i+1]
}

// expectTaken compares what a relay took with the messages that it should
// have, exactly.
func expectTaken(t testing.TB, relay *smtptest.Server, want ...int) {
	t.Helper()
	relay.Close()
	var got []string
	for _, m := range relay.Messages() {
		got = append(got, strings.Join(m.To, ",")+"\n"+string(m.Data))
	}
	expected := make([]string, 0, len(want))
	for _, i := range want {
		expected = append(expected, recipientNo(i)+"\n"+octetsNo(i))
	}
	if !slices.Equal(got, expected) {
		t.Errorf("taken %q\nwant %q", got, expected)
	}
}

func TestOneRoundTripAMessage(t *testing.T) {
	t.Parallel()
	for _, mode := range []smtptest.TLSMode{smtptest.NoTLS, smtptest.StartTLS} {
		relay := startRelay(t, smtptest.Config{TLS: mode})
		to := relayAt(relay)
		to.UseTLS = mode != smtptest.NoTLS
		s, err := Dial(t.Context(), to, optionsFor(t, relay))
		if err != nil {
			t.Fatal(err)
		}
		wire := counted(s)
		const n = 50
		all := mails(n)
		for i, m := range all {
			next := nextOf(all, i)
			if s.Begun(m) != (i > 0) {
				t.Errorf("message %d begun: %v", i, s.Begun(m))
			}
			if _, err := s.Send(t.Context(), m, next); err != nil {
				t.Fatal(err)
			}
		}
		if wire.writes != n+1 || wire.reads > n+1 {
			t.Errorf("TLS %v: %d writes, %d reads for %d messages", mode, wire.writes, wire.reads, n)
		}
		s.Quit()
		if st := relay.Stats(); st.Opened != 1 || st.Commands["MAIL"] != n || st.Commands["RSET"] != 0 || s.Sent() != n {
			t.Errorf("stats %+v, %d by the session's count", st, s.Sent())
		}
		expectClean(t, relay)
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		expectTaken(t, relay, order...)
	}
}

func TestLargeMessagesWithNext(t *testing.T) {
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
		var all []*Mail
		for i := range 4 {
			m := largeMessage(1)
			head := []byte(fmt.Sprintf("Subject: %d\r\n\r\n", i))
			m.segments = slices.Insert(m.segments, 0, head)
			m.segments = append(m.segments, []byte(fmt.Sprintf("The end of %d\r\n", i)))
			m.size += int64(len(head) + len("The end of 0\r\n"))
			all = append(all, mailOf(anEnvelope, m), mails(1)[0])
		}
		sendAll(t, s, all)
		got := relay.Messages()
		for i, m := range all {
			if want := octetsOf(m.Message); string(got[i].Data) != want {
				t.Errorf("TLS %v: message %d has %d octets, want %d, or others", mode, i, got[i].Size, len(want))
			}
		}
		expectClean(t, relay)
	}
}

// What may not be begun, or what the relay cannot be given, is not begun, and
// the message before it bears nothing.
func TestNextThatIsNotBegun(t *testing.T) {
	t.Parallel()
	errNo := errors.New("no")
	no := func() error { return errNo }
	for name, c := range map[string]struct {
		next *Mail
		want Error
	}{
		"MayBegin":   {mailOf(Envelope{From: "a@a.test", To: "b@b.test", MayBegin: no}, aMessage), Error{Stage: StageMail, Scope: ScopeSession, Temporary: true}},
		"MayCommit":  {mailOf(Envelope{From: "a@a.test", To: "b@b.test", MayCommit: no}, aMessage), Error{Stage: StageMail, Scope: ScopeSession, Temporary: true}},
		"too large":  {mailOf(anEnvelope, message(strings.Repeat("x", 999)+"\n")), Error{Stage: StageMail, Scope: ScopeRecipient}},
		"bad sender": {mailOf(Envelope{From: "a", To: "b@b.test"}, aMessage), Error{Stage: StageMail, Scope: ScopeCampaign}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, smtptest.Config{MaxSize: 500})
			s := dialRelay(t, relay)
			all := mails(2)
			if _, err := s.Send(t.Context(), all[0], c.next); err != nil {
				t.Fatal(err)
			}
			if s.Begun(c.next) || !s.Alive() {
				t.Errorf("begun: %v, alive: %v", s.Begun(c.next), s.Alive())
			}
			_, err := s.Send(t.Context(), c.next, all[1])
			expectError(t, err, c.want)
			if _, err := s.Send(t.Context(), all[1], nil); err != nil {
				t.Error(err)
			}
			if n := relay.Stats().Commands["MAIL"]; n != 2 {
				t.Errorf("%d MAIL", n)
			}
			expectTaken(t, relay, 0, 1)
		})
	}
}

func TestNoLookingAhead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		extensions []string
		stepByStep bool
	}{
		"not offered": {[]string{"ENHANCEDSTATUSCODES"}, false},
		"turned off":  {[]string{"PIPELINING"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, smtptest.Config{Extensions: c.extensions})
			opts := optionsFor(t, relay)
			opts.StepByStep = c.stepByStep
			s, err := Dial(t.Context(), relayAt(relay), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			wire := counted(s)
			all := mails(3)
			for i, m := range all {
				if s.Begun(m) {
					t.Error("begun")
				}
				if _, err := s.Send(t.Context(), m, nextOf(all, i)); err != nil {
					t.Fatal(err)
				}
			}
			if wire.writes != 4*len(all) {
				t.Errorf("%d writes", wire.writes)
			}
			expectClean(t, relay)
			expectTaken(t, relay, 0, 1, 2)
		})
	}
}

// asked records the order of questions.
type asked struct{ log []string }

func (a *asked) of(name string, m *Mail) *Mail {
	m.MayBegin = func() error { a.log = append(a.log, name+" begin"); return nil }
	m.MayCommit = func() error { a.log = append(a.log, name+" commit"); return nil }
	return m
}

// The questions about a message come right before what they are about: all of
// one write, with that about the final dot last.
func TestOrderOfQuestions(t *testing.T) {
	t.Parallel()
	s := dialRelay(t, startRelay(t, smtptest.Config{}))
	var a asked
	all := mails(3)
	for i, m := range all {
		a.of(fmt.Sprint(i), m)
	}
	wire := counted(s)
	for i, m := range all {
		a.log = append(a.log, fmt.Sprint("write ", wire.writes))
		if _, err := s.Send(t.Context(), m, nextOf(all, i)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"write 0", "0 commit", "0 begin", "1 commit", "1 begin", "0 commit",
		"write 2", "2 commit", "2 begin", "1 commit",
		"write 3", "2 commit",
	}
	if !slices.Equal(a.log, want) {
		t.Errorf("asked %q\nwant  %q", a.log, want)
	}
}

// A message whose envelope is ahead and that may not be committed any more has
// its 354: only the end of the connection keeps it from being taken.
func TestAheadThatMayNotBeCommitted(t *testing.T) {
	t.Parallel()
	errLost := errors.New("the lease is lost")
	relay := startRelay(t, smtptest.Config{})
	s := dialRelay(t, relay)
	all := mails(3)
	questions := 0
	all[1].MayCommit = func() error {
		if questions++; questions == 2 {
			return errLost
		}
		return nil
	}
	if _, err := s.Send(t.Context(), all[0], all[1]); err != nil || !s.Begun(all[1]) {
		t.Fatal(err)
	}
	_, err := s.Send(t.Context(), all[1], all[2])
	expectError(t, err, Error{Stage: StageContent, Scope: ScopeSession, Temporary: true})
	if !errors.Is(err, errLost) || s.Usable() || s.Begun(all[2]) {
		t.Errorf("%v; usable %v, begun %v", err, s.Usable(), s.Begun(all[2]))
	}
	expectTaken(t, relay, 0)
	if relay.Stats().Commands["MAIL"] != 2 {
		t.Error("the message behind it was begun")
	}
}

func TestMayBeginIsAskedFirst(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, extensions []string) {
		errOver := errors.New("the campaign is over")
		relay := startRelay(t, smtptest.Config{Extensions: extensions})
		s := dialRelay(t, relay)
		m := mails(1)[0]
		m.MayBegin = func() error { return errOver }
		_, err := s.Send(t.Context(), m, nil)
		expectError(t, err, Error{Stage: StageMail, Scope: ScopeSession, Temporary: true})
		if !errors.Is(err, errOver) || !s.Usable() || relay.Stats().Commands["MAIL"] != 0 {
			t.Errorf("%v, %+v", err, relay.Stats())
		}
		mustSend(t, s)
	})
}
