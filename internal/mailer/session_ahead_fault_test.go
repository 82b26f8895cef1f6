package mailer

import (
	"net"
	"testing"
	"time"

	"postern/internal/mailer/smtptest"
)

// A fault at each command of an envelope that went behind a final dot: the
// message before is sent, that of the envelope has the error and is in no
// doubt, and a session that stands goes on.
func TestFaultAtEachStageAhead(t *testing.T) {
	t.Parallel()
	envelopeStages := []smtptest.Stage{smtptest.StageMail, smtptest.StageRcpt, smtptest.StageData}
	lost := Error{Scope: ScopeSession, Temporary: true}
	for name, c := range map[string]struct {
		action    smtptest.Action
		want      Error
		at        []smtptest.Stage
		usable    bool
		outOfStep bool
	}{
		"refused": {action: smtptest.Reply("550 5.7.1 no"), usable: true,
			want: Error{Code: 550, Enhanced: "5.7.1", Scope: ScopeRecipient}, at: envelopeStages[1:]},
		"sender refused": {action: smtptest.Reply("550 5.7.1 no"), usable: true,
			want: Error{Code: 550, Enhanced: "5.7.1", Scope: ScopeCampaign}, at: envelopeStages[:1]},
		"later": {action: smtptest.Reply("451-4.7.1 not", "451 4.7.1 now"), usable: true,
			want: Error{Code: 451, Enhanced: "4.7.1", Scope: ScopeRecipient, Temporary: true}, at: envelopeStages[1:]},
		"421":           {action: smtptest.Reply("421 4.3.2 bye"), want: Error{Code: 421, Enhanced: "4.3.2", Scope: ScopeSession, Temporary: true}},
		"421 and close": {action: smtptest.Reply("421 4.3.2 bye").ThenClose(), want: Error{Code: 421, Enhanced: "4.3.2", Scope: ScopeSession, Temporary: true}},
		"closes":        {action: smtptest.Close(), want: lost},
		"garbage":       {action: smtptest.Raw("\x00\x01\x02\r\n"), want: lost, outOfStep: true},
		"endless line":  {action: smtptest.EndlessLine(), want: lost, outOfStep: true},
		"endless reply": {action: smtptest.EndlessReply(), want: lost, outOfStep: true},
		"354 too soon": {action: smtptest.Reply("354 go ahead"), outOfStep: true,
			want: Error{Code: 354, Scope: ScopeSession, Temporary: true}, at: envelopeStages[:2]},
		"no 354": {action: smtptest.Reply("250 2.0.0 what"), outOfStep: true,
			want: Error{Code: 250, Enhanced: "2.0.0", Scope: ScopeSession, Temporary: true}, at: envelopeStages[2:]},
		"sees no group": {action: smtptest.Reply("503 5.5.1 out of sequence"), outOfStep: true,
			want: Error{Code: 503, Enhanced: "5.5.1", Scope: ScopeSession, Temporary: true}, at: envelopeStages[:1]},
	} {
		if c.at == nil {
			c.at = envelopeStages
		}
		for _, at := range c.at {
			t.Run(name+" at "+string(at), func(t *testing.T) {
				t.Parallel()
				relay := startRelay(t, smtptest.Config{
					Hook: afterMessages(1, smtptest.Times(1, smtptest.At(at, c.action)))})
				s := dialRelay(t, relay)
				all := mails(3)
				if _, err := s.Send(t.Context(), all[0], all[1]); err != nil {
					t.Fatal(err)
				}
				_, err := s.Send(t.Context(), all[1], all[2])
				want := c.want
				want.Stage = stagesOf[at]
				expectError(t, err, want)
				if s.Usable() != c.usable || s.OutOfStep() != c.outOfStep || s.Begun(all[2]) {
					t.Fatalf("usable: %v, out of step: %v, begun: %v", s.Usable(), s.OutOfStep(), s.Begun(all[2]))
				}
				if !c.usable {
					expectTaken(t, relay, 0)
					return
				}
				sendAll(t, s, all[2:])
				expectClean(t, relay)
				expectTaken(t, relay, 0, 2)
			})
		}
	}
}

func TestTimeoutAhead(t *testing.T) {
	t.Parallel()
	for at, set := range map[smtptest.Stage]func(*Timeouts, time.Duration){
		smtptest.StageMail: func(ts *Timeouts, d time.Duration) { ts.Mail = d },
		smtptest.StageRcpt: func(ts *Timeouts, d time.Duration) { ts.Rcpt = d },
		smtptest.StageData: func(ts *Timeouts, d time.Duration) { ts.Data = d },
	} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, smtptest.Config{Hook: afterMessages(1, smtptest.At(at, smtptest.Hang()))})
			s := dialRelay(t, relay)
			all := mails(2)
			if _, err := s.Send(t.Context(), all[0], all[1]); err != nil {
				t.Fatal(err)
			}
			set(&s.timeouts, 300*time.Millisecond) // the relay may take its time for what it answers
			_, err := s.Send(t.Context(), all[1], nil)
			expectError(t, err, Error{Stage: stagesOf[at], Scope: ScopeSession, Temporary: true})
			if !s.OutOfStep() || s.Usable() {
				t.Errorf("out of step: %v, usable: %v", s.OutOfStep(), s.Usable())
			}
			expectTaken(t, relay, 0)
		})
	}
}

