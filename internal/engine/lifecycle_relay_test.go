package engine

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

func withPassword() smtptest.Config {
	return smtptest.Config{TLS: smtptest.StartTLS, Users: map[string]string{"postern": "correct horse", "other": "battery staple"}}
}

// ownRelay is a submission with credentials of its own.
func (r *rig) ownRelay(password string) Submission {
	s := letter()
	s.Relay = SubmittedRelay{Host: r.relay.Host(), Port: r.relay.Port(), Username: "postern", Password: password}
	return s
}

// TestRefusedCredentials pauses the campaign after one try, even though the
// store cannot be told at first, and goes on with the right ones.
func TestRefusedCredentials(t *testing.T) {
	t.Parallel()
	var refused atomic.Int64
	stub := &storeStub{transition: func(to store.Transition) error {
		if to.To == campaign.StatusPaused && refused.Add(1) <= 3 {
			return errUnavailable()
		}
		return nil
	}}
	r := newRig(t, rigOptions{relay: withPassword(), wrap: func(s store.Store) store.Store {
		stub.Store = s
		return stub
	}})
	runTask(t, r.Engine)
	r.contacts(t, 20)
	id := r.submit(t, r.ownRelay("wrong-canary"))
	got := r.awaitStatus(t, id, campaign.StatusPaused)
	if reason := got.Campaign.Reason; !strings.Contains(reason, "535") || !strings.Contains(reason, "resume") || strings.Contains(reason, "canary") {
		t.Errorf("paused because %q", reason)
	}
	if n := r.relay.Stats().AuthFailures; n != 1 || got.Totals.Sent != 0 {
		t.Errorf("%d tries with the wrong password; totals %+v", n, got.Totals)
	}
	_, err := r.Resume(t.Context(), id, ResumeOptions{Relay: &SubmittedRelay{Username: "other"}})
	code(t, "another user without a password", err, campaign.CodeInvalid, "smtp_password")
	_, err = r.Resume(t.Context(), id, ResumeOptions{Relay: &SubmittedRelay{Host: "10.1.2.3", Port: 25, Username: "u", Password: "secret-canary"}})
	code(t, "a relay that is not allowed", err, campaign.CodeInvalid, "")
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the password is in %q", err)
	}
	got, err = r.Resume(t.Context(), id, ResumeOptions{Relay: &SubmittedRelay{Password: "correct horse"}})
	if err != nil || strings.Contains(string(got.Campaign.Relay.SealedPassword), "horse") {
		t.Fatalf("Resume: %+v, %v", got.Campaign, err)
	}
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.mailed(t, 20, nil)
}

// TestErasedPassword: what has ended needs the relay's password again.
func TestErasedPassword(t *testing.T) {
	t.Parallel()
	cfg := withPassword()
	cfg.Hook = smtptest.RefuseRecipient(address(1))
	r := newRig(t, rigOptions{relay: cfg})
	runTask(t, r.Engine)
	r.contacts(t, 3)
	id := r.submit(t, r.ownRelay("correct horse"))
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.relay.SetHook(nil)

	_, err := r.Retry(t.Context(), id, RetryOptions{})
	code(t, "a retry without the password", err, campaign.CodeInvalid, "smtp_password")
	_, err = r.Retry(t.Context(), id, RetryOptions{Relay: &SubmittedRelay{Port: r.relay.Port()}})
	code(t, "a retry with the same relay and no password", err, campaign.CodeInvalid, "smtp_password")
	if c, err := r.store.GetCampaign(t.Context(), id); err != nil || c.Status != campaign.StatusCompleted {
		t.Errorf("the campaign is %s, %v", c.Status, err)
	}
	got, err := r.Retry(t.Context(), id, RetryOptions{Relay: &SubmittedRelay{Username: "other", Password: "battery staple"}})
	if err != nil || got.Campaign.Relay.Username != "other" {
		t.Fatalf("Retry: %+v, %v", got.Campaign, err)
	}
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.mailed(t, 3, nil)
	if m := r.relay.Messages()[2]; m.User != "other" || m.To[0] != address(1) {
		t.Errorf("the retry's message went to %v as %q", m.To, m.User)
	}
}

