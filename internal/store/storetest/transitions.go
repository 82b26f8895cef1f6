package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

func transitionTests() []test {
	return []test{
		{"campaigns/transition table", testTransitions},
		{"campaigns/transition again", testTransitionAgain},
		{"campaigns/started once", testStartedOnce},
		{"campaigns/transition, concurrent", testTransitionRace},
		{"campaigns/pause beside a start", testPauseBesideStart},
		{"campaigns/transition of an earlier period", testTransitionSince},
		{"campaigns/secrets are erased", testSecretsErased},
		{"campaigns/cancelled when shelved", testCancelShelved},
	}
}

// reach makes a campaign and moves it to a status by legal steps, one second
// apart.
func (k kit) reach(status campaign.Status) campaign.Campaign {
	k.Helper()
	n := k.submission()
	if status == campaign.StatusScheduled {
		n.Campaign.Status, n.Campaign.SendAt = status, k.later(600)
	}
	c := k.create(n)
	way := map[campaign.Status][]campaign.Status{
		campaign.StatusInProgress: {campaign.StatusInProgress},
		campaign.StatusPaused:     {campaign.StatusInProgress, campaign.StatusPaused},
		campaign.StatusCompleted:  {campaign.StatusInProgress, campaign.StatusCompleted},
		campaign.StatusFailed:     {campaign.StatusFailed},
		campaign.StatusCancelled:  {campaign.StatusPaused, campaign.StatusCancelled},
	}
	for i, to := range way[status] {
		c = k.transition(c.ID, store.Transition{To: to, Reason: "by test", At: k.later(i + 1)})
	}
	return c
}

// transition makes a transition that must succeed.
func (k kit) transition(id string, t store.Transition) campaign.Campaign {
	k.Helper()
	c, err := k.s.Transition(k.Context(), id, t)
	k.ok(err, fmt.Sprintf("Transition to %s", t.To))
	return c
}

// mayTransition is which transitions the contract leaves to Transition: work
// that is shelved goes on by Restart alone.
func mayTransition(from, to campaign.Status) bool {
	shelved := slices.Contains([]campaign.Status{campaign.StatusPaused, campaign.StatusCompleted, campaign.StatusFailed}, from)
	return from.CanBecome(to) && (!shelved || to == campaign.StatusCancelled)
}

// transitioned is what the contract makes of a legal transition.
func transitioned(c campaign.Campaign, t store.Transition) campaign.Campaign {
	c.Status, c.Reason, c.UpdatedAt = t.To, t.Reason, t.At
	if t.To == campaign.StatusInProgress {
		c.RunningSince = t.At
		if c.StartedAt.IsZero() {
			c.StartedAt = t.At
		}
	}
	if t.To.Ended() {
		c.FinishedAt, c.Notice, c.Relay.SealedPassword = t.At, "", nil
	}
	return c
}

func testTransitions(k kit) {
	for _, from := range campaign.Statuses {
		for _, to := range campaign.Statuses {
			before := k.reach(from)
			k.same(before, k.campaign(before.ID), "what Transition returned")
			t := store.Transition{To: to, Reason: "why ⚠", At: k.later(60)}
			after, err := k.s.Transition(k.Context(), before.ID, t)
			want := before
			switch {
			case from == to:
				k.ok(err, "Transition to the same status")
			case mayTransition(from, to):
				k.ok(err, fmt.Sprintf("Transition from %s to %s", from, to))
				want = transitioned(before, t)
			default:
				k.fails(err, campaign.CodeConflict, fmt.Sprintf("Transition from %s to %s", from, to))
				after = want
			}
			k.same(after, want, fmt.Sprintf("the answer from %s to %s", from, to))
			k.same(k.campaign(before.ID), want, fmt.Sprintf("the campaign from %s to %s", from, to))
		}
	}
}

// testTransitionAgain repeats a call whose answer was lost: at once, and after
// somebody else has moved the campaign on.
func testTransitionAgain(k kit) {
	c := k.start()
	begin := store.Transition{To: campaign.StatusInProgress, At: k.later(1)}
	first := k.transition(c.ID, begin)
	k.same(k.transition(c.ID, begin), first, "what the repeated Transition returned")
	paused := k.transition(c.ID, store.Transition{To: campaign.StatusPaused, Reason: "by a person", At: k.later(2)})
	_, err := k.s.Transition(k.Context(), c.ID, begin)
	k.fails(err, campaign.CodeConflict, "the same Transition after a pause")
	k.same(k.campaign(c.ID), paused, "the paused campaign")
}

// testStartedOnce: a campaign that is started anew keeps the time of its first
// start.
func testStartedOnce(k kit) {
	before := k.reach(campaign.StatusPaused)
	k.restart(before.ID, store.Restart{From: campaign.StatusPaused, To: campaign.StatusPending, DueAt: k.at, At: k.later(10)})
	got := k.transition(before.ID, store.Transition{To: campaign.StatusInProgress, At: k.later(20)})
	k.same([]time.Time{got.StartedAt, got.RunningSince}, []time.Time{before.StartedAt, k.later(20)}, "the times of its starts")
}

