package engine

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

// personStub does something of a test's right before a call to the store.
type personStub struct {
	store.Store

	swept        chan struct{} // closed when campaigns have been listed
	sweep        sync.Once
	beforeAdd    func()
	beforeExpire func()
	audience     func(store.LeaseKey) error
	eraseChunk   func(store.LeaseKey) error
}

func (s *personStub) AddChunk(ctx context.Context, control store.Lease, chunk store.Chunk, cursor string) (store.Lease, error) {
	if s.beforeAdd != nil {
		s.beforeAdd()
	}
	return s.Store.AddChunk(ctx, control, chunk, cursor)
}

func (s *personStub) ListCampaigns(ctx context.Context, cursor string, limit int) (store.CampaignPage, error) {
	s.sweep.Do(func() { close(s.swept) })
	return s.Store.ListCampaigns(ctx, cursor, limit)
}

func (s *personStub) Expire(ctx context.Context, id string, finishedBefore, at time.Time) error {
	if s.beforeExpire != nil {
		s.beforeExpire()
	}
	return s.Store.Expire(ctx, id, finishedBefore, at)
}

func (s *personStub) GetAudience(ctx context.Context, key store.LeaseKey) ([]byte, error) {
	if s.audience != nil {
		if err := s.audience(key); err != nil {
			return nil, err
		}
	}
	return s.Store.GetAudience(ctx, key)
}

func (s *personStub) EraseChunk(ctx context.Context, key store.LeaseKey) error {
	if s.eraseChunk != nil {
		if err := s.eraseChunk(key); err != nil {
			return err
		}
	}
	return s.Store.EraseChunk(ctx, key)
}

// personRig is a rig with a retention of a day, whose sweeps are the test's to
// make: the task's own comes before there are campaigns.
func personRig(t *testing.T) (*rig, *personStub) {
	t.Helper()
	stub := &personStub{swept: make(chan struct{})}
	r := newRig(t, rigOptions{
		config: func(c *Config) { c.Retention = 24 * time.Hour },
		wrap:   func(s store.Store) store.Store { stub.Store = s; return stub },
	})
	r.contacts(t, 3)
	return r, stub
}

// runSwept runs a task and waits until its own sweep is behind the time that it
// forgets by, and so forgets nothing of what comes.
func (r *rig) runSwept(t *testing.T, stub *personStub) {
	t.Helper()
	runTask(t, r.Engine)
	<-stub.swept
}

// completed gives a campaign that is completed and at rest.
func (r *rig) completed(t *testing.T) string {
	t.Helper()
	id := r.submit(t, letter())
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.awaitIdle(t)
	return id
}