// TestNewRelayInMidCampaign: who resumes with another relay has all that
// follows sent there.
func TestNewRelayInMidCampaign(t *testing.T) {
	t.Parallel()
	const recipients = 600
	goOn := make(chan struct{})
	r := newRig(t, rigOptions{relay: smtptest.Config{Hook: holdBehind(recipients/2, goOn)}})
	other := startRelay(t, smtptest.Config{})
	rules, err := mailer.ParseRules([]string{"127.0.0.1"}, []int{r.relay.Port(), other.Port()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := r.cfg
	cfg.Session.Rules, cfg.Owner = rules, ""
	e := newTask(t, r.store, cfg)
	runTask(t, e)
	r.contacts(t, recipients)
	id := r.submit(t, letter())
	awaitMessages(t, r.relay, 50)
	if _, err := e.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	got, err := e.Resume(t.Context(), id, ResumeOptions{Relay: &SubmittedRelay{Port: other.Port()}})
	if err != nil || got.Campaign.Relay.Default || got.Campaign.Relay.UseTLS {
		t.Fatalf("Resume: %+v, %v", got.Campaign, err)
	}
	close(goOn)
	r.awaitCompleted(t, e, id)
	all := r.relay.PerRecipient()
	for to, n := range other.PerRecipient() {
		all[to] += n
	}
	for i := range recipients {
		if all[address(i)] != 1 {
			t.Errorf("%s was mailed %d times", address(i), all[address(i)])
		}
	}
	if other.Count() == 0 {
		t.Error("the new relay has no message")
	}
}

func (r *rig) awaitCompleted(t *testing.T, e *Engine, id string) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		got, err := e.Report(t.Context(), id)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("waited for the end: %+v, %v", got, err)
		}
		if got.Campaign.Status == campaign.StatusCompleted {
			return
		}
	}
}