// testTransitionRace lets tasks move one campaign at the same time: all agree
// on one of the times.
func testTransitionRace(k kit) {
	c := k.start()
	var mu sync.Mutex
	var answers []campaign.Campaign
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			got, err := k.s.Transition(k.Context(), c.ID, store.Transition{To: campaign.StatusInProgress, At: k.later(i)})
			if err != nil {
				k.Errorf("Transition: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, got)
		})
	}
	group.Wait()
	for _, got := range answers {
		k.same(got, k.campaign(c.ID), "an answer of a concurrent transition")
	}
}

// testPauseBesideStart lets a person pause what a task starts at the same
// moment: whoever comes first, it is paused in the end.
func testPauseBesideStart(k kit) {
	for range 10 {
		c := k.start()
		var group sync.WaitGroup
		group.Go(func() {
			_, err := k.s.Transition(k.Context(), c.ID, store.Transition{To: campaign.StatusInProgress, At: k.later(1)})
			if err != nil && campaign.CodeOf(err) != campaign.CodeConflict {
				k.Errorf("Transition of the task: %v", err)
			}
		})
		group.Go(func() {
			if _, err := k.s.Transition(k.Context(), c.ID, store.Transition{To: campaign.StatusPaused, At: k.later(2)}); err != nil {
				k.Errorf("Transition of the person: %v", err)
			}
		})
		group.Wait()
		k.same(k.campaign(c.ID).Status, campaign.StatusPaused, "the status in the end")
	}
}

// testTransitionSince: a decision made before a retry must not hit the retry.
func testTransitionSince(k kit) {
	c := k.reach(campaign.StatusCompleted)
	first := c.RunningSince
	again := store.Restart{From: campaign.StatusCompleted, To: campaign.StatusInProgress, At: k.later(10), DueAt: k.later(10)}
	c, err := k.s.Restart(k.Context(), c.ID, again)
	k.ok(err, "Restart")
	late := store.Transition{To: campaign.StatusCompleted, At: k.later(11), Since: first}
	_, err = k.s.Transition(k.Context(), c.ID, late)
	k.fails(err, campaign.CodeConflict, "Transition meant for the period before")
	k.same(k.campaign(c.ID), c, "the campaign after the refusal")
	late.Since = c.RunningSince
	c = k.transition(c.ID, late)
	k.same(c.Status, campaign.StatusCompleted, "the status by a Transition of this period")
}

func testSecretsErased(k kit) {
	for _, end := range []campaign.Status{campaign.StatusCompleted, campaign.StatusFailed, campaign.StatusCancelled} {
		c := k.reach(campaign.StatusInProgress)
		k.ok(k.s.SetNotice(k.Context(), c.ID, "trouble", k.later(2)), "SetNotice")
		if got := k.campaign(c.ID); !slices.Equal(got.Relay.SealedPassword, c.Relay.SealedPassword) || len(got.Relay.SealedPassword) == 0 {
			k.Fatalf("sealed password is %x while the campaign runs", got.Relay.SealedPassword)
		}
		k.transition(c.ID, store.Transition{To: end, At: k.later(3)})
		got := k.campaign(c.ID)
		if len(got.Relay.SealedPassword) != 0 || got.Notice != "" {
			k.Fatalf("%s campaign still has password %x and notice %q", end, got.Relay.SealedPassword, got.Notice)
		}
		found := false
		listed(k, 100, k.listCampaigns, func(l campaign.Campaign) string {
			if l.ID == c.ID {
				found = true
				k.same(l, got, "the campaign in the listing")
			}
			return ""
		})
		if !found {
			k.Fatalf("the listing does not have the campaign")
		}
	}
	paused := k.reach(campaign.StatusPaused)
	if len(paused.Relay.SealedPassword) == 0 {
		k.Fatalf("a paused campaign has lost its password")
	}
}

// testCancelShelved: of a campaign whose work is shelved, the same write that
// cancels it has its books closed anew, whether its control lease is closed or
// somebody has it.
func testCancelShelved(k kit) {
	for _, from := range []campaign.Status{campaign.StatusPaused, campaign.StatusFailed} {
		for _, closed := range []bool{true, false} {
			c := k.reach(from)
			key := store.LeaseKey{CampaignID: c.ID}
			before := k.hold(key)
			if closed {
				var err error
				before, err = k.s.CloseLease(k.Context(), before, from)
				k.ok(err, "CloseLease")
			}
			cancel := store.Transition{To: campaign.StatusCancelled, At: k.later(5)}
			for _, what := range []string{"the first time", "repeated"} {
				k.transition(c.ID, cancel)
				want := next(before)
				want.Owner, want.Closed, want.DueAt = "", false, k.later(5)
				k.same(k.lease(key), want, "the control lease of a "+string(from)+" campaign that is cancelled, "+what)
			}
			_, err := k.s.RenewLease(k.Context(), before)
			k.fails(err, campaign.CodeConflict, "RenewLease of who had it")
			k.hold(key)
		}
	}
}
