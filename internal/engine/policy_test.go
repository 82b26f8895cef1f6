package engine

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
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
		"\u212aate@example.org":   false, // the Kelvin sign's lower case is k
	} {
		err := p.checkSender(address)
		if (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
		if !want {
			code(t, address, err, campaign.CodeInvalid, "from_email")
		}
	}
	if err := (Policy{}).checkSender("a@anything.test"); err != nil {
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
	s.ReplyTo = campaign.Mailbox{Address: "anybody@elsewhere.test"} // nobody's business
	r.submit(t, s)
	s.From.Address = "office@elsewhere.test"
	_, _, err := r.Submit(t.Context(), s)
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

// TestForeignDomainsAreSuppressed: each has its record, and counts for no
// limit.
func TestForeignDomainsAreSuppressed(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) {
		c.Policy = Policy{RecipientDomains: []string{"example.org"}, MaxRecipients: 2, DailyRecipients: 2}
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

func TestTooManyForOneCampaign(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) { c.Policy.MaxRecipients = 2 }})
	r.contacts(t, 3)
	runTask(t, r.Engine)
	id := r.submit(t, letter())
	got := r.awaitStatus(t, id, campaign.StatusFailed)
	r.awaitIdle(t)
	if !strings.Contains(got.Campaign.Reason, "MAX_RECIPIENTS") || got.Totals.Total != 0 || r.relay.Count() != 0 {
		t.Errorf("%+v, %d messages; reason %q", got.Totals, r.relay.Count(), got.Campaign.Reason)
	}
	if err := r.DeleteContact(t.Context(), address(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resume(t.Context(), id, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.mailed(t, 2, nil)
}

// TestTooManyForTheDay: what a day has no room for waits for a person, who is
// told so again on the same day, and not on the next.
func TestTooManyForTheDay(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) { c.Policy.DailyRecipients = 5 }})
	r.contacts(t, 3)
	runTask(t, r.Engine)
	r.awaitStatus(t, r.submit(t, letter()), campaign.StatusCompleted)
	second := r.submit(t, letter())
	for range 2 {
		got := r.awaitStatus(t, second, campaign.StatusPaused)
		if want := "DAILY_RECIPIENTS leaves 2 recipients of 5"; !strings.HasPrefix(got.Campaign.Reason, want) || got.Totals.Total != 0 {
			t.Errorf("%+v; reason %q", got.Totals, got.Campaign.Reason)
		}
		if _, err := r.Resume(t.Context(), second, ResumeOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	got := r.awaitStatus(t, second, campaign.StatusPaused)
	r.mailed(t, 3, nil)
	r.clock.advance(24 * time.Hour)
	if _, err := r.Resume(t.Context(), second, ResumeOptions{}); err != nil {
		t.Fatal(err, got)
	}
	r.awaitStatus(t, second, campaign.StatusCompleted)
	r.mailed(t, 3, map[string]int{address(0): 2, address(1): 2, address(2): 2})
}

// TestNamedRecipientsAreCounted: a short list of addresses counts as such.
func TestNamedRecipientsAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) { c.Policy = Policy{MaxRecipients: 2, DailyRecipients: 2} }})
	r.contacts(t, 5)
	runTask(t, r.Engine)
	s := letter()
	s.Audience.Addresses = []string{address(1), address(4)}
	r.awaitStatus(t, r.submit(t, s), campaign.StatusCompleted)
	s.Audience.Addresses = s.Audience.Addresses[:1]
	r.awaitStatus(t, r.submit(t, s), campaign.StatusPaused)
}

// crashAtChunk loses the answer of the first write of a chunk, and what was
// to be written.
type crashAtChunk struct {
	store.Store

	crashed atomic.Bool
	swaps   atomic.Int64
}

func (s *crashAtChunk) AddChunk(ctx context.Context, control store.Lease, chunk store.Chunk, cursor string) (store.Lease, error) {
	if s.crashed.CompareAndSwap(false, true) {
		return store.Lease{}, campaign.Errorf(campaign.CodeInternal, "a crash")
	}
	return s.Store.AddChunk(ctx, control, chunk, cursor)
}

func (s *crashAtChunk) SwapCell(ctx context.Context, key string, seen store.Cell, value []byte) (store.Cell, error) {
	if !strings.HasPrefix(key, "recipients of ") {
		return s.Store.SwapCell(ctx, key, seen, value)
	}
	switch s.swaps.Add(1) {
	case 1: // somebody else was faster
		return store.Cell{}, campaign.Errorf(campaign.CodeConflict, "changed meanwhile")
	case 2: // written, and the answer lost
		if _, err := s.Store.SwapCell(ctx, key, seen, value); err != nil {
			return store.Cell{}, err
		}
		return store.Cell{}, campaign.Errorf(campaign.CodeUnavailable, "no answer")
	default:
		return s.Store.SwapCell(ctx, key, seen, value)
	}
}

// TestACampaignCountsOnce: an answer that was lost, and a task that ends
// between the count and the first chunk, do not count a campaign twice.
func TestACampaignCountsOnce(t *testing.T) {
	t.Parallel()
	var flaky *crashAtChunk
	r := newRig(t, rigOptions{
		config: func(c *Config) { c.Policy.DailyRecipients = 3 },
		wrap: func(s store.Store) store.Store {
			flaky = &crashAtChunk{Store: s}
			return flaky
		},
	})
	r.contacts(t, 3)
	runTask(t, r.Engine)
	id := r.submit(t, letter())
	got := r.await(t, id, "its end", func(got Report) bool {
		if flaky.crashed.Load() {
			r.clock.advance(time.Minute) // past the wait before the next try
		}
		return got.Campaign.Status == campaign.StatusCompleted
	})
	r.mailed(t, 3, nil)
	if n := flaky.swaps.Load(); n != 2 {
		t.Errorf("%d swaps", n)
	}
	cell, err := r.store.GetCell(t.Context(), dayKey(got.Campaign.RunningSince))
	if err != nil {
		t.Fatal(err)
	}
	d, err := readDay(cell)
	if err != nil || d.Campaigns[id] != 3 || d.others("") != 3 {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestADayOfManyCampaigns: the cell stays small, and nothing of the count is
// lost.
func TestADayOfManyCampaigns(t *testing.T) {
	t.Parallel()
	const most = maxDayCampaigns + 10
	id := func(i int) string { return fmt.Sprintf("0190a5c0-0000-7000-8000-%012d", i) }
	full := day{Campaigns: map[string]int{}}
	for i := range maxDayCampaigns - 1 {
		full.Campaigns[id(i)] = 1e6
	}
	cell := store.Cell{Value: full.with(id(maxDayCampaigns-1), 1e6)}
	for i := maxDayCampaigns; i < most; i++ {
		d, err := readDay(cell)
		if err != nil {
			t.Fatal(err)
		}
		cell.Value = d.with(id(i), 1e6)
		if len(cell.Value) > store.MaxCellOctets {
			t.Fatalf("%d campaigns take %d octets", i+1, len(cell.Value))
		}
	}
	d, err := readDay(cell)
	if err != nil || d.others("") != most*1e6 || len(d.Campaigns) != maxDayCampaigns || d.Campaigns[id(most-1)] == 0 {
		t.Errorf("%d recipients, %d campaigns, %v", d.others(""), len(d.Campaigns), err)
	}
	if _, err := readDay(store.Cell{Value: []byte("{")}); campaign.CodeOf(err) != campaign.CodeInternal {
		t.Errorf("a damaged cell: %v", err)
	}
}
