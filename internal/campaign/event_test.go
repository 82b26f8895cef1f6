package campaign_test

import (
	"reflect"
	"testing"
	"time"

	"postern/internal/campaign"
)

func TestEventEncode(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 9, 0, 0, 120e6, time.UTC)
	for name, e := range map[string]campaign.Event{
		"created": {
			At: at, Action: campaign.ActionCreated, To: campaign.StatusPending, Relay: "relay.example:587",
			Actor: campaign.Actor{Name: "token:7f", SourceVPCE: "vpce-1", RequestID: "r1"},
		},
		"status": {At: at, Action: campaign.ActionStatus, Actor: campaign.Service, From: campaign.StatusInProgress, To: campaign.StatusPaused, Reason: `"<quoted>" & more`},
		"retried": {
			At: at, Action: campaign.ActionRestarted, From: campaign.StatusCompleted, To: campaign.StatusInProgress,
			States: []campaign.DeliveryState{campaign.DeliveryFailed},
		},
		"erased": {At: at, Action: campaign.ActionErased, Person: campaign.Person{Key: campaign.KeyID{1}, Digest: campaign.PersonDigest{2}}},
		"root": {At: at, Action: campaign.ActionRoot, Root: &campaign.Root{
			Links: []int64{2, 3}, Merkle: campaign.Hash{1}, Total: 9, Sent: 4, Failed: 3, Unknown: 1, Suppressed: 1,
			Key: campaign.KeyID{1, 2, 3, 4}, Signature: []byte("signature"),
		}},
	} {
		payload, err := e.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if back, err := campaign.DecodeEvent(payload); err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("%s: %s came back as %+v, %v", name, payload, back, err)
		}
	}
}

// TestEventNamesNobody: a reason may quote a relay that quotes a person.
func TestEventNamesNobody(t *testing.T) {
	t.Parallel()
	payload, err := campaign.Event{Reason: "553 <ada@example.org>: sender refused"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := campaign.DecodeEvent(payload)
	if want := "553 (address) sender refused"; err != nil || back.Reason != want {
		t.Errorf("got %q, %v; want %q", back.Reason, err, want)
	}
	for _, bad := range []string{"", "{}", `{"at":"now"}`, `[]`, `{"at":"2026-03-01T09:00:00.120Z","root":{"merkle":"12"}}`} {
		if _, err := campaign.DecodeEvent([]byte(bad)); err == nil {
			t.Errorf("%q was taken for an event", bad)
		}
	}
}
