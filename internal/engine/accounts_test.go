package engine

import (
	"context"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

// countStub stands before a store's CountSent.
type countStub struct {
	store.Store

	before func(ctx context.Context) error
	after  func() error
}

func (s *countStub) CountSent(ctx context.Context, campaignID string, sent []store.Sent) error {
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return err
		}
	}
	err := s.Store.CountSent(ctx, campaignID, sent)
	if err == nil && s.after != nil {
		return s.after()
	}
	return err
}

// on gives rig options for several tasks on a store with the stub before it.
func (s *countStub) on(leaseTime time.Duration) rigOptions {
	return rigOptions{
		shared: true,
		config: func(c *Config) { c.LeaseTime = leaseTime },
		wrap: func(inner store.Store) store.Store {
			s.Store = inner
			return s
		},
	}
}

// counted waits until nobody works on anything any more, and fails the test
// unless the statistics of the contacts have one message of the campaign each
// whom the relay has acknowledged one to, and the others none.
func (r *rig) counted(t *testing.T, id string, n int) {
	t.Helper()
	r.awaitIdle(t)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = campaign.Key(address(i))
	}
	contacts, err := r.store.GetContacts(t.Context(), keys)
	if err != nil || len(contacts) != n {
		t.Fatalf("%d contacts of %d, %v", len(contacts), n, err)
	}
	rows := r.deliveries(t, id)
	for _, c := range contacts {
		d := rows[c.Address]
		if d.State != campaign.DeliverySent {
			if c.EmailCount != 0 {
				t.Errorf("%s was counted %d times, and is %s", c.Address, c.EmailCount, d.State)
			}
			continue
		}
		if c.EmailCount != 1 || c.LastCampaign != id || !c.LastEmailSent.Truncate(time.Millisecond).Equal(d.UpdatedAt.Truncate(time.Millisecond)) {
			t.Errorf("%s was counted %d times, last for %q at %s; want once for %q at %s",
				c.Address, c.EmailCount, c.LastCampaign, c.LastEmailSent, id, d.UpdatedAt)
		}
	}
	r.accountsSettled(t, id)
}

// accountsSettled fails the test unless each chunk's lease says that its
// contacts are counted.
func (r *rig) accountsSettled(t *testing.T, id string) {
	t.Helper()
	control, err := r.store.GetLease(t.Context(), store.LeaseKey{CampaignID: id})
	if err != nil || !control.Closed {
		t.Errorf("the control lease is %+v, %v; want it closed", control, err)
	}
	for n := range control.Freeze.Chunks {
		lease, err := r.store.GetLease(t.Context(), store.LeaseKey{CampaignID: id, Number: n + 1})
		if err != nil || !lease.Closed || !lease.Progress.AllCounted() {
			t.Errorf("chunk %d is %+v, %v; want it closed and counted", n+1, lease, err)
		}
	}
}

// deferring answers RCPT for one address with 451.
func deferring(to string) smtptest.Hook {
	return func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageRcpt || e.Rcpt() != to {
			return smtptest.Action{}
		}
		return smtptest.Reply("451 4.7.1 try again later")
	}
}

func TestAccountsBehindTheEnd(t *testing.T) {
	t.Parallel()
	const recipients = chunkRecipients + 100 // two chunks
	counting, goOn := make(chan struct{}, recipients), make(chan struct{})
	stub := &countStub{before: func(context.Context) error {
		counting <- struct{}{}
		<-goOn
		return nil
	}}
	o := stub.on(time.Minute)
	o.relay.Hook = refuseAndLose()
	r := newRig(t, o)
	runTask(t, r.Engine)
	r.contacts(t, recipients)
	s := letter()
	s.Promise = campaign.AtMostOnce
	id := r.submit(t, s)
	r.awaitStatus(t, id, campaign.StatusCompleted)
	<-counting // not before
	close(goOn)
	r.counted(t, id, recipients)
}

// TestAccountsOfTwoCampaigns: the second one's letters are not kept waiting,
// and everybody is counted once for each.
func TestAccountsOfTwoCampaigns(t *testing.T) {
	t.Parallel()
	const recipients = 50
	goOn := make(chan struct{})
	stub := &countStub{before: func(context.Context) error {
		<-goOn
		return nil
	}}
	r := newRig(t, stub.on(time.Minute))
	runTask(t, r.Engine)
	r.contacts(t, recipients)
	for range 2 {
		r.awaitStatus(t, r.submit(t, letter()), campaign.StatusCompleted)
	}
	close(goOn)
	r.awaitIdle(t)
	contacts, _, err := r.store.ListContacts(t.Context(), "", recipients)
	if err != nil || len(contacts) != recipients {
		t.Fatalf("%d contacts, %v", len(contacts), err)
	}
	for _, c := range contacts {
		if c.EmailCount != 2 {
			t.Errorf("%s was counted %d times; want 2", c.Address, c.EmailCount)
		}
	}
}

