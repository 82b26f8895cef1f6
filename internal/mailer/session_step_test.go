package mailer

import (
	"strings"
	"testing"
	"time"

	"postern/internal/mailer/smtptest"
)

// A reply that nobody asked for must not be taken for the reply to a message,
// nor a refusal for that of somebody else.
func TestRepliesTooMany(t *testing.T) {
	t.Parallel()
	early := func(at smtptest.Stage, octets string) smtptest.Hook {
		return smtptest.Times(1, smtptest.At(at, smtptest.Action{}.Inject(octets)))
	}
	atContent := Error{Stage: StageContent, Scope: ScopeSession, Temporary: true}
	atData := Error{Stage: StageData, Scope: ScopeSession, Temporary: true, Code: 250, Enhanced: "2.1.5"}
	for name, c := range map[string]struct {
		hook  smtptest.Hook
		want  []Error // of each message; zero for none
		taken []int
	}{
		"behind the 354":           {early(smtptest.StageData, "250 2.0.0 taken\r\n"), []Error{atContent}, nil},
		"half of one":              {early(smtptest.StageData, "250 2.0"), []Error{atContent}, nil},
		"of the 354 ahead":         {afterMessages(1, early(smtptest.StageData, "250 2.0.0 taken\r\n")), []Error{{}, atContent}, []int{0}},
		"behind the dot":           {early(smtptest.StageAccepted, "250 2.0.0 twice\r\n"), []Error{{}, atData}, []int{0}},
		"a refusal behind the dot": {early(smtptest.StageAccepted, "550 5.7.1 no\r\n"), []Error{{}, atData}, []int{0}},
		"a refusal of content": {early(smtptest.StageData, "552 5.3.4 too large\r\n"),
			[]Error{{Stage: StageContent, Scope: ScopeRecipient, Code: 552, Enhanced: "5.3.4"}}, nil},
		"421 behind the 354": {early(smtptest.StageData, "421 4.3.2 bye\r\n"),
			[]Error{{Stage: StageContent, Scope: ScopeSession, Code: 421, Enhanced: "4.3.2", Temporary: true}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, smtptest.Config{Hook: c.hook})
			s := dialRelay(t, relay)
			s.timeouts.Quit = 50 * time.Millisecond
			all := mails(3)
			for i, want := range c.want {
				_, err := s.Send(t.Context(), all[i], all[i+1])
				if want == (Error{}) && err != nil {
					t.Error(err)
				} else if want != (Error{}) {
					expectError(t, err, want)
				}
			}
			if s.Usable() {
				t.Error("usable")
			}
			expectTaken(t, relay, c.taken...)
		})
	}
}

// What came unasked while the session was idle concerns no message.
func TestUnaskedWhileIdle(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, extensions []string) {
		for octets, want := range map[string]Error{
			"250 2.0.0 twice\r\n":    {Stage: StageMail, Scope: ScopeSession, Temporary: true},
			"550 5.7.1 no\r\n":       {Stage: StageMail, Scope: ScopeSession, Temporary: true},
			"421 4.4.2 time-out\r\n": {Stage: StageMail, Scope: ScopeSession, Temporary: true, Code: 421, Enhanced: "4.4.2"},
		} {
			relay := startRelay(t, smtptest.Config{Extensions: extensions,
				Hook: smtptest.At(smtptest.StageAccepted, smtptest.Action{}.Inject(octets))})
			s := dialRelay(t, relay)
			all := mails(2)
			sendAll(t, s, all[:1])
			if s.Alive() {
				t.Errorf("%q: alive", octets)
			}
			_, err := s.Send(t.Context(), all[1], nil)
			expectError(t, err, want)
			expectTaken(t, relay, 0)
		}
	})
}

func TestRepliesTooFew(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at    smtptest.Stage
		want  Error
		after int
	}{
		"MAIL":       {smtptest.StageMail, Error{Stage: StageRcpt, Scope: ScopeSession, Temporary: true, Code: 354}, 0},
		"RCPT":       {smtptest.StageRcpt, Error{Stage: StageRcpt, Scope: ScopeSession, Temporary: true, Code: 354}, 0},
		"DATA":       {smtptest.StageData, Error{Stage: StageData, Scope: ScopeSession, Temporary: true}, 0},
		"MAIL ahead": {smtptest.StageMail, Error{Stage: StageRcpt, Scope: ScopeSession, Temporary: true, Code: 354}, 1},
		"RCPT ahead": {smtptest.StageRcpt, Error{Stage: StageRcpt, Scope: ScopeSession, Temporary: true, Code: 354}, 1},
		"DATA ahead": {smtptest.StageData, Error{Stage: StageData, Scope: ScopeSession, Temporary: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := scripted(t, muteRelay(c.at, c.after))
			s := dialScripted(t, relay)
			all := mails(3)
			for i := range c.after {
				if _, err := s.Send(t.Context(), all[i], all[i+1]); err != nil {
					t.Fatal(err)
				}
			}
			s.timeouts.Data = 300 * time.Millisecond // the relay may take its time for what it answers
			_, err := s.Send(t.Context(), all[c.after], all[c.after+1])
			expectError(t, err, c.want)
			if s.Usable() {
				t.Error("usable")
			}
		})
	}
}

// muteRelay takes everything and leaves out the reply to one command of the envelope after some
// messages.
func muteRelay(at smtptest.Stage, after int) func(string) (string, bool) {
	replies := map[smtptest.Stage]string{smtptest.StageMail: "250 2.1.0 ok\r\n", smtptest.StageRcpt: "250 2.1.5 ok\r\n", smtptest.StageData: "354 go\r\n"}
	sent := -1
	return func(got string) (string, bool) {
		var out strings.Builder
		if sent++; sent > 0 {
			out.WriteString("250 2.0.0 taken\r\n")
		}
		if !strings.HasSuffix(got, "DATA\r\n") {
			return out.String(), true
		}
		for _, stage := range []smtptest.Stage{smtptest.StageMail, smtptest.StageRcpt, smtptest.StageData} {
			if sent != after || stage != at {
				out.WriteString(replies[stage])
			}
		}
		return out.String(), true
	}
}

// The refusal of a recipient stands although the relay leaves right after it.
func TestRefusalBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]smtptest.Action{
		"closes": smtptest.Close(), "421": smtptest.Reply("421 4.7.0 too many errors"),
	} {
		for _, before := range []int{0, 1} {
			relay := startRelay(t, smtptest.Config{Hook: smtptest.Chain(
				smtptest.RefuseRecipient(recipientNo(before)),
				afterMessages(before, smtptest.At(smtptest.StageData, end)))})
			s := dialRelay(t, relay)
			all := mails(2)
			for i := range before {
				if _, err := s.Send(t.Context(), all[i], all[i+1]); err != nil {
					t.Fatal(err)
				}
			}
			_, err := s.Send(t.Context(), all[before], nil)
			expectError(t, err, Error{Stage: StageRcpt, Scope: ScopeRecipient, Code: 550, Enhanced: "5.1.1"})
			if s.Usable() {
				t.Errorf("%s: usable", name)
			}
		}
	}
}
