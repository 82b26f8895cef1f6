package mailer

import (
	"strings"
	"testing"

	"postern/internal/mailer/smtptest"
)

// TestLetterBeyondTheRelaysSize: a letter whose own octets are more than the
// relay takes stops the campaign, one that is too long by a recipient's own
// values fails that recipient, and neither costs the relay a MAIL.
func TestLetterBeyondTheRelaysSize(t *testing.T) {
	t.Parallel()
	c := aContent()
	c.HTML = "<p>{{company}}</p>"
	c.Attachments = []Attachment{{Filename: "a.bin", Data: []byte(strings.Repeat("x", 3000))}}
	l := mustCompile(t, c)
	var m Message
	render := func(company string) int64 {
		fields := map[string]string{"company": company}
		if err := l.Render(&m, recipientOf(l, "to@b.test", fields), "id@a.test"); err != nil {
			t.Fatal(err)
		}
		return m.Size()
	}
	small := render("")
	if l.sharedOctets <= 4000 || l.sharedOctets >= small {
		t.Fatalf("%d octets of %d are every message's", l.sharedOctets, small)
	}
	for name, tt := range map[string]struct {
		limit int64
		scope Scope
		text  string
	}{
		"the letter":  {l.sharedOctets - 1, ScopeCampaign, "the letter with its attachments has"},
		"the message": {small, ScopeRecipient, "the message has"},
	} {
		relay := startRelay(t, smtptest.Config{MaxSize: tt.limit})
		s := dialRelay(t, relay)
		render("Analytical Engines")
		_, err := s.Send(t.Context(), mailOf(anEnvelope, &m), nil)
		expectError(t, err, Error{Stage: StageMail, Scope: tt.scope})
		if !strings.Contains(err.Error(), tt.text) || relay.Stats().Commands["MAIL"] != 0 || !s.Usable() {
			t.Errorf("%s: %v; %+v", name, err, relay.Stats())
		}
	}
}
