package engine

import (
	"strings"
	"testing"

	"postern/internal/campaign"
)

func TestPolicyDomains(t *testing.T) {
	t.Parallel()
	p := Policy{RecipientDomains: []string{"example.org", ".agency.test", "xn--bcher-kva.test"}}
	for address, want := range map[string]bool{
		"a@example.org":           true,
		"a@EXAMPLE.org":           true,
		"a@ｅxample.org":           true, // mapped to example.org on the wire
		"a@sub.example.org":       false,
		"a@badexample.org":        false,
		"a@example.org.evil.test": false,
		"a@agency.test":           true,
		"a@x.y.Agency.test":       true,
		"a@notagency.test":        false,
		"a@bücher.test":           true,
		"a@xn--bcher-kva.test":    true,
		"a@buecher.test":          false,
		"no address":              false,
		"a@example.org@evil.test": false,
	} {
		if got := p.maySendTo(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if !(Policy{}).maySendTo("a@anything.test") {
		t.Error("no list allows nobody")
	}
}

func TestPolicySenders(t *testing.T) {
	t.Parallel()
	p := Policy{Senders: []string{"office@example.org", "@agency.test", "kate@example.org"}}
	for address, want := range map[string]bool{
		"office@example.org":      true,
		"Office@Example.ORG":      true,
		"other@example.org":       false,
		"anybody@agency.test":     true,
		"anybody@sub.agency.test": false,
		"x@notagency.test":        false,
		"\u212aate@example.org":   true,  // on the wire the Kelvin sign is a K
		"\u017fam@example.org":    false, // the long s stays one
		"sam@ex\u0130mple.org":    false,
	} {
		err := p.checkSender(address, "")
		if (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
		if !want {
			code(t, address, err, campaign.CodeInvalid, "from_email")
		}
	}
	code(t, "a foreign Reply-To", p.checkSender("office@example.org", "x@elsewhere.test"), campaign.CodeInvalid, "reply_to")
	if err := p.checkSender("office@example.org", "Help@Agency.test"); err != nil {
		t.Error(err)
	}
	if err := (Policy{}).checkSender("a@anything.test", "b@elsewhere.test"); err != nil {
		t.Error(err)
	}
}

func TestSubmitHeedsThePolicy(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) {
		c.Policy = Policy{RecipientDomains: []string{"example.org"}, Senders: []string{"@example.org"}, MaxRecipients: 2}
	}})
	r.contacts(t, 3)
	s := letter()
	s.ReplyTo = campaign.Mailbox{Address: "anybody@example.org"}
	r.submit(t, s)
	s.ReplyTo.Address = "anybody@elsewhere.test"
	_, _, err := r.Submit(t.Context(), s)
	code(t, "a foreign Reply-To", err, campaign.CodeInvalid, "reply_to")
	s.ReplyTo = campaign.Mailbox{}
	s.From.Address = "office@elsewhere.test"
	_, _, err = r.Submit(t.Context(), s)
	code(t, "a foreign sender", err, campaign.CodeInvalid, "from_email")

	s = letter()
	s.Audience.Addresses = []string{address(0), "a@elsewhere.test", "b@elsewhere.test"}
	_, _, err = r.Submit(t.Context(), s)
	code(t, "foreign recipients", err, campaign.CodeInvalid, "recipients[1]")
	code(t, "too many recipients", err, campaign.CodeInvalid, "recipients")
	if ce, _ := asCampaignError(err); len(ce.Faults) != 2 {
		t.Errorf("%v; want the first foreign one only", err)
	}
}

// TestForeignDomainsAreSuppressed: each has its record, and counts.
func TestForeignDomainsAreSuppressed(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) {
		c.Policy = Policy{RecipientDomains: []string{"example.org"}, MaxRecipients: 4, DailyRecipients: 4}
	}})
	r.contacts(t, 2)
	foreign := []campaign.ContactChange{
		{Address: "a@elsewhere.test"},
		{Address: "gone@example.org", Status: campaign.ContactUnsubscribed},
	}
	if err := r.UpsertContacts(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	runTask(t, r.Engine)
	id := r.submit(t, letter())
	got := r.awaitStatus(t, id, campaign.StatusCompleted)
	if got.Totals.Sent != 2 || got.Totals.Suppressed != 2 {
		t.Errorf("totals %+v", got.Totals)
	}
	d := r.deliveries(t, id)["a@elsewhere.test"]
	if d.State != campaign.DeliverySuppressed || d.Reply != outsideDomains {
		t.Errorf("delivery %+v", d)
	}
	r.mailed(t, 2, nil)
}

// TestSenderIsCheckedWhenItSends: a campaign that was accepted under another
// policy does not go out.
func TestSenderIsCheckedWhenItSends(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.contacts(t, 1)
	id := r.submit(t, letter())
	cfg := r.cfg
	cfg.Owner = "another start"
	cfg.Policy.Senders = []string{"@agency.test"}
	runTask(t, newTask(t, r.store, cfg))
	got := r.awaitStatus(t, id, campaign.StatusFailed)
	if !strings.Contains(got.Campaign.Reason, "from_email must be one of SENDERS") || r.relay.Count() != 0 {
		t.Errorf("%d messages; reason %q", r.relay.Count(), got.Campaign.Reason)
	}
}

// TestCheckEnvelope: what a relay may be asked about.
func TestCheckEnvelope(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) {
		c.Policy = Policy{RecipientDomains: []string{"example.org"}, Senders: []string{"@agency.test"}}
	}})
	err := r.CheckEnvelope("a@elsewhere.test", "b@elsewhere.test")
	code(t, "a foreign sender", err, campaign.CodeInvalid, "mail_from")
	code(t, "a foreign recipient", err, campaign.CodeInvalid, "rcpt_to")
	for _, pair := range [][2]string{{}, {"a@agency.test"}, {"a@agency.test", "b@example.org"}} {
		if err := r.CheckEnvelope(pair[0], pair[1]); err != nil {
			t.Errorf("%q: %v", pair, err)
		}
	}
}
