package engine

import (
	"strings"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

// TestWhichRelaysCallersMayChoose: at the submission, at a resumption, and in a
// look at a relay, the same field is named.
func TestWhichRelaysCallersMayChoose(t *testing.T) {
	t.Parallel()
	no := false
	for what, test := range map[string]struct {
		bounds mailer.Bounds // of which the rig's relay is the default one
		relay  SubmittedRelay
		field  string // "" for allowed
	}{
		"another host":       {mailer.Bounds{Choice: mailer.ListedRelay}, SubmittedRelay{Host: "evil.example"}, "smtp_server"},
		"a public address":   {mailer.Bounds{Choice: mailer.ListedRelay}, SubmittedRelay{Host: "8.8.8.8"}, "smtp_server"},
		"none but default":   {mailer.Bounds{Choice: mailer.DefaultRelay}, SubmittedRelay{Host: "evil.example"}, "smtp_server"},
		"another account":    {mailer.Bounds{Choice: mailer.DefaultRelay}, SubmittedRelay{Username: "own", Password: "p"}, "smtp_username"},
		"the default, clear": {mailer.Bounds{Choice: mailer.DefaultRelay}, SubmittedRelay{UseTLS: &no}, "smtp_use_tls"},
		"clear":              {mailer.Bounds{RequireTLS: true}, SubmittedRelay{UseTLS: &no}, "smtp_use_tls"},
		"the default, named": {mailer.Bounds{Choice: mailer.DefaultRelay, RequireTLS: true}, SubmittedRelay{Host: "127.0.0.1"}, ""},
		"nothing":            {mailer.Bounds{Choice: mailer.ListedRelay, RequireTLS: true}, SubmittedRelay{}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{relay: smtptest.Config{TLS: smtptest.StartTLS}, config: func(c *Config) {
				test.bounds.Default = c.DefaultRelay
				c.Session.Rules = c.Session.Rules.Within(test.bounds)
			}})
			r.contacts(t, 1)
			s := letter()
			s.SendAt = r.clock.now().Add(time.Hour)
			id := r.submit(t, s)
			if _, err := r.Pause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			s.Relay = test.relay
			_, _, submitted := r.Submit(t.Context(), s)
			_, resumed := r.Resume(t.Context(), id, ResumeOptions{Relay: &test.relay})
			_, looked := r.Relay(t.Context(), test.relay)
			for step, err := range map[string]error{"Submit": submitted, "Resume": resumed, "Relay": looked} {
				switch {
				case test.field != "":
					code(t, step, err, campaign.CodeInvalid, test.field)
				case err != nil:
					t.Errorf("%s: %v", step, err)
				}
			}
		})
	}
}

// TestBoundsHoldForWhatIsThere: a campaign that was accepted before TLS was
// required cannot be taken up again in clear, not even as it is.
func TestBoundsHoldForWhatIsThere(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.contacts(t, 1)
	s := letter()
	s.SendAt = r.clock.now().Add(time.Hour)
	id := r.submit(t, s)
	if _, err := r.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	cfg := r.cfg
	cfg.Session.Rules, cfg.Owner = cfg.Session.Rules.Within(mailer.Bounds{RequireTLS: true}), ""
	strict := newTask(t, r.store, cfg)
	_, err := strict.Resume(t.Context(), id, ResumeOptions{})
	code(t, "Resume", err, campaign.CodeInvalid, "smtp_use_tls")
}

// TestSealedPasswordGoesNowhereElse: who writes another relay into a campaign's
// record, beside the sealed password that is there, does not get it.
func TestSealedPasswordGoesNowhereElse(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{relay: withPassword()})
	other := startRelay(t, smtptest.Config{Users: map[string]string{"postern": "correct horse"}})
	rules, err := mailer.ParseRules([]string{"127.0.0.1"}, []int{r.relay.Port(), other.Port()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := r.cfg
	cfg.Session.Rules, cfg.Owner = rules, ""
	r.Engine = newTask(t, r.store, cfg)
	r.contacts(t, 1)
	s := r.ownRelay("correct horse")
	s.SendAt = r.clock.now().Add(time.Hour)
	id := r.submit(t, s)
	if _, err := r.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	c, err := r.store.GetCampaign(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*campaign.Relay){
		"host":      func(r *campaign.Relay) { r.Host = "127.0.0.2" },
		"port":      func(r *campaign.Relay) { r.Port = other.Port() },
		"TLS":       func(r *campaign.Relay) { r.UseTLS = false },
		"user name": func(r *campaign.Relay) { r.Username = "other" },
	} {
		changed := c
		change(&changed.Relay)
		if got, err := r.relayOf(t.Context(), changed); err == nil || got.Password != "" {
			t.Errorf("with another %s the password is opened", what)
		}
	}
	moved := c.Relay
	moved.Port, moved.UseTLS = other.Port(), false
	if _, err := r.store.Restart(t.Context(), id, store.Restart{
		From: c.Status, To: campaign.StatusPending, DueAt: dueNow, Relay: &moved, At: r.clock.now(),
	}); err != nil {
		t.Fatal(err)
	}
	runTask(t, r.Engine)
	r.await(t, id, "a notice", func(got Report) bool { return strings.Contains(got.Campaign.Notice, "smtp_password") })
	if stats := other.Stats(); other.Count() != 0 || stats.Opened != 0 {
		t.Errorf("the relay in the changed record: %+v", stats)
	}

	// The notice says what helps: the password once more, for where it goes now.
	if _, err := r.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	again := SubmittedRelay{Host: r.relay.Host(), Port: r.relay.Port(), UseTLS: new(true), Username: "postern", Password: "correct horse"}
	if _, err := r.Resume(t.Context(), id, ResumeOptions{Relay: &again}); err != nil {
		t.Fatal(err)
	}
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.mailed(t, 1, nil)
}

// TestPasswordContextIsUnambiguous: no two places have the same context.
func TestPasswordContextIsUnambiguous(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, host := range []string{"a", `a", port 1, TLS true, user name "u`, `a\`, "a\xff"} {
		for _, user := range []string{"", "u", `u"`, "u\xff", "u\xfe"} {
			context := passwordContext("id", campaign.Relay{Host: host, Port: 1, UseTLS: true, Username: user})
			if before, twice := seen[context]; twice {
				t.Errorf("%q at %q is sealed as %s", user, host, before)
			}
			seen[context] = user + " at " + host
		}
	}
}
