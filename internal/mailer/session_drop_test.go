package mailer

import (
	"context"
	"testing"

	"postern/internal/mailer/smtptest"
)

func TestDrop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hook   smtptest.Hook
		usable bool
		resets int
	}{
		"accepted":           {nil, false, 0},
		"refused":            {smtptest.RefuseRecipient(recipientNo(1)), true, 1},
		"RSET refused":       {smtptest.Chain(smtptest.RefuseRecipient(recipientNo(1)), smtptest.At(smtptest.StageReset, smtptest.Reply("500 no"))), false, 1},
		"closed":             {afterMessages(1, smtptest.At(smtptest.StageMail, smtptest.Close())), false, 0},
		"asks for it anyway": {smtptest.Chain(smtptest.RefuseRecipient(recipientNo(1)), afterMessages(1, smtptest.Times(1, smtptest.At(smtptest.StageData, smtptest.Reply("354 go on"))))), true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, smtptest.Config{Hook: c.hook})
			s := dialRelay(t, relay)
			all := mails(3)
			s.Drop(t.Context()) // nothing to drop
			if _, err := s.Send(t.Context(), all[0], all[1]); err != nil || !s.Begun(all[1]) {
				t.Fatal(err)
			}
			s.Drop(t.Context())
			if s.Begun(all[1]) || s.Usable() != c.usable {
				t.Errorf("begun: %v, usable: %v", s.Begun(all[1]), s.Usable())
			}
			taken := []int{0}
			if c.usable {
				if st := relay.Stats(); st.Transactions != 0 || st.Commands["RSET"] != c.resets || !s.Alive() {
					t.Errorf("not idle: %+v", st)
				}
				if _, err := s.Send(t.Context(), all[2], nil); err != nil {
					t.Error(err)
				}
				taken = append(taken, 2)
			}
			expectClean(t, relay)
			expectTaken(t, relay, taken...)
		})
	}
}

func TestDropIsInterrupted(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]bool{"before": false, "while it waits": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{})
			relay := startRelay(t, smtptest.Config{Hook: afterMessages(1, func(e smtptest.Event) smtptest.Action {
				if e.Stage != smtptest.StageRcpt {
					return smtptest.Action{}
				}
				close(reached)
				return smtptest.Hang()
			})})
			s := dialRelay(t, relay)
			all := mails(2)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if _, err := s.Send(ctx, all[0], all[1]); err != nil {
				t.Fatal(err)
			}
			if wait {
				go func() {
					waitFor(t, reached, "RCPT")
					cancel()
				}()
			} else {
				cancel()
			}
			s.Drop(ctx)
			if s.Usable() {
				t.Error("usable")
			}
			expectTaken(t, relay, 0)
		})
	}
}

// Sending another message than the one that is ahead drops that one.
func TestSendOfAnother(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Hook: smtptest.RefuseRecipient(recipientNo(1))})
	s := dialRelay(t, relay)
	all := mails(4)
	sendAll(t, s, all[:1])
	if _, err := s.Send(t.Context(), all[0], all[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(t.Context(), all[2], all[3]); err != nil { // 1 was refused
		t.Fatal(err)
	}
	_, err := s.Send(t.Context(), all[0], nil) // 3 was not
	expectError(t, err, Error{Stage: StageMail, Scope: ScopeSession, Temporary: true})
	expectTaken(t, relay, 0, 0, 2)
}

func TestQuitWithAnEnvelopeAhead(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	s := dialRelay(t, relay)
	all := mails(2)
	if _, err := s.Send(t.Context(), all[0], all[1]); err != nil {
		t.Fatal(err)
	}
	s.Quit()
	expectTaken(t, relay, 0)
	if s.Usable() || relay.Stats().Commands["QUIT"] != 0 {
		t.Errorf("stats %+v", relay.Stats())
	}
}
