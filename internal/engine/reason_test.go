package engine

import (
	"strings"
	"testing"
	"time"

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
			return smtptest.Reply(reply + " Ada Lovelace <" + e.Rcpt() + ">")
		}
	}
	for name, tt := range map[string]struct {
		relay  smtptest.Config
		fields map[string]string
		want   func(campaign.Campaign) bool
		says   string
	}{
		"refused credentials": {
			relay: smtptest.Config{Hook: refuse("535 5.7.8 no sending to")}, says: "rcpt: 535 5.7.8 (credentials refused)",
			want: func(c campaign.Campaign) bool { return c.Status == campaign.StatusPaused },
		},
		"a busy relay": {
			relay: smtptest.Config{Hook: refuse("421 4.7.0 busy with")}, says: "rcpt: 421 4.7.0 (something about security or policy)",
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
			if !strings.Contains(said[0], tt.says) || strings.ContainsAny(strings.Join(said, " "), "@A") {
				t.Errorf("said %q", said)
			}
		})
	}
}

// TestTheTrailNamesNobody: neither the reason of a stop nor a reply is in the
// audit trail with what the relay wrote, which no erasure could take out.
func TestTheTrailNamesNobody(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]string{
		"a relay that is busy":      "421 4.3.2 too much mail for user ada.lovelace, try later",
		"a recipient that it lacks": "550 5.1.1 no Ada Lovelace here",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := smtptest.Config{Hook: smtptest.At(smtptest.StageRcpt, smtptest.Reply(reply))}
			r := newRig(t, rigOptions{relay: relay, config: func(c *Config) { c.Retry.For = 300 * time.Millisecond }})
			if err := r.UpsertContacts(t.Context(), []campaign.ContactChange{{Address: "ada@example.org"}}); err != nil {
				t.Fatal(err)
			}
			runTask(t, r.Engine)
			id := r.submit(t, letter())
			r.await(t, id, "a stop", func(g Report) bool { return !g.Campaign.Status.Active() })
			r.awaitIdle(t)
			if p, err := r.ErasePerson(t.Context(), "ada@example.org", ""); err != nil || p.Left {
				t.Fatalf("%+v, %v", p, err)
			}
			got, err := r.Report(t.Context(), id)
			var trail strings.Builder
			if err == nil {
				err = r.Audit(t.Context(), id, &trail)
			}
			all := strings.ToLower(got.Campaign.Reason + got.Campaign.Notice + trail.String())
			if err != nil || strings.Contains(all, "lovelace") {
				t.Errorf("%v: %s", err, all)
			}
		})
	}
}
