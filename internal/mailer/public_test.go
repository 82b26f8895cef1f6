package mailer

import "testing"

func TestPublic(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  Error
		want string
	}{
		{Error{Stage: StageAuth, Code: 535, Enhanced: "5.7.8", Text: "see the manual"}, "auth: 535 5.7.8 see the manual"},
		{Error{Stage: StageGreeting, Code: 554, Text: "go away"}, "greeting: 554 go away"},
		{Error{Stage: StageDial, Text: "connection refused"}, "dial: connection refused"},
		{Error{Stage: StageDot, Text: "time-out"}, "dot: time-out"},
		{Error{Stage: StageMail, Code: 550, Enhanced: "5.7.1", Text: "Ada may not"}, "mail: 550 5.7.1 (not authorized, by the relay's policy)"},
		{Error{Stage: StageRcpt, Code: 421, Enhanced: "4.3.2", Text: "too much for Ada"}, "rcpt: 421 4.3.2 (the mail system takes no messages now)"},
		{Error{Stage: StageRcpt, Code: 550, Enhanced: "5.1.99", Text: "Ada"}, "rcpt: 550 5.1.99 (something about an address)"},
		{Error{Stage: StageData, Code: 451, Enhanced: "4.9.9", Text: "Ada"}, "data: 451 4.9.9 (an error of the relay)"},
		{Error{Stage: StageDot, Code: 299, Text: "Ada"}, "dot: 299 (the relay gives no other reason)"},
	} {
		if got := tt.err.Public(); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}
