package engine

import (
	"strings"
	"testing"

	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
)

// TestReasonsNameNobody: what is kept with the campaign outlasts the erasure
// of the person, and is none of what is erased.
func TestReasonsNameNobody(t *testing.T) {
	t.Parallel()
	refuse := func(reply string) func(smtptest.Event) smtptest.Action {
		return func(e smtptest.Event) smtptest.Action {
			if e.Stage != smtptest.StageRcpt {
				return smtptest.Action{}
			}
			return smtptest.Reply(reply + " <" + e.Rcpt() + ">")
		}
	}
	for name, tt := range map[string]struct {
		relay  smtptest.Config
		fields map[string]string
		want   func(campaign.Campaign) bool
		says   string
	}{
		"refused credentials": {
			relay: smtptest.Config{Hook: refuse("535 5.7.8 no sending to")}, says: "no sending to",
			want: func(c campaign.Campaign) bool { return c.Status == campaign.StatusPaused },
		},
		"a busy relay": {
			relay: smtptest.Config{Hook: refuse("421 4.7.0 busy with")}, says: "busy with",
			want: func(c campaign.Campaign) bool { return c.Notice != "" },
		},
		"fields that are too large": {
			fields: map[string]string{"bio": strings.Repeat("x", 320<<10)}, says: "bio) that hold",
			want: func(c campaign.Campaign) bool { return c.Status == campaign.StatusFailed },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{relay: tt.relay})
			if err := r.UpsertContacts(t.Context(), []campaign.ContactChange{{Address: address(0), Set: tt.fields}}); err != nil {
				t.Fatal(err)
			}
			runTask(t, r.Engine)
			s := letter()
			s.HTML = "<p>{{bio}}</p>"
			id := r.submit(t, s)
			got := r.await(t, id, "what it says", func(got Report) bool { return tt.want(got.Campaign) }).Campaign
			said := []string{got.Reason + got.Notice}
			for _, state := range r.RelayStates() {
				said = append(said, state.Trouble.Text)
			}
			if !strings.Contains(said[0], tt.says) || strings.Contains(strings.Join(said, " "), "@") {
				t.Errorf("said %q", said)
			}
		})
	}
}
