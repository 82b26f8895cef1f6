package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

// reach brings a new campaign to a status as tasks and callers would; started
// says whether it has been in progress.
func (r *rig) reach(t *testing.T, status campaign.Status, started bool) string {
	t.Helper()
	s := letter()
	if status == campaign.StatusScheduled {
		s.SendAt = r.clock.now().Add(time.Hour)
	}
	id := r.submit(t, s)
	var way []campaign.Status
	if started {
		way = append(way, campaign.StatusInProgress)
	}
	if status.Ended() || status == campaign.StatusPaused {
		way = append(way, status)
	}
	for _, to := range way {
		if _, err := r.transition(t.Context(), id, store.Transition{To: to, Reason: "by test"}); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

// TestStatusIsCountedOnce: of several ends of chunks that find the campaign
// done, one has changed its status.
func TestStatusIsCountedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.contacts(t, 1)
	id := r.reach(t, campaign.StatusCompleted, true)
	r.clock.advance(time.Second)
	if _, err := r.transition(t.Context(), id, store.Transition{To: campaign.StatusCompleted}); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(r.metrics.campaigns.WithLabelValues(string(campaign.StatusCompleted))); n != 1 {
		t.Errorf("%v campaigns are counted as completed", n)
	}
}

// TestLifeCycle does every operation in every status. No task runs, so what
// the operation makes of the campaign stays.
func TestLifeCycle(t *testing.T) {
	t.Parallel()
	const (
		scheduled, pending, running = campaign.StatusScheduled, campaign.StatusPending, campaign.StatusInProgress
		paused, completed           = campaign.StatusPaused, campaign.StatusCompleted
		failed, cancelled           = campaign.StatusFailed, campaign.StatusCancelled
		conflict                    = campaign.Status("")
	)
	r := newRig(t, rigOptions{})
	r.contacts(t, 1)
	operations := map[string]func(string) (Report, error){
		"pause":  func(id string) (Report, error) { return r.Pause(t.Context(), id) },
		"cancel": func(id string) (Report, error) { return r.Cancel(t.Context(), id) },
		"resume": func(id string) (Report, error) { return r.Resume(t.Context(), id, ResumeOptions{}) },
		"retry":  func(id string) (Report, error) { return r.Retry(t.Context(), id, RetryOptions{}) },
	}
	for _, test := range []struct {
		from    campaign.Status
		started bool
		// What follows a Pause, a Cancel, a Resume, a Retry.
		pause, cancel, resume, retry campaign.Status
	}{
		{scheduled, false, paused, cancelled, conflict, conflict},
		{pending, false, paused, cancelled, conflict, conflict},
		{running, true, paused, cancelled, conflict, conflict},
		{paused, false, paused, cancelled, pending, conflict},
		{paused, true, paused, cancelled, running, conflict},
		{completed, true, conflict, conflict, conflict, running},
		{failed, false, conflict, cancelled, pending, conflict},
		{failed, true, conflict, cancelled, running, conflict},
		{cancelled, true, conflict, cancelled, conflict, conflict},
	} {
		for name, want := range map[string]campaign.Status{
			"pause": test.pause, "cancel": test.cancel, "resume": test.resume, "retry": test.retry,
		} {
			t.Run(fmt.Sprintf("%s/%s, started %v", name, test.from, test.started), func(t *testing.T) {
				t.Parallel()
				id := r.reach(t, test.from, test.started)
				got, err := operations[name](id)
				if want == conflict {
					code(t, name, err, campaign.CodeConflict, "")
					if !strings.Contains(fmt.Sprint(err), "is "+string(test.from)) {
						t.Errorf("%q does not say that it is %s", err, test.from)
					}
					want = test.from
				} else if err != nil || got.Campaign.Status != want {
					t.Errorf("%s gives %s, %v; want %s", name, got.Campaign.Status, err, want)
				}
				if c, err := r.store.GetCampaign(t.Context(), id); err != nil || c.Status != want {
					t.Errorf("afterwards it is %s, %v; want %s", c.Status, err, want)
				}
			})
		}
	}
	for name, operation := range operations {
		_, err := operation("018f0000-0000-7000-8000-000000000000")
		code(t, name+" of no campaign", err, campaign.CodeNotFound, "")
	}
}

// TestPauseInMidCampaign pauses by one task what two tasks work on: both stop,
// and both go on without loss or repetition.
func TestPauseInMidCampaign(t *testing.T) {
	t.Parallel()
	const recipients = (chunksPerCampaign + 2) * chunkRecipients // more than one task takes
	goOn := make(chan struct{})
	r := newRig(t, rigOptions{
		shared: true, relay: smtptest.Config{Hook: holdBehind(recipients/2, goOn)},
		config: func(c *Config) { c.Caps.Rate = 1200 },
	})
	cfg := r.cfg
	cfg.Owner = "the second task"
	second := newTask(t, r.store, cfg)
	runTask(t, r.Engine)
	runTask(t, second)
	r.contacts(t, recipients)
	id := r.submit(t, letter())
	r.await(t, id, "both tasks to be at work", func(Report) bool {
		return r.runs.of(id) != nil && second.runs.of(id) != nil && r.relay.Count() > 200
	})
	if got, err := r.Pause(t.Context(), id); err != nil || got.Campaign.Status != campaign.StatusPaused || got.Campaign.Reason == "" {
		t.Fatalf("Pause: %+v, %v", got.Campaign, err)
	}
	close(goOn)
	r.awaitIdle(t)
	begun := r.relay.Stats().Commands["MAIL"]
	time.Sleep(500 * time.Millisecond)
	if now := r.relay.Stats().Commands["MAIL"]; now != begun || begun >= recipients {
		t.Errorf("%d of %d messages were begun before the campaign was at rest, and %d later", begun, recipients, now)
	}
	got, err := r.Report(t.Context(), id)
	if err != nil || got.Totals.Sent != int64(r.relay.Count()) || got.Totals.Pending() == 0 {
		t.Errorf("the relay has %d messages, and the totals are %+v, %v", r.relay.Count(), got.Totals, err)
	}
	if again, err := r.Pause(t.Context(), id); err != nil || again.Campaign.UpdatedAt != got.Campaign.UpdatedAt {
		t.Errorf("pausing it again: %+v, %v", again.Campaign, err)
	}

	if _, err := second.Resume(t.Context(), id, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	final := r.awaitStatus(t, id, campaign.StatusCompleted)
	if final.Totals.Sent != recipients || final.Campaign.Reason != "" {
		t.Errorf("ended as %+v, %+v", final.Campaign, final.Totals)
	}
	r.mailed(t, recipients, nil)
}

func awaitMessages(t *testing.T, relay *smtptest.Server, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := relay.Wait(ctx, n); err != nil {
		t.Fatalf("waiting for %d messages: %v; the relay has %d", n, err, relay.Count())
	}
}

// TestPauseAndResumeAtOnce: runs of the period before do not go on in the
// next one, and nothing gets lost between them.
func TestPauseAndResumeAtOnce(t *testing.T) {
	t.Parallel()
	const recipients = 1200
	goOn := make(chan struct{})
	r := newRig(t, rigOptions{
		relay:  smtptest.Config{Hook: holdBehind(900, goOn)},
		config: func(c *Config) { c.Caps.Rate = 1000 },
	})
	runTask(t, r.Engine)
	r.contacts(t, recipients)
	id := r.submit(t, letter())
	for i := range 5 {
		awaitMessages(t, r.relay, 100*(i+1))
		if _, err := r.Pause(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Resume(t.Context(), id, ResumeOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	close(goOn)
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.mailed(t, recipients, nil)
}

func TestCancelLeavesThePendingOnes(t *testing.T) {
	t.Parallel()
	const recipients = 1000
	goOn := make(chan struct{})
	r := newRig(t, rigOptions{relay: smtptest.Config{Hook: holdBehind(300, goOn)}})
	runTask(t, r.Engine)
	r.contacts(t, recipients)
	id := r.submit(t, letter())
	awaitMessages(t, r.relay, 50)
	if _, err := r.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	r.awaitIdle(t)
	got, err := r.Report(t.Context(), id)
	if err != nil || got.Campaign.Status != campaign.StatusCancelled || got.Campaign.FinishedAt.IsZero() {
		t.Errorf("ended as %+v, %v", got.Campaign, err)
	}
	taken := int64(r.relay.Count())
	if got.Totals.Sent != taken || got.Totals.Pending() != recipients-taken || taken == recipients {
		t.Errorf("the relay has %d messages, and the totals are %+v", taken, got.Totals)
	}
	pending := 0
	for to, d := range r.deliveries(t, id) {
		if d.State == campaign.DeliveryPending {
			pending++
			if r.relay.CountTo(to) > 0 {
				t.Errorf("%s is pending, and the relay has the message", to)
			}
		}
	}
	if int64(pending) != got.Totals.Pending() {
		t.Errorf("%d are listed as pending; the totals say %d", pending, got.Totals.Pending())
	}
}

// TestTimeLimit fails a campaign that takes too long; resumed, it has its time
// anew.
func TestTimeLimit(t *testing.T) {
	t.Parallel()
	grey := smtptest.At(smtptest.StageRcpt, smtptest.Reply("451 4.7.1 later"))
	r := newRig(t, rigOptions{
		relay: smtptest.Config{Hook: grey},
		config: func(c *Config) {
			c.TimeLimit = time.Hour
			c.Retry = RetryPolicy{Min: 90 * time.Minute, Max: 90 * time.Minute, For: 100 * time.Hour}
		},
	})
	runTask(t, r.Engine)
	r.contacts(t, 3)
	id := r.submit(t, letter())
	r.await(t, id, "three attempts", func(Report) bool { return r.relay.Stats().Commands["RCPT"] >= 3 })
	r.clock.advance(time.Hour + time.Minute)
	got := r.awaitStatus(t, id, campaign.StatusFailed)
	if !strings.Contains(got.Campaign.Reason, "longer than 1h0m0s") || got.Totals.Pending() != 3 {
		t.Errorf("ended as %+v, %+v", got.Campaign, got.Totals)
	}
	r.relay.SetHook(nil)
	// The last of the answers may have come behind the first advance, and its
	// delay has a quarter of jitter.
	r.clock.advance(2 * time.Hour)
	if _, err := r.Resume(t.Context(), id, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.mailed(t, 3, nil)
}
