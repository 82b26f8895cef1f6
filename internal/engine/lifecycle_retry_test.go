package engine

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

// refuseAndLose refuses r1 and r2 for good and loses the reply to the message
// for r3, which the relay has taken.
func refuseAndLose() smtptest.Hook {
	lose := func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageAccepted || e.Rcpt() != address(3) {
			return smtptest.Action{}
		}
		return smtptest.Close()
	}
	return smtptest.Chain(smtptest.RefuseRecipient(address(1)), smtptest.RefuseRecipient(address(2)), lose)
}

func TestRetrySendsToThoseAskedForOnly(t *testing.T) {
	t.Parallel()
	const recipients = 600 // two chunks
	for _, test := range []struct {
		name   string
		states []campaign.DeliveryState
		mailed map[string]int
		state  map[int]campaign.DeliveryState
	}{
		{"as is", nil, nil, map[int]campaign.DeliveryState{1: campaign.DeliverySent, 2: campaign.DeliverySent, 3: campaign.DeliveryUnknown}},
		{
			"unknown", []campaign.DeliveryState{campaign.DeliveryUnknown}, map[string]int{address(1): 0, address(2): 0, address(3): 2},
			map[int]campaign.DeliveryState{1: campaign.DeliveryFailed, 2: campaign.DeliveryFailed, 3: campaign.DeliverySent},
		},
		{
			"both", []campaign.DeliveryState{campaign.DeliveryUnknown, campaign.DeliveryFailed, campaign.DeliveryUnknown}, map[string]int{address(3): 2},
			map[int]campaign.DeliveryState{1: campaign.DeliverySent, 2: campaign.DeliverySent, 3: campaign.DeliverySent},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{relay: smtptest.Config{Hook: refuseAndLose()}})
			runTask(t, r.Engine)
			r.contacts(t, recipients)
			s := letter()
			s.Promise = campaign.AtMostOnce
			id := r.submit(t, s)
			first := r.awaitStatus(t, id, campaign.StatusCompleted)
			if first.Totals.Failed != 2 || first.Totals.Unknown != 1 || first.Totals.Sent != recipients-3 {
				t.Fatalf("ended at first as %+v", first.Totals)
			}
			r.relay.SetHook(nil)
			if got, err := r.Retry(t.Context(), id, RetryOptions{States: test.states}); err != nil || got.Campaign.Status != campaign.StatusInProgress {
				t.Fatalf("Retry: %+v, %v", got.Campaign, err)
			}
			final := r.awaitStatus(t, id, campaign.StatusCompleted)
			r.mailed(t, recipients, test.mailed)
			deliveries := r.deliveries(t, id)
			count := map[campaign.DeliveryState]int64{}
			for _, d := range deliveries {
				count[d.State]++
			}
			for i, state := range test.state {
				if d := deliveries[address(i)]; d.State != state {
					t.Errorf("%s ended as %+v; want %s", address(i), d, state)
				}
			}
			if got := final.Totals; got.Sent != count[campaign.DeliverySent] || got.Failed != count[campaign.DeliveryFailed] ||
				got.Unknown != count[campaign.DeliveryUnknown] || got.Pending() != 0 {
				t.Errorf("the totals are %+v, the listing has %v", got, count)
			}
		})
	}
}

func TestRetryOfOtherStates(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	id := r.reach(t, campaign.StatusCompleted, true)
	for _, state := range []campaign.DeliveryState{campaign.DeliverySent, campaign.DeliveryPending, campaign.DeliverySuppressed, ""} {
		_, err := r.Retry(t.Context(), id, RetryOptions{States: []campaign.DeliveryState{campaign.DeliveryFailed, state}})
		code(t, fmt.Sprintf("a retry of %q", state), err, campaign.CodeInvalid, "states")
	}
}

