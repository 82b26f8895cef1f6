package storetest

import (
	"postern/internal/campaign"
	"postern/internal/store"
)

// testSignal sees that the Signal rises with the writes that the contract
// names and with no others.
func testSignal(k kit) {
	control := k.chunked(2)
	id := control.Key.CampaignID
	before := k.signal()
	rises := func(want bool, what string) {
		k.Helper()
		now := k.signal()
		if want != (now > before) || now < before {
			k.Fatalf("%s: the signal went from %d to %d, risen should be %v", what, before, now, want)
		}
		before = now
	}
	move := func(to campaign.Status, want bool, what string) {
		k.Helper()
		_, err := k.s.Transition(k.Context(), id, store.Transition{To: to, Reason: "r", At: k.later(1)})
		if err != nil && campaign.CodeOf(err) != campaign.CodeConflict {
			k.Fatalf("Transition: %v", err)
		}
		rises(want, what)
	}
	move(campaign.StatusInProgress, false, "in_progress")
	k.ok(k.s.SetNotice(k.Context(), id, "trouble", k.later(2)), "SetNotice")
	rises(false, "a notice")
	move(campaign.StatusPaused, true, "paused")
	move(campaign.StatusPaused, false, "paused again")
	move(campaign.StatusCompleted, false, "a refused transition")

	r := k.resumption(10)
	k.restart(id, r)
	rises(true, "Restart")
	k.restart(id, r)
	rises(false, "the same Restart again")
	r.At = k.later(20)
	_, err := k.s.Restart(k.Context(), id, r)
	k.fails(err, campaign.CodeConflict, "Restart of a campaign in progress")
	rises(false, "a refused Restart")
	control, err = k.s.ReopenChunk(k.Context(), k.hold(control.Key), k.later(10))
	k.ok(err, "ReopenChunk")
	_, err = k.s.ReleaseLease(k.Context(), control, k.later(11))
	k.ok(err, "ReleaseLease")
	rises(false, "writes to leases")

	move(campaign.StatusCompleted, false, "completed")
	k.restart(id, store.Restart{From: campaign.StatusCompleted, To: campaign.StatusInProgress, DueAt: k.at, At: k.later(30)})
	rises(true, "a retry")
	move(campaign.StatusFailed, true, "failed")
	move(campaign.StatusCancelled, true, "cancelled")
	k.start()
	rises(false, "a new campaign")
}

func (k kit) signal() int64 {
	k.Helper()
	n, err := k.s.Signal(k.Context())
	k.ok(err, "Signal")
	return n
}
