package dynamo

import (
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// TestTransitionOfItsTime: a transition that is meant for one period of
// running does not end the next.
func TestTransitionOfItsTime(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	id := control(t, s).Key.CampaignID
	first := must[campaign.Campaign](t)(s.Transition(t.Context(), id, store.Transition{To: campaign.StatusInProgress, At: time.Now()}))
	pause := store.Transition{To: campaign.StatusPaused, At: time.Now(), Since: first.RunningSince}
	must[campaign.Campaign](t)(s.Transition(t.Context(), id, pause))
	must[campaign.Campaign](t)(s.Transition(t.Context(), id, pause)) // its answer was lost

	again := store.Restart{From: campaign.StatusPaused, To: campaign.StatusInProgress, At: first.RunningSince.Add(time.Second), DueAt: time.Now()}
	second := must[campaign.Campaign](t)(s.Restart(t.Context(), id, again))
	for _, to := range []campaign.Status{campaign.StatusPaused, campaign.StatusCompleted} {
		_, err := s.Transition(t.Context(), id, store.Transition{To: to, At: time.Now(), Since: first.RunningSince})
		wantCode(t, err, campaign.CodeConflict)
		wantText(t, err, "anew")
	}
	if now := must[campaign.Campaign](t)(s.GetCampaign(t.Context(), id)); now.Status != campaign.StatusInProgress {
		t.Fatalf("the campaign is %s", now.Status)
	}
	pause.Since = second.RunningSince
	must[campaign.Campaign](t)(s.Transition(t.Context(), id, pause))
}