// TestInterruptedRetry pauses a retry in the middle of its walk: resumed, it
// sends to all whom it was asked for, and to each of them once.
func TestInterruptedRetry(t *testing.T) {
	t.Parallel()
	const recipients = 4*chunkRecipients - 100
	var reached = make(chan struct{})
	var goOn = make(chan struct{})
	var armed atomic.Bool
	stub := &storeStub{reopen: func(number int) error {
		if number == 3 && armed.CompareAndSwap(true, false) {
			close(reached)
			<-goOn
		}
		return nil
	}}
	r := newRig(t, rigOptions{
		relay: smtptest.Config{Hook: func(e smtptest.Event) smtptest.Action {
			// Every third is refused.
			var n int
			if _, err := fmt.Sscanf(e.Rcpt(), "r%d@", &n); err != nil || e.Stage != smtptest.StageRcpt || n%3 != 0 {
				return smtptest.Action{}
			}
			return smtptest.Reply("550 5.1.1 no such user")
		}},
		wrap: func(s store.Store) store.Store {
			stub.Store = s
			return stub
		},
	})
	runTask(t, r.Engine)
	r.contacts(t, recipients)
	id := r.submit(t, letter())
	failed := r.awaitStatus(t, id, campaign.StatusCompleted).Totals.Failed
	if failed < recipients/3 {
		t.Fatalf("%d of %d have failed", failed, recipients)
	}
	paused := make(chan struct{})
	r.relay.SetHook(smtptest.At(smtptest.StageMail, smtptest.Action{}.After(paused))) // those who are open again wait for it
	armed.Store(true)
	if _, err := r.Retry(t.Context(), id, RetryOptions{}); err != nil {
		t.Fatal(err)
	}
	<-reached
	if _, err := r.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	close(paused)
	r.awaitIdle(t)
	r.listedBySettled(t, id)
	if _, err := r.Resume(t.Context(), id, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	final := r.awaitStatus(t, id, campaign.StatusCompleted)
	if final.Totals.Sent != recipients || final.Totals.Failed != 0 {
		t.Errorf("ended as %+v", final.Totals)
	}
	r.mailed(t, recipients, nil)
}

// listedBySettled: a listing of a retry under way is what the totals say, and
// shows of those who are open again what was before.
func (r *rig) listedBySettled(t *testing.T, id string) {
	t.Helper()
	got, err := r.Report(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	count := map[campaign.DeliveryState]int64{}
	again := 0
	for _, d := range r.deliveries(t, id) {
		count[d.State]++
		if d.State == campaign.DeliveryPending && d.Attempts == 1 && strings.Contains(d.Reply, "550") {
			again++
		}
	}
	totals := got.Totals
	if count[campaign.DeliveryPending] != totals.Pending() || count[campaign.DeliveryFailed] != totals.Failed || count[campaign.DeliverySent] != totals.Sent {
		t.Errorf("the listing has %v, the totals are %+v", count, totals)
	}
	if int64(again) != totals.Pending() || again == 0 || totals.Failed == 0 {
		t.Errorf("%d of the %d pending ones show their refusal, %d are still failed", again, totals.Pending(), totals.Failed)
	}
	for _, state := range []campaign.DeliveryState{campaign.DeliveryFailed, campaign.DeliveryPending} {
		page, _, err := r.Deliveries(t.Context(), id, DeliveryQuery{State: state, Limit: 10_000})
		if err != nil || int64(len(page)) != count[state] {
			t.Errorf("the listing of %s has %d, %v; want %d", state, len(page), err, count[state])
		}
	}
}

// TestCompletionDoesNotHitTheNextPeriod: a task that found a campaign complete
// is slow, and somebody retries it in between.
func TestCompletionDoesNotHitTheNextPeriod(t *testing.T) {
	t.Parallel()
	stub := &storeStub{}
	r := newRig(t, rigOptions{wrap: func(s store.Store) store.Store {
		stub.Store = s
		return stub
	}})
	stop := runTask(t, r.Engine)
	id := r.submit(t, letter()) // to nobody
	r.awaitStatus(t, id, campaign.StatusCompleted)
	stop()
	cfg := r.cfg
	cfg.Owner = "the second task"
	second := newTask(t, r.store, cfg)
	if _, err := second.Retry(t.Context(), id, RetryOptions{}); err != nil {
		t.Fatal(err)
	}
	control := r.holdControl(t, second, id)
	if err := second.reopen(t.Context(), control); err != nil {
		t.Fatal(err)
	}
	looks := 0
	stub.totals = func() {
		if looks++; looks != 2 { // the one that decides; the first saves the other reads
			return
		}
		r.clock.advance(1e9)
		if _, err := second.transition(t.Context(), id, store.Transition{To: campaign.StatusCompleted}); err != nil {
			t.Error(err)
		}
		if _, err := second.Retry(t.Context(), id, RetryOptions{}); err != nil {
			t.Error(err)
		}
	}
	err := second.complete(t.Context(), id)
	code(t, "a late completion", err, campaign.CodeConflict, "")
	if c, err := r.store.GetCampaign(t.Context(), id); err != nil || c.Status != campaign.StatusInProgress {
		t.Errorf("the retried campaign is %s, %v", c.Status, err)
	}
	if err := second.complete(t.Context(), id); err != nil {
		t.Errorf("completing a campaign that is being reopened: %v", err)
	}
	if c, err := r.store.GetCampaign(t.Context(), id); err != nil || c.Status != campaign.StatusInProgress {
		t.Errorf("the campaign that is being reopened is %s, %v", c.Status, err)
	}
}

func (r *rig) holdControl(t *testing.T, e *Engine, id string) *holder {
	t.Helper()
	seen, err := r.store.GetLease(t.Context(), store.LeaseKey{CampaignID: id})
	if err != nil {
		t.Fatal(err)
	}
	asked := e.cfg.Now()
	lease, err := r.store.AcquireLease(t.Context(), seen, e.cfg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	return newHolder(r.store, lease, asked, e.cfg.LeaseTime, func(error) {})
}
