package engine

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/audit"
	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

// audited checks a campaign's audit trail from its export alone, and gives the
// report and the events.
func (r *rig) audited(t *testing.T, id string) (audit.Report, []campaign.Event) {
	t.Helper()
	var export bytes.Buffer
	if err := r.Audit(t.Context(), id, &export); err != nil {
		t.Fatal(err)
	}
	keys, err := r.AuditKeys()
	if err != nil || len(keys) != 1 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	report, err := audit.Verify(bytes.NewReader(export.Bytes()), []ed25519.PublicKey{keys[0].Public})
	if err != nil {
		t.Fatal(err)
	}
	if report.Broken > 0 {
		t.Errorf("the audit trail is broken: %q", report.Problems)
	}
	links, err := r.store.AuditLinks(t.Context(), store.LeaseKey{CampaignID: id}, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var events []campaign.Event
	for _, l := range links {
		e, err := campaign.DecodeEvent(l.Payload)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return report, events
}

// told is what of events can be said beforehand.
func told(events []campaign.Event) (all []string) {
	for _, e := range events {
		all = append(all, strings.Join([]string{e.Actor.Name, string(e.Action), string(e.From), string(e.To)}, " "))
	}
	return all
}

// TestAuditTrail takes a campaign of two chunks through failures, a lost reply,
// a pause and a retry: each is told with who asked for it, and the trail is
// whole, signed and what the rows say.
func TestAuditTrail(t *testing.T) {
	t.Parallel()
	const recipients = chunkRecipients + 20
	o := rigOptions{}
	o.relay.Hook = refuseAndLose()
	r := newRig(t, o)
	r.contacts(t, recipients)
	by := func(name string) context.Context { return campaign.WithActor(t.Context(), campaign.Actor{Name: name}) }
	s := letter()
	s.Promise = campaign.AtMostOnce
	report, _, err := r.Submit(by("ann"), s)
	if err != nil {
		t.Fatal(err)
	}
	id := report.Campaign.ID
	if _, err := r.Pause(by("bob"), id); err != nil {
		t.Fatal(err)
	}
	runTask(t, r.Engine)
	r.awaitIdle(t)
	if _, err := r.Resume(by("ann"), id, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.awaitIdle(t)
	if first, _ := r.audited(t, id); first.Rows != recipients || first.Unsigned > 0 || first.Unchecked > 0 {
		t.Errorf("completed: %+v", first)
	}
	if _, err := r.Retry(by("cid"), id, RetryOptions{States: []campaign.DeliveryState{campaign.DeliveryFailed, campaign.DeliveryUnknown}}); err != nil {
		t.Fatal(err)
	}
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.awaitIdle(t)
	got, events := r.audited(t, id)
	if got.Chunks != 2 || got.Unsigned > 0 || got.AtWork > 0 {
		t.Errorf("completed again: %+v", got)
	}
	want := []string{
		"ann created  pending", "bob status pending paused", "service root  ",
		"ann restarted paused pending", "service status pending in_progress", "service status in_progress completed", "service root  ",
		"cid restarted completed in_progress", "service status in_progress completed", "service root  ",
	}
	if all := told(events); !slices.Equal(all, want) {
		t.Errorf("the events are %q, want %q", all, want)
	}
}

// TestAuditLateRoot: a message that is absorbed behind the end is signed too,
// and nothing is signed twice.
func TestAuditLateRoot(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{relay: smtptest.Config{Hook: smtptest.RefuseRecipient(address(1))}})
	r.contacts(t, 3)
	runTask(t, r.Engine)
	id := r.submit(t, letter())
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.awaitIdle(t)
	key := store.LeaseKey{CampaignID: id, Number: 1}
	r.settleLate(key) // nothing has changed
	if _, events := r.audited(t, id); len(events) != 4 || events[3].Root == nil || events[3].Root.Failed != 1 {
		t.Errorf("the events are %q, want one root at last, of one failed", told(events))
	}

	late := campaign.Delivery{Index: 1, Address: address(1), State: campaign.DeliverySent, Attempts: 1, Reply: "250 late", UpdatedAt: r.clock.now()}
	if err := r.store.Absorb(t.Context(), key, []campaign.Delivery{late}); err != nil {
		t.Fatal(err)
	}
	if report, _ := r.audited(t, id); report.Unsigned != 1 {
		t.Errorf("%d links are not signed yet, want 1", report.Unsigned)
	}
	r.settleLate(key)
	report, events := r.audited(t, id)
	if last := events[len(events)-1]; report.Unsigned != 0 || len(events) != 5 || last.Root == nil || last.Root.Sent != 3 {
		t.Errorf("the events are %q, %+v", told(events), report)
	}
}

// TestAuditOfCancelled: a task dies right behind the cancelling of a campaign
// whose accounts were settled when it was paused. Whoever comes next signs it.
func TestAuditOfCancelled(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	r := newRig(t, rigOptions{shared: true, relay: smtptest.Config{Hook: holdBehind(50, goOn)}})
	r.contacts(t, 200)
	stop := runTask(t, r.Engine)
	id := r.submit(t, letter())
	r.await(t, id, "some to be sent to", func(got Report) bool { return got.Totals.Sent > 5 })
	if _, err := r.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	r.awaitIdle(t)
	if report, _ := r.audited(t, id); report.Unsigned > 0 || report.UnsignedEvents > 0 {
		t.Fatalf("paused: %+v", report)
	}
	stop() // so it does nothing behind the write
	if _, err := r.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if report, _ := r.audited(t, id); report.UnsignedEvents != 1 {
		t.Errorf("cancelled, and nobody is there: %+v", report)
	}
	cfg := r.cfg
	cfg.Owner = "the next task"
	runTask(t, newTask(t, r.store, cfg))
	r.awaitIdle(t)
	report, events := r.audited(t, id)
	if last := events[len(events)-1]; report.UnsignedEvents > 0 || !report.Proven() || last.Root == nil || last.Actor != campaign.Service {
		t.Errorf("behind the next task: %+v, events %q", report, told(events))
	}
	if _, err := r.Cancel(t.Context(), id); err != nil { // changes nothing
		t.Fatal(err)
	}
	if _, again := r.audited(t, id); len(again) != len(events) {
		t.Errorf("a repeated cancelling made events: %q", told(again))
	}
}

// TestAuditMoved: a root is not signed over chains that change while they are
// read, and is once they rest.
func TestAuditMoved(t *testing.T) {
	t.Parallel()
	stub := &storeStub{}
	r := newRig(t, rigOptions{wrap: func(s store.Store) store.Store {
		stub.Store = s
		return stub
	}})
	r.contacts(t, 3)
	id := r.submit(t, letter())
	if _, err := r.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	control, err := stub.AcquireLease(t.Context(), store.Lease{Key: store.LeaseKey{CampaignID: id}, DueAt: time.Time{}}, "freezer")
	if err != nil {
		t.Fatal(err)
	}
	s := settler{e: r.Engine, stop: func() bool { return false }}
	moves := 0
	stub.totals = func() {
		if moves++; moves > 2 {
			return
		}
		chunk := store.Chunk{Size: 1, Packed: campaign.Audience{Recipients: make([]campaign.Recipient, 1)}.Pack(), DueAt: r.clock.now()}
		if control, err = stub.AddChunk(t.Context(), control, chunk, "c"); err != nil {
			t.Error(err)
		}
	}
	if err := s.join(t.Context(), id); err == nil {
		t.Error("a root was signed over chains that changed meanwhile")
	}
	stub.totals = nil
	if _, events := r.audited(t, id); len(events) != 2 {
		t.Errorf("the events are %q", told(events))
	}
}

// TestPersons makes a person's digest by hand, as the documentation says.
func TestPersons(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	id := campaign.KeyID(r.sealer.KeyIDs()[0])
	p, err := newPersons(r.sealer, id, "campaign")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := r.sealer.DeriveFor(id, "postern audit person 1")
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("campaign\nada@example.org"))
	want := campaign.Person{Key: id, Digest: campaign.PersonDigest(mac.Sum(nil)[:16])}
	for range 2 {
		if got := p.of("Ada@Example.org"); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if got := p.of(""); got != (campaign.Person{}) {
		t.Errorf("an erased person is %v", got)
	}
}
