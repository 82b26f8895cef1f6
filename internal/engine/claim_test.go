package engine

import (
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

// TestTakeOverByAFullTask: a task that has all the places that it may have of
// a campaign watches a dead task's chunk all the same, and takes it over.
func TestTakeOverByAFullTask(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{shared: true, config: func(c *Config) {
		c.Caps.Rate = 50
		c.LeaseTime = 2 * time.Second
	}})
	runTask(t, r.Engine)
	r.contacts(t, 6*chunkRecipients)
	id := r.submit(t, letter())
	r.await(t, id, "frozen, and the task to have all its places", func(got Report) bool {
		return got.Totals.Final && r.held(id) == chunksPerCampaign
	})
	victim := r.takeFree(t, id, "dead")
	r.await(t, id, "the take-over", func(Report) bool {
		l, err := r.store.GetLease(t.Context(), victim.Key)
		return err == nil && l.Owner != "dead"
	})
	if _, err := r.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// takeFree acquires a chunk that nobody holds, for an owner that does nothing.
func (r *rig) takeFree(t *testing.T, id, owner string) store.Lease {
	t.Helper()
	for number := 1; ; number++ {
		l, err := r.store.GetLease(t.Context(), store.LeaseKey{CampaignID: id, Number: number})
		if err != nil {
			t.Fatalf("no chunk is free: %v", err)
		}
		if l.Owner == "" && !l.Closed {
			if l, err = r.store.AcquireLease(t.Context(), l, owner); err == nil {
				return l
			}
			if campaign.CodeOf(err) != campaign.CodeConflict { // a task was faster
				t.Fatal(err)
			}
		}
	}
}

// held is how many chunks of a campaign the rig's task holds.
func (r *rig) held(id string) int {
	r.claims.mu.Lock()
	defer r.claims.mu.Unlock()
	return r.claims.chunks[id]
}

// TestSightingsOutliveAnAnswer: where more leases are held than an answer
// names, each is left out of some answers.
func TestSightingsOutliveAnAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{shared: true})
	a, old := store.LeaseKey{CampaignID: "a", Number: 1}, store.LeaseKey{CampaignID: "old", Number: 1}
	now := time.Now()
	r.claims.seen[a] = sighting{version: 7, since: now.Add(-9 * time.Second), asked: now.Add(-2 * time.Second)}
	r.claims.seen[old] = sighting{version: 7, since: now.Add(-time.Hour), asked: now.Add(-time.Hour)}
	r.forgetSightings()
	if s, still := r.claims.seen[a]; !still || s.since.After(now.Add(-9*time.Second)) {
		t.Error("the watch over a lease starts anew")
	}
	if _, still := r.claims.seen[old]; still {
		t.Error("a lease that has not been due for an hour is remembered")
	}
}

// TestASenderPutOffHoldsNobodyUp: a relay that puts off the sender of one
// campaign serves the others as ever.
func TestASenderPutOffHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{relay: smtptest.Config{Hook: func(e smtptest.Event) smtptest.Action {
		if e.Stage == smtptest.StageMail && e.Command == "MAIL FROM:<limited@example.org>" {
			return smtptest.Reply("450 4.7.1 sender rate limit exceeded")
		}
		return smtptest.Action{}
	}}})
	runTask(t, r.Engine)
	r.contacts(t, 40)
	limited := letter()
	limited.From.Address = "limited@example.org"
	bad := r.submit(t, limited)
	r.await(t, bad, "refusals", func(Report) bool { return r.relay.Stats().Commands["MAIL"] > 0 })
	good := r.submit(t, letter())
	r.awaitStatus(t, good, campaign.StatusCompleted)
	if _, err := r.Cancel(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
}

// TestTwoWaysToOneAccount: a second campaign of the same relay and user, over
// another transport, has connections while the first one has work.
func TestTwoWaysToOneAccount(t *testing.T) {
	t.Parallel()
	slow := smtptest.At(smtptest.StageDot, smtptest.Action{}.Delay(20*time.Millisecond))
	r := newRig(t, rigOptions{relay: smtptest.Config{TLS: smtptest.StartTLS, Hook: slow}})
	runTask(t, r.Engine)
	r.contacts(t, 4*chunkRecipients)
	big := r.submit(t, letter())
	r.await(t, big, "full speed", func(Report) bool { return r.relay.Count() > 100 })
	plain := letter()
	no := false
	plain.Relay = SubmittedRelay{Host: r.relay.Host(), Port: r.relay.Port(), UseTLS: &no}
	plain.Audience.Addresses = []string{address(1), address(2), address(3)}
	small := r.submit(t, plain)
	r.awaitStatus(t, small, campaign.StatusCompleted)
	if got, err := r.Report(t.Context(), big); err != nil || got.Campaign.Status.Ended() {
		t.Errorf("three messages waited for all of the other campaign's: %+v, %v", got.Totals, err)
	}
	if _, err := r.Cancel(t.Context(), big); err != nil {
		t.Fatal(err)
	}
}

// TestPlacesForASmallCampaign: campaigns that have all places of the task give
// one to a campaign that has none.
func TestPlacesForASmallCampaign(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) { c.Caps.Rate = 20 }})
	runTask(t, r.Engine)
	r.contacts(t, 4*chunkRecipients)
	var ids []string
	for range chunksPerTask / chunksPerCampaign {
		ids = append(ids, r.submit(t, letter()))
	}
	r.await(t, ids[0], "all places taken", func(Report) bool {
		r.claims.mu.Lock()
		defer r.claims.mu.Unlock()
		return r.claims.total == chunksPerTask
	})
	few := letter()
	few.Audience.Addresses = []string{address(1), address(2), address(3)}
	small := r.submit(t, few)
	r.awaitStatus(t, small, campaign.StatusCompleted)
	for _, id := range ids {
		if _, err := r.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
}