func (r *rig) erase(t *testing.T, address, cursor string) ErasurePage {
	t.Helper()
	p, err := r.ErasePerson(t.Context(), address, cursor)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestLateResultNamesNobodyErased: a result that arrives behind the erasure of
// its recipient does not bring him back.
func TestLateResultNamesNobodyErased(t *testing.T) {
	t.Parallel()
	r, _ := personRig(t)
	r.relay.SetHook(smtptest.RefuseRecipient(address(1)))
	runTask(t, r.Engine)
	id := r.completed(t)
	if p := r.erase(t, address(1), ""); p.Recipients != 1 || p.Left {
		t.Fatalf("the erasing said %+v", p)
	}
	key := store.LeaseKey{CampaignID: id, Number: 1}
	before, err := r.store.GetLease(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	r.absorb(key, []campaign.Delivery{{
		Index: 1, Address: address(1), State: campaign.DeliverySent, Attempts: 1, Reply: "250 <" + address(1) + "> late", MessageID: "m", UpdatedAt: r.clock.now(),
	}})
	r.awaitLease(t, key, func(l store.Lease) bool { return l.Version > before.Version })
	if d, there := r.deliveries(t, id)[""]; !there || d.State != campaign.DeliverySent || d.Reply+d.MessageID != "" {
		t.Errorf("the late result is %+v; all are %+v", d, r.deliveries(t, id))
	}
}

// TestEraseWhileFreezing: the freezing that has read the contact before it was
// deleted may store it behind the search.
func TestEraseWhileFreezing(t *testing.T) {
	t.Parallel()
	r, stub := personRig(t)
	var during ErasurePage
	var found PersonPage
	stub.beforeAdd = sync.OnceFunc(func() {
		found, _ = r.Person(t.Context(), address(1), "")
		during = r.erase(t, address(1), "")
	})
	runTask(t, r.Engine)
	id := r.completed(t)
	if !slices.Equal(during.Remaining, []string{id}) || !during.Left {
		t.Errorf("an erasing during the freezing said %+v", during)
	}
	if !slices.Equal(found.Incomplete, []string{id}) || !found.Left {
		t.Errorf("an export during the freezing said %+v", found)
	}
	if p := r.erase(t, address(1), ""); p.Recipients != 1 || p.Left {
		t.Errorf("an erasing behind it said %+v", p)
	}
}

// TestEraseNamed takes the only person whom campaigns name out of them: out of
// one that is cancelled, and of one that waits for its time and then mails
// nobody, instead of everybody.
func TestEraseNamed(t *testing.T) {
	t.Parallel()
	r, _ := personRig(t)
	s := letter()
	s.Audience.Addresses = []string{address(1)}
	s.SendAt = r.clock.now().Add(time.Hour)
	waiting, cancelled := r.submit(t, s), r.submit(t, s)
	if _, err := r.Cancel(t.Context(), cancelled); err != nil {
		t.Fatal(err)
	}
	found, err := r.Person(t.Context(), address(1), "")
	if err != nil || !slices.Equal(found.NamedIn, []string{cancelled, waiting}) || found.Left {
		t.Errorf("before, the export says %+v, %v", found, err)
	}
	if p := r.erase(t, address(1), ""); p.Left || !p.Contact {
		t.Errorf("the erasing said %+v", p)
	}
	if found, err := r.Person(t.Context(), address(1), ""); err != nil || found.Contact != nil || len(found.NamedIn) > 0 {
		t.Errorf("behind it, the export says %+v, %v", found, err)
	}
	runTask(t, r.Engine)
	r.clock.advance(time.Hour)
	if got := r.awaitStatus(t, waiting, campaign.StatusCompleted); got.Totals.Total != 0 || r.relay.Count() > 0 {
		t.Errorf("the campaign of an erased person mailed others: %+v", got.Totals)
	}
}

// TestRetentionOfNeverFrozen: a campaign that ended before its audience was
// frozen forgets whom it names, too.
func TestRetentionOfNeverFrozen(t *testing.T) {
	t.Parallel()
	r, _ := personRig(t)
	s := letter()
	s.Audience.Addresses = []string{address(1), address(2)}
	s.SendAt = r.clock.now().Add(time.Hour)
	id := r.submit(t, s)
	if _, err := r.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r.clock.advance(48 * time.Hour)
	for range 2 {
		if err := r.forgetOld(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c, err := r.store.GetCampaign(t.Context(), id)
	if err != nil || c.ExpiredAt.IsZero() || len(c.Audience.Addresses) > 0 {
		t.Errorf("the campaign expired at %s and names %q, %v", c.ExpiredAt, c.Audience.Addresses, err)
	}
}

// TestRetentionSparesTheRetried: a campaign that is retried while a sweep looks
// at it is kept from its new end on.
func TestRetentionSparesTheRetried(t *testing.T) {
	t.Parallel()
	r, stub := personRig(t)
	r.relay.SetHook(smtptest.RefuseRecipient(address(1)))
	r.runSwept(t, stub)
	id := r.completed(t)
	r.clock.advance(25 * time.Hour)
	stub.beforeExpire = sync.OnceFunc(func() {
		r.relay.SetHook(nil)
		if _, err := r.Retry(t.Context(), id, RetryOptions{}); err != nil {
			t.Error(err)
		}
		r.awaitStatus(t, id, campaign.StatusCompleted)
		r.awaitIdle(t)
	})
	if err := r.forgetOld(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := r.store.GetCampaign(t.Context(), id)
	if err != nil || !c.ExpiredAt.IsZero() || len(r.deliveries(t, id)) != 3 {
		t.Errorf("it was forgotten at %s, ended at %s, %v", c.ExpiredAt, c.FinishedAt, err)
	}
}

// TestPagesRemember: what remained on the first page of an erasure keeps the
// last one from being complete.
func TestPagesRemember(t *testing.T) {
	t.Parallel()
	r, stub := personRig(t)
	runTask(t, r.Engine)
	old, id := r.completed(t), r.completed(t)
	stub.audience = func(key store.LeaseKey) error {
		if key.CampaignID == id {
			return campaign.Errorf(campaign.CodeInternal, "damaged")
		}
		return nil
	}
	first := search{e: r.Engine, key: address(1)}
	first.leave(id)
	listed, err := r.store.ListCampaigns(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	first.at.chunk, first.at.listing = 1, listed.Next
	p := r.erase(t, address(1), first.at.String())
	if p.Next != "" || p.Recipients != 1 || len(p.Remaining) > 0 || !p.Left {
		t.Errorf("the last page said %+v", p)
	}
	if _, there := r.deliveries(t, old)[address(1)]; there {
		t.Error("the last page erased nothing")
	}
}

// TestOneBadCampaignIsPassed: a campaign whose audience cannot be read hinders
// neither erasing nor export nor retention of the others.
func TestOneBadCampaignIsPassed(t *testing.T) {
	t.Parallel()
	r, stub := personRig(t)
	r.runSwept(t, stub)
	good, bad := r.completed(t), r.completed(t)
	for what, fault := range map[string]error{
		"damaged": campaign.Errorf(campaign.CodeInternal, "damaged"), "gone": campaign.Errorf(campaign.CodeNotFound, "gone"),
	} {
		stub.audience = func(key store.LeaseKey) error {
			if key.CampaignID == bad {
				return fault
			}
			return nil
		}
		found, err := r.Person(t.Context(), address(1), "")
		if err != nil || len(found.Deliveries) != 1 || !slices.Equal(found.Incomplete, []string{bad}) {
			t.Errorf("%s: the export is %+v, %v", what, found, err)
		}
	}
	if p := r.erase(t, address(1), ""); p.Recipients != 1 || !slices.Equal(p.Remaining, []string{bad}) {
		t.Errorf("the erasing said %+v", p)
	}
	r.clock.advance(25 * time.Hour)
	stub.audience = nil
	stub.eraseChunk = func(key store.LeaseKey) error {
		if key.CampaignID == bad {
			return errUnavailable()
		}
		return nil
	}
	if err := r.forgetOld(t.Context()); campaign.CodeOf(err) != campaign.CodeUnavailable {
		t.Errorf("the sweep said %v", err)
	}
	if len(r.deliveries(t, good)) != 0 {
		t.Error("the campaign behind the bad one was not forgotten")
	}
	// What is half forgotten still has the person.
	if p := r.erase(t, address(1), ""); !slices.Equal(p.Remaining, []string{bad}) {
		t.Errorf("an erasing before the next sweep said %+v", p)
	}
	stub.eraseChunk = nil
	if err := r.forgetOld(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := r.erase(t, address(1), ""); p.Left {
		t.Errorf("an erasing behind it said %+v", p)
	}
}