// TestRelayAwayForTooLong pauses the campaign, with a notice before and a
// reason afterwards.
func TestRelayAwayForTooLong(t *testing.T) {
	t.Parallel()
	noticed := make(chan string, 1) // it is gone with the pause
	stub := &storeStub{notice: func(text string) {
		select {
		case noticed <- text:
		default: // it is about the first
		}
	}}
	addr, release, err := smtptest.Vacant() // which nobody else is given while the relay is away
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	ledger := &smtptest.Ledger{}
	r := newRig(t, rigOptions{relay: smtptest.Config{Addr: addr, Ledger: ledger}, config: func(c *Config) {
		c.LeaseTime = time.Second
		c.Retry.For = 1500 * time.Millisecond
	}, wrap: func(s store.Store) store.Store {
		stub.Store = s
		return stub
	}})
	r.relay.Close()
	runTask(t, r.Engine)
	r.contacts(t, 5)
	id := r.submit(t, letter())
	got := r.awaitStatus(t, id, campaign.StatusPaused)
	if text := <-noticed; !strings.Contains(text, "trouble") {
		t.Errorf("the notice was %q", text)
	}
	if !strings.Contains(got.Campaign.Reason, "1.5s") || got.Totals.Pending() != 5 {
		t.Errorf("paused as %+v, %+v", got.Campaign, got.Totals)
	}
	r.awaitIdle(t)
	startRelay(t, smtptest.Config{Addr: addr, Ledger: ledger})
	if _, err := r.Resume(t.Context(), id, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	if final := r.awaitStatus(t, id, campaign.StatusCompleted); final.Campaign.Notice != "" {
		t.Errorf("ended with the notice %q", final.Campaign.Notice)
	}
	r.mailed(t, 5, nil)
}

// TestRefusedSender fails the campaign: nothing that a person enters at a
// resumption mends it.
func TestRefusedSender(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{relay: smtptest.Config{Hook: smtptest.At(smtptest.StageMail, smtptest.Reply("550 5.7.1 not you"))}})
	runTask(t, r.Engine)
	r.contacts(t, 5)
	id := r.submit(t, letter())
	got := r.awaitStatus(t, id, campaign.StatusFailed)
	if !strings.Contains(got.Campaign.Reason, "550 5.7.1") || got.Totals.Pending() != 5 || got.Totals.Failed != 0 {
		t.Errorf("ended as %+v, %+v", got.Campaign, got.Totals)
	}
	r.awaitIdle(t)
	r.relay.SetHook(nil)
	if _, err := r.Resume(t.Context(), id, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.mailed(t, 5, nil)
}

func TestMergeRelay(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	own := campaign.Relay{Host: "a.example.org", Port: 2525, UseTLS: true, Username: "u", SealedPassword: []byte{1}}
	for what, test := range map[string]struct{ changes, want SubmittedRelay }{
		"nothing":             {SubmittedRelay{}, SubmittedRelay{Host: "a.example.org", Port: 2525, UseTLS: &yes, Username: "u"}},
		"a password":          {SubmittedRelay{Password: "p"}, SubmittedRelay{Host: "a.example.org", Port: 2525, UseTLS: &yes, Username: "u", Password: "p"}},
		"a port, without TLS": {SubmittedRelay{Port: 25, UseTLS: &no}, SubmittedRelay{Host: "a.example.org", Port: 25, UseTLS: &no, Username: "u"}},
		"the same server":     {SubmittedRelay{Host: "a.example.org", Username: "v"}, SubmittedRelay{Host: "a.example.org", Port: 2525, UseTLS: &yes, Username: "v"}},
		"another server":      {SubmittedRelay{Host: "b.example.org", Password: "p"}, SubmittedRelay{Host: "b.example.org", Password: "p"}},
	} {
		got := mergeRelay(own, &test.changes)
		sameTLS := (got.UseTLS == nil) == (test.want.UseTLS == nil) && (got.UseTLS == nil || *got.UseTLS == *test.want.UseTLS)
		got.UseTLS, test.want.UseTLS = nil, nil
		if got != test.want || !sameTLS {
			t.Errorf("%s: %+v; want %+v", what, got, test.want)
		}
	}
}

func TestRunFits(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1e12)
	now := campaign.Campaign{Status: campaign.StatusInProgress, RunningSince: at, Relay: campaign.Relay{Host: "a", SealedPassword: []byte{1}}}
	for what, test := range map[string]struct {
		change func(*campaign.Campaign)
		fits   bool
	}{
		"as it was":        {func(*campaign.Campaign) {}, true},
		"another notice":   {func(c *campaign.Campaign) { c.Notice = "trouble" }, true},
		"paused":           {func(c *campaign.Campaign) { c.Status = campaign.StatusPaused }, false},
		"cancelled":        {func(c *campaign.Campaign) { c.Status = campaign.StatusCancelled }, false},
		"another password": {func(c *campaign.Campaign) { c.Relay.SealedPassword = []byte{2} }, false},
		"another port":     {func(c *campaign.Campaign) { c.Relay.Port = 25 }, false},
		"taken up again":   {func(c *campaign.Campaign) { c.RunningSince = at.Add(time.Millisecond) }, false},
	} {
		r := &run{campaign: now}
		changed := now
		test.change(&changed)
		if got := r.fits(changed); got != test.fits {
			t.Errorf("%s: fits %v; want %v", what, got, test.fits)
		}
	}
	if !sameRelay(campaign.Relay{Host: "a"}, campaign.Relay{Host: "a", SealedPassword: []byte{}}) {
		t.Error("no password is not the same as an empty one")
	}
}

// TestDefaultPasswordInReplies: what another relay says is not kept where it
// has the default relay's password in it.
func TestDefaultPasswordInReplies(t *testing.T) {
	t.Parallel()
	relay := withPassword()
	relay.Hook = func(e smtptest.Event) smtptest.Action {
		switch {
		case e.Stage != smtptest.StageRcpt:
			return smtptest.Action{}
		case e.Rcpt() == address(1):
			return smtptest.Reply("550 5.1.1 this is no place for default-canary")
		default:
			return smtptest.Reply("550 5.1.1 this is no place for anybody")
		}
	}
	r := newRig(t, rigOptions{relay: relay, config: func(c *Config) {
		c.DefaultRelay = mailer.Relay{Host: "127.0.0.1", Port: 1, UseTLS: true, Username: "postern", Password: "default-canary"}
	}})
	runTask(t, r.Engine)
	r.contacts(t, 2)
	id := r.submit(t, r.ownRelay("correct horse"))
	r.awaitStatus(t, id, campaign.StatusCompleted)
	all := r.deliveries(t, id)
	for n, kept := range map[int]bool{0: true, 1: false} {
		reply := all[address(n)].Reply
		if !strings.Contains(reply, "550") || strings.Contains(reply, "canary") || strings.Contains(reply, "no place") != kept {
			t.Errorf("the reply to %s is kept as %q", address(n), reply)
		}
	}
}