// A fault at the final dot while the next envelope is ahead: the error is that
// of the message whose dot it was.
func TestFaultAtTheDotWithNextAhead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stage  smtptest.Stage
		action smtptest.Action
		want   Error
		usable bool
		taken  []int
	}{
		"refused": {smtptest.StageDot, smtptest.Reply("554 5.7.1 spam"),
			Error{Stage: StageDot, Scope: ScopeRecipient, Code: 554, Enhanced: "5.7.1"}, true, []int{1}},
		"rate limit": {smtptest.StageDot, smtptest.Reply("454 4.7.0 throttling failure"),
			Error{Stage: StageDot, Scope: ScopeRelay, Code: 454, Enhanced: "4.7.0", Temporary: true}, true, []int{1}},
		"421": {smtptest.StageDot, smtptest.Reply("421 4.3.2 bye").ThenClose(),
			Error{Stage: StageDot, Scope: ScopeSession, Code: 421, Enhanced: "4.3.2", Temporary: true}, false, nil},
		"closes": {smtptest.StageDot, smtptest.Close(),
			Error{Stage: StageDot, Scope: ScopeSession, Temporary: true, Ambiguous: true}, false, nil},
		"loses the reply": {smtptest.StageAccepted, smtptest.Close(),
			Error{Stage: StageDot, Scope: ScopeSession, Temporary: true, Ambiguous: true}, false, []int{0}},
		"garbage": {smtptest.StageAccepted, smtptest.Raw("what?\r\n"),
			Error{Stage: StageDot, Scope: ScopeSession, Temporary: true, Ambiguous: true}, false, []int{0}},
		"neither yes nor no": {smtptest.StageDot, smtptest.Reply("354 go on"),
			Error{Stage: StageDot, Scope: ScopeSession, Code: 354, Temporary: true, Ambiguous: true}, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, smtptest.Config{Hook: smtptest.Times(1, smtptest.At(c.stage, c.action))})
			s := dialRelay(t, relay)
			all := mails(2)
			_, err := s.Send(t.Context(), all[0], all[1])
			expectError(t, err, c.want)
			if s.Usable() != c.usable || s.Begun(all[1]) != c.usable {
				t.Errorf("usable: %v, begun: %v", s.Usable(), s.Begun(all[1]))
			}
			_, err = s.Send(t.Context(), all[1], nil)
			if c.usable && err != nil {
				t.Error(err)
			} else if !c.usable {
				expectError(t, err, Error{Stage: StageMail, Scope: ScopeSession, Temporary: true})
			}
			expectTaken(t, relay, c.taken...)
		})
	}
}

// RFC 2920 3.1, for an envelope that was ahead.
func TestDataAcceptedWithoutRecipientAhead(t *testing.T) {
	t.Parallel()
	for name, dot := range map[string]smtptest.Action{
		"refused at the dot": smtptest.Reply("554 5.5.1 no valid recipients"),
		"taken at the dot":   smtptest.Reply("250 2.0.0 for nobody"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, smtptest.Config{Hook: smtptest.Chain(
				smtptest.RefuseRecipient(recipientNo(1)),
				afterMessages(1, smtptest.Times(1, smtptest.At(smtptest.StageData, smtptest.Reply("354 go ahead")))),
				afterMessages(1, smtptest.Times(1, smtptest.At(smtptest.StageDot, dot))),
			)})
			s := dialRelay(t, relay)
			all := mails(3)
			if _, err := s.Send(t.Context(), all[0], all[1]); err != nil {
				t.Fatal(err)
			}
			_, err := s.Send(t.Context(), all[1], all[2])
			expectError(t, err, Error{Stage: StageRcpt, Scope: ScopeRecipient, Code: 550, Enhanced: "5.1.1"})
			sendAll(t, s, all[2:])
			expectClean(t, relay)
			for i, want := range []int{1, 0, 1} {
				if got := relay.CountTo(recipientNo(i)); got != want {
					t.Errorf("recipient %d: %d messages", i, got)
				}
			}
		})
	}
}

// A lone dot would hand the recipient an empty message when only MAIL was
// refused.
func TestNoLoneDotForARecipient(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Hook: smtptest.Chain(
		smtptest.At(smtptest.StageMail, smtptest.Reply("550 5.7.1 not you")),
		smtptest.At(smtptest.StageRcpt, smtptest.Reply("250 2.1.5 welcome")),
		smtptest.At(smtptest.StageData, smtptest.Reply("354 go ahead")),
	)})
	s := dialRelay(t, relay)
	_, err := s.Send(t.Context(), mails(1)[0], nil)
	expectError(t, err, Error{Stage: StageMail, Scope: ScopeCampaign, Code: 550, Enhanced: "5.7.1"})
	if s.Usable() {
		t.Error("usable")
	}
	expectTaken(t, relay)
}

// A relay whose replies do not come in the reads that they would be expected
// in, an octet at a time, is as good as any.
func TestRepliesOctetByOctet(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	s := dialRelay(t, relay)
	s.arrival.Conn = &dripConn{s.arrival.Conn}
	all := mails(5)
	sendAll(t, s, all)
	expectTaken(t, relay, 0, 1, 2, 3, 4)
}

// dripConn reads an octet at a time.
type dripConn struct{ net.Conn }

func (c *dripConn) Read(p []byte) (int, error) { return c.Conn.Read(p[:1]) }
