package bolt

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"postern/internal/campaign"
	"postern/internal/store"
)

// TestEndedCampaignHasNoPassword looks for the sealed password in the file
// itself. What is left of it in free pages is ciphertext, and not looked at:
// the file is compacted first, which copies only what the store still has.
func TestEndedCampaignHasNoPassword(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openIn(t, dir)
	sealed := bytes.Repeat([]byte("sealed password."), 4) // 64 octets, so base64 has it at one alignment
	_, _, err := s.CreateCampaign(t.Context(), store.NewCampaign{Campaign: campaign.Campaign{
		ID: "c1", Status: campaign.StatusPending, CreatedAt: time.Now(),
		Relay: campaign.Relay{Host: "relay.example.org", Port: 587, Username: "u", SealedPassword: sealed},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !holds(t, dir, sealed) {
		t.Fatal("the sealed password is not found while the campaign has it: the test proves nothing")
	}
	if _, err := s.Transition(t.Context(), "c1", store.Transition{To: campaign.StatusCancelled, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if holds(t, dir, sealed) {
		t.Error("the sealed password is still in the store of a campaign that has ended")
	}
}

// holds says whether the sealed octets, in JSON or as they are, are in what
// the store in dir has now.
func holds(t *testing.T, dir string, sealed []byte) bool {
	t.Helper()
	octets, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	// A copy, because the store has the file locked.
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(copied, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	from, err := bbolt.Open(copied, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	to, err := bbolt.Open(copied+".compact", 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := bbolt.Compact(to, from, 0); err != nil {
		t.Fatal(err)
	}
	for _, db := range []*bbolt.DB{from, to} {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	compact, err := os.ReadFile(copied + ".compact")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(compact, sealed[:48]) || bytes.Contains(compact, []byte("c2VhbGVkIHBhc3N3b3Jk"))
}
