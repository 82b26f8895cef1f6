package engine

import (
	"strings"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

// scheduled submits a campaign that is due in an hour.
func (r *rig) scheduled(t *testing.T) string {
	t.Helper()
	s := letter()
	s.SendAt = r.clock.now().Add(time.Hour)
	id := r.submit(t, s)
	control, err := r.store.GetLease(t.Context(), store.LeaseKey{CampaignID: id})
	if want := s.SendAt.Truncate(time.Millisecond); err != nil || !control.DueAt.Equal(want) {
		t.Errorf("the control lease is due at %v, %v; want %v", control.DueAt, err, want)
	}
	return id
}

func TestScheduledCampaign(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.contacts(t, 3)
	id := r.scheduled(t)
	now := r.submit(t, letter())
	runTask(t, r.Engine)
	r.awaitStatus(t, now, campaign.StatusCompleted) // the task has been through what is due
	if got, err := r.Report(t.Context(), id); err != nil || got.Campaign.Status != campaign.StatusScheduled || r.relay.Count() != 3 {
		t.Errorf("an hour before its time it is %s, %v, and the relay has %d messages", got.Campaign.Status, err, r.relay.Count())
	}
	r.clock.advance(time.Hour)
	got := r.awaitStatus(t, id, campaign.StatusCompleted)
	if got.Totals.Sent != 3 || got.Campaign.StartedAt.Before(got.Campaign.SendAt) {
		t.Errorf("ended as %+v, %+v", got.Campaign, got.Totals)
	}
	date := got.Campaign.StartedAt.Format("Mon, 02 Jan 2006 15:04:05")
	for _, m := range r.relay.Messages()[3:] {
		if !strings.Contains(string(m.Data), "Date: "+date) {
			t.Errorf("a message is not dated %s:\n%s", date, m.Data)
		}
	}
}

func TestOverdueScheduleWaitsForAPerson(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.contacts(t, 3)
	id := r.scheduled(t)
	r.clock.advance(3 * time.Hour)
	runTask(t, r.Engine)
	got := r.awaitStatus(t, id, campaign.StatusPaused)
	if !strings.Contains(got.Campaign.Reason, "resume") || r.relay.Count() != 0 {
		t.Errorf("paused because %q, with %d messages sent", got.Campaign.Reason, r.relay.Count())
	}
	if got, err := r.Resume(t.Context(), id, ResumeOptions{}); err != nil || got.Campaign.Status != campaign.StatusPending {
		t.Errorf("resumed as %+v, %v", got.Campaign, err)
	}
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.mailed(t, 3, nil)
}

func TestPausedSchedule(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.contacts(t, 3)
	late, early := r.scheduled(t), r.scheduled(t)
	for _, id := range []string{late, early} {
		if got, err := r.Pause(t.Context(), id); err != nil || got.Campaign.Status != campaign.StatusPaused {
			t.Errorf("paused as %+v, %v", got.Campaign, err)
		}
	}
	got, err := r.Resume(t.Context(), early, ResumeOptions{})
	if err != nil || got.Campaign.Status != campaign.StatusScheduled {
		t.Errorf("resumed before its time as %+v, %v", got.Campaign, err)
	}
	runTask(t, r.Engine)
	r.clock.advance(time.Hour)
	r.awaitStatus(t, early, campaign.StatusCompleted)
	if got, err := r.Report(t.Context(), late); err != nil || got.Campaign.Status != campaign.StatusPaused {
		t.Errorf("the one that is still paused is %+v, %v", got.Campaign, err)
	}
	r.mailed(t, 3, nil)
	got, err = r.Resume(t.Context(), late, ResumeOptions{})
	if err != nil || got.Campaign.Status != campaign.StatusPending {
		t.Errorf("resumed after its time as %+v, %v", got.Campaign, err)
	}
	r.awaitStatus(t, late, campaign.StatusCompleted)
	r.mailed(t, 3, map[string]int{address(0): 2, address(1): 2, address(2): 2})
}

func TestSubmissionCourse(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	now := r.clock.now()
	for what, test := range map[string]struct {
		change func(*Submission)
		field  string
	}{
		"in the past":       {func(s *Submission) { s.SendAt = now.Add(-time.Minute) }, "send_at"},
		"too far ahead":     {func(s *Submission) { s.SendAt = now.Add(367 * 24 * time.Hour) }, "send_at"},
		"within a year":     {func(s *Submission) { s.SendAt = now.AddDate(0, 11, 0) }, ""},
		"another promise":   {func(s *Submission) { s.Promise = "exactly_once" }, "delivery"},
		"at most once":      {func(s *Submission) { s.Promise = campaign.AtMostOnce }, ""},
		"a time as of here": {func(s *Submission) { s.SendAt = now.Add(time.Hour).In(time.FixedZone("", 7200)) }, ""},
	} {
		s := letter()
		test.change(&s)
		got, _, err := r.Submit(t.Context(), s)
		if test.field != "" {
			code(t, what, err, campaign.CodeInvalid, test.field)
			continue
		}
		c := got.Campaign
		wantPromise := campaign.AtLeastOnce
		if s.Promise != "" {
			wantPromise = s.Promise
		}
		if err != nil || c.Promise != wantPromise || !c.SendAt.Equal(s.SendAt.Truncate(time.Millisecond)) || c.SendAt.Location() != time.UTC {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
		if want := s.SendAt.IsZero(); want != (c.Status == campaign.StatusPending) {
			t.Errorf("%s: it is %s", what, c.Status)
		}
	}
}

// TestTheWallClockIsSetBack: retries come when they were to come, by the time
// that passes.
func TestTheWallClockIsSetBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{relay: smtptest.Config{Hook: smtptest.Greylist(1)}, config: func(c *Config) {
		c.Retry = RetryPolicy{Min: 500 * time.Millisecond, Max: 500 * time.Millisecond, For: time.Hour}
	}})
	r.clock.advance(time.Hour)
	runTask(t, r.Engine)
	r.contacts(t, 3)
	id := r.submit(t, letter())
	r.await(t, id, "deferrals", func(Report) bool { return r.relay.Stats().Commands["RCPT"] >= 3 && r.runs.of(id) == nil })
	r.clock.advance(-time.Hour)
	r.awaitStatus(t, id, campaign.StatusCompleted)
}
