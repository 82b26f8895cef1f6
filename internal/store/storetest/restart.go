package storetest

import (
	"fmt"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

func restartTests() []test {
	return []test{
		{"restart/status table", testRestartTable},
		{"restart/campaign", testRestartCampaign},
		{"restart/control lease", testRestartControl},
		{"restart/the same call again", testRestartAgain},
		{"restart/while an earlier one is under way", testRestartInterrupted},
	}
}

// restart makes a Restart that must succeed.
func (k kit) restart(id string, r store.Restart) campaign.Campaign {
	k.Helper()
	c, err := k.s.Restart(k.Context(), id, r)
	k.ok(err, "Restart")
	k.same(k.campaign(id), c, "the campaign behind Restart")
	return c
}

// resumption restarts a paused campaign n seconds after the test's time.
func (k kit) resumption(n int, states ...campaign.DeliveryState) store.Restart {
	return store.Restart{
		From: campaign.StatusPaused, To: campaign.StatusInProgress,
		States: states, DueAt: k.later(n), At: k.later(n),
	}
}

// pause moves a campaign to paused, by in_progress.
func (k kit) pause(id string) {
	k.Helper()
	if k.campaign(id).Status == campaign.StatusPending {
		k.transition(id, store.Transition{To: campaign.StatusInProgress, At: k.later(1)})
	}
	k.transition(id, store.Transition{To: campaign.StatusPaused, Reason: "by a person", At: k.later(2)})
}

// restarted is what the contract makes of a campaign.
func restarted(c campaign.Campaign, r store.Restart) campaign.Campaign {
	c.Status, c.Reason, c.Notice, c.UpdatedAt = r.To, "", "", r.At
	c.FinishedAt = time.Time{}
	if r.Relay != nil {
		c.Relay = *r.Relay
	}
	if r.To == campaign.StatusInProgress {
		c.RunningSince = r.At
	}
	return c
}

func testRestartTable(k kit) {
	for _, from := range campaign.Statuses {
		for _, status := range campaign.Statuses {
			before := k.reach(status)
			control := k.lease(store.LeaseKey{CampaignID: before.ID})
			r := store.Restart{From: from, To: campaign.StatusInProgress, DueAt: k.later(70), At: k.later(60)}
			got, err := k.s.Restart(k.Context(), before.ID, r)
			call := fmt.Sprintf("Restart from %s of a %s campaign", from, status)
			want := before
			if from == status && from.CanBecome(r.To) {
				k.ok(err, call)
				want = restarted(before, r)
				k.same(got, want, "the answer of "+call)
			} else {
				k.fails(err, campaign.CodeConflict, call)
				k.same(k.lease(control.Key), control, "the control lease after a refused "+call)
			}
			k.same(k.campaign(before.ID), want, "the campaign after "+call)
		}
	}
}

func testRestartCampaign(k kit) {
	for _, to := range []campaign.Status{campaign.StatusScheduled, campaign.StatusPending, campaign.StatusInProgress} {
		before := k.reach(campaign.StatusPaused)
		k.ok(k.s.SetNotice(k.Context(), before.ID, "trouble", k.later(5)), "SetNotice")
		before = k.campaign(before.ID)
		r := store.Restart{From: campaign.StatusPaused, To: to, DueAt: k.later(100), At: k.later(60)}
		k.same(k.restart(before.ID, r), restarted(before, r), fmt.Sprintf("a paused campaign restarted to %s", to))
	}
	before := k.reach(campaign.StatusFailed)
	relay := campaign.Relay{Host: "other.example.org", Port: 465, UseTLS: true, Username: "ü", SealedPassword: []byte{9, 8}}
	r := store.Restart{From: campaign.StatusFailed, To: campaign.StatusPending, Relay: &relay, DueAt: k.at, At: k.later(60)}
	after := k.restart(before.ID, r)
	k.same(after, restarted(before, r), "a failed campaign restarted with another relay")
	k.same(after.Relay, relay, "its relay")

	done := k.reach(campaign.StatusCompleted)
	bare := campaign.Relay{Host: "r.example.org", Port: 25}
	r = store.Restart{
		From: campaign.StatusCompleted, To: campaign.StatusInProgress, Relay: &bare,
		States: []campaign.DeliveryState{campaign.DeliveryFailed}, DueAt: k.at, At: k.later(60),
	}
	k.same(k.restart(done.ID, r), restarted(done, r), "a completed campaign that is retried")
}

// testRestartControl takes the control lease from whoever has it, frees it
// and opens it.
func testRestartControl(k kit) {
	for what, prepare := range map[string]func(held store.Lease) store.Lease{
		"held": func(held store.Lease) store.Lease { return held },
		"held and renewed, and the answer lost": func(held store.Lease) store.Lease {
			renewed, err := k.s.RenewLease(k.Context(), held)
			k.ok(err, "RenewLease")
			return renewed
		},
		"free": func(held store.Lease) store.Lease {
			free, err := k.s.ReleaseLease(k.Context(), held, k.later(5000))
			k.ok(err, "ReleaseLease")
			return free
		},
		"closed": func(held store.Lease) store.Lease {
			closed, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
			k.ok(err, "CloseLease")
			return closed
		},
	} {
		held := k.chunked(2, 3)
		k.pause(held.Key.CampaignID)
		before := prepare(held)
		r := k.resumption(30, campaign.DeliveryFailed, campaign.DeliveryUnknown)
		k.restart(held.Key.CampaignID, r)
		want := before
		want.Owner, want.Closed, want.DueAt, want.Version = "", false, r.DueAt, before.Version+1
		want.Reopen = store.Reopen{Next: 1, States: r.States, StatesFrom: 1}
		k.same(k.lease(held.Key), want, "the control lease, "+what+" before")
		_, err := k.s.RenewLease(k.Context(), held)
		k.fails(err, campaign.CodeConflict, "RenewLease of the control lease's former holder")
		k.named(k.later(30), dueLimit, held.Key)
		k.hold(held.Key)
	}
}

// testRestartAgain repeats a call whose answer was lost: at once, after the
// campaign was paused anew, and after another Restart.
func testRestartAgain(k kit) {
	held := k.chunked(2)
	id := held.Key.CampaignID
	k.pause(id)
	r := k.resumption(30, campaign.DeliveryFailed)
	first := k.restart(id, r)
	taken := k.hold(held.Key)
	k.same(k.restart(id, r), first, "what the repeated Restart returned")
	k.same(k.lease(held.Key), taken, "the control lease after a repeated Restart")

	paused := k.transition(id, store.Transition{To: campaign.StatusPaused, At: k.later(40)})
	k.same(k.restart(id, r), paused, "what a Restart returned that was repeated after the next pause")
	k.same(k.lease(held.Key), taken, "the control lease after it")

	second := k.restart(id, k.resumption(50))
	_, err := k.s.Restart(k.Context(), id, r)
	k.fails(err, campaign.CodeConflict, "a Restart that is repeated after another")
	k.same(k.campaign(id), second, "the campaign after it")
}

// testRestartInterrupted: a retry that is paused in the middle of its
// reopening goes on where it was, and another retry begins anew.
func testRestartInterrupted(k kit) {
	held := k.chunked(1, 1, 1)
	id := held.Key.CampaignID
	reopening := func(want store.Reopen, what string) {
		k.Helper()
		k.same(k.lease(held.Key).Reopen, want, what)
	}
	again := func(r store.Restart) {
		k.Helper()
		k.transition(id, store.Transition{To: campaign.StatusPaused, At: r.At})
		k.restart(id, r)
	}
	k.pause(id)
	k.restart(id, k.resumption(10, campaign.DeliveryFailed))
	_, err := k.s.ReopenChunk(k.Context(), k.hold(held.Key), k.later(10))
	k.ok(err, "ReopenChunk")
	reopening(store.Reopen{Next: 2, States: []campaign.DeliveryState{campaign.DeliveryFailed}, StatesFrom: 1}, "a reopening under way")

	again(k.resumption(20))
	failed := store.Reopen{Next: 1, States: []campaign.DeliveryState{campaign.DeliveryFailed}, StatesFrom: 2}
	reopening(failed, "a reopening that was interrupted at chunk 2")
	again(k.resumption(30))
	reopening(failed, "a reopening that was interrupted again, before chunk 2")

	again(k.resumption(40, campaign.DeliveryUnknown))
	reopening(store.Reopen{Next: 1, States: []campaign.DeliveryState{campaign.DeliveryUnknown}, StatesFrom: 1}, "another reopening")
	control := k.hold(held.Key)
	for range 3 {
		control, err = k.s.ReopenChunk(k.Context(), control, k.later(40))
		k.ok(err, "ReopenChunk")
	}
	reopening(store.Reopen{}, "a reopening that has come to its end")
	again(k.resumption(50))
	reopening(store.Reopen{Next: 1, StatesFrom: 1}, "a reopening without states")
}