// TestAccountsOfStopped: those who were sent to before a stop are counted
// behind it, and once in all when the campaign goes on.
func TestAccountsOfStopped(t *testing.T) {
	t.Parallel()
	const recipients = 2 * chunkRecipients
	for name, stop := range map[string]func(r *rig, id string) error{
		"cancelled": func(r *rig, id string) error {
			_, err := r.Cancel(context.Background(), id)
			return err
		},
		"paused and resumed": func(r *rig, id string) error {
			_, err := r.Pause(context.Background(), id)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Somebody who is deferred for long does not keep the others waiting.
			late := smtptest.Times(1, deferring(address(0)))
			r := newRig(t, rigOptions{relay: smtptest.Config{Hook: late}, config: func(c *Config) {
				c.Caps.Rate = 400
				c.Retry = RetryPolicy{Min: 50 * time.Minute, Max: 50 * time.Minute, For: 5 * time.Hour}
			}})
			runTask(t, r.Engine)
			r.contacts(t, recipients)
			id := r.submit(t, letter())
			r.await(t, id, "some to be sent to", func(got Report) bool { return got.Totals.Sent > 20 })
			if err := stop(r, id); err != nil {
				t.Fatal(err)
			}
			r.counted(t, id, recipients)
			if name == "cancelled" {
				return
			}
			if _, err := r.Resume(t.Context(), id, ResumeOptions{}); err != nil {
				t.Fatal(err)
			}
			r.await(t, id, "all but one to be sent to, and that one to wait", func(got Report) bool {
				lease, err := r.store.GetLease(t.Context(), store.LeaseKey{CampaignID: id, Number: 1})
				return err == nil && lease.Owner == "" && len(lease.Progress.Deferred) == 1 && got.Totals.Pending() == 1
			})
			r.clock.advance(2 * time.Hour) // delays have a quarter of jitter
			r.awaitStatus(t, id, campaign.StatusCompleted)
			r.counted(t, id, recipients)
		})
	}
}

// TestAccountsOfWaiting: a campaign is stopped while the rest of it waits.
func TestAccountsOfWaiting(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{
		relay: smtptest.Config{Hook: deferring(address(0))},
		config: func(c *Config) {
			c.Retry = RetryPolicy{Min: 50 * time.Minute, Max: 50 * time.Minute, For: 5 * time.Hour}
		},
	})
	runTask(t, r.Engine)
	r.contacts(t, 5)
	id := r.submit(t, letter())
	key := store.LeaseKey{CampaignID: id, Number: 1}
	r.await(t, id, "the chunk to wait", func(Report) bool {
		lease, err := r.store.GetLease(t.Context(), key)
		return err == nil && lease.Owner == "" && len(lease.Progress.Deferred) == 1
	})
	if _, err := r.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r.counted(t, id, 5)
}

// TestAccountsOfRetry: a retry adds those whom it has reached.
func TestAccountsOfRetry(t *testing.T) {
	t.Parallel()
	const recipients = chunkRecipients + 100 // two chunks
	r := newRig(t, rigOptions{relay: smtptest.Config{Hook: refuseAndLose()}})
	runTask(t, r.Engine)
	r.contacts(t, recipients)
	s := letter()
	s.Promise = campaign.AtMostOnce
	id := r.submit(t, s)
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.counted(t, id, recipients)
	r.relay.SetHook(nil)
	if _, err := r.Retry(t.Context(), id, RetryOptions{States: retryStates}); err != nil {
		t.Fatal(err)
	}
	if final := r.awaitStatus(t, id, campaign.StatusCompleted); final.Totals.Sent != recipients {
		t.Fatalf("ended as %+v", final.Totals)
	}
	r.counted(t, id, recipients)
}

// TestAccountsLate: a message that is recorded late, for somebody who had
// failed, behind the campaign's end.
func TestAccountsLate(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{relay: smtptest.Config{Hook: smtptest.RefuseRecipient(address(1))}})
	runTask(t, r.Engine)
	r.contacts(t, 3)
	id := r.submit(t, letter())
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.counted(t, id, 3)
	key := store.LeaseKey{CampaignID: id, Number: 1}
	before, err := r.store.GetLease(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := r.store.Deliveries(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range rows {
		if d.State == campaign.DeliveryFailed {
			d.State = campaign.DeliverySent
			r.window.add()
			r.absorb(key, []campaign.Delivery{d})
		}
	}
	r.awaitLease(t, key, func(l store.Lease) bool { return l.Version == before.Version+2 }) // absorbed, and counted
	r.counted(t, id, 3)
}
