package bolt

import (
	"strings"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// storedCampaign is a campaign as files out there have it. When this test
// fails a member of campaign.Campaign was renamed: old files need its old
// name.
const storedCampaign = `{"Campaign":{"ID":"i","Name":"n","Status":"pending","Reason":"r","Notice":"o",` +
	`"Letter":{"From":{"Name":"f","Address":"f@example.org"},"SealedHead":"AQI=",` +
	`"HTML":{"Digest":"d","Size":1},"Attachments":[{"Digest":"e","Size":2}]},` +
	`"Relay":{"Host":"h","Port":25,"UseTLS":true,"Username":"u","SealedPassword":"AQI=","Default":true},` +
	`"Audience":{"Tags":["t"],"Addresses":["x@example.org"]},"Promise":"at_most_once","SendAt":"2026-01-02T03:04:05.006Z","SourceVPCE":"v",` +
	`"CreatedAt":"2026-01-02T03:04:05.006Z","UpdatedAt":"2026-01-02T03:04:05.006Z","StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z",` +
	`"ExpiredAt":"0001-01-01T00:00:00Z","RunningSince":"2026-01-02T03:04:05.006Z",` +
	`"Log":{"Links":3,"Head":"00000000000000000000000000000000000000000000000000000000000000ff"}},` +
	`"Token":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,2],"Restart":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,3]}`

func TestStoredCampaign(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	corrupt(t, s, campaignsBucket, []byte("i"), []byte(storedCampaign))
	var rewritten string
	err := s.update(t.Context(), func(tx *tx) error {
		v, err := tx.campaign("i")
		if err != nil {
			return err
		}
		if err := tx.putCampaign(v); err != nil {
			return err
		}
		rewritten = string(tx.get(campaignsBucket, []byte("i")))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if rewritten != storedCampaign {
		t.Fatalf("stored was\n%s\nit became\n%s", storedCampaign, rewritten)
	}
}

// TestIdempotencyKeyIsForgotten: not before its time, and not never.
func TestIdempotencyKeyIsForgotten(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	create := func(id, key string, at time.Time) error {
		_, _, err := s.CreateCampaign(t.Context(), store.NewCampaign{
			Campaign:       campaign.Campaign{ID: id, Status: campaign.StatusPending, CreatedAt: at},
			IdempotencyKey: key, RequestDigest: id,
		})
		return err
	}
	for _, step := range []struct {
		id, key string
		at      time.Duration
		want    campaign.Code
	}{
		{"1", "first", 0, ""},
		{"2", "second", store.IdempotencyFor, ""},
		{"3", "first", store.IdempotencyFor, campaign.CodeKeyReused},
		{"4", "third", store.IdempotencyFor + time.Millisecond, ""}, // takes the first with it
		{"5", "first", store.IdempotencyFor + time.Millisecond, ""},
		{"6", "second", store.IdempotencyFor + time.Millisecond, campaign.CodeKeyReused},
	} {
		found := step.want // what FindByKey knows before is what CreateCampaign will say
		if found == "" {
			found = campaign.CodeNotFound
		}
		if id, err := s.FindByKey(t.Context(), step.key, step.id); campaign.CodeOf(err) != found || id != "" {
			t.Errorf("before campaign %s with key %q: found %q, %v, want %q", step.id, step.key, id, err, found)
		}
		err := create(step.id, step.key, begin.Add(step.at))
		if step.want == "" && err != nil || step.want != "" && campaign.CodeOf(err) != step.want {
			t.Errorf("campaign %s with key %q: %v, want %q", step.id, step.key, err, step.want)
		}
	}
	if id, err := s.FindByKey(t.Context(), "first", "5"); err != nil || id != "5" {
		t.Errorf("the key that was used anew finds campaign %q, %v", id, err)
	}
}

func TestMangledCursor(t *testing.T) {
	t.Parallel()
	cursor := encodeCursor(contactListing, []byte("ann@example.org"))
	if key, err := decodeCursor(contactListing, cursor); err != nil || string(key) != "ann@example.org" {
		t.Fatalf("%q, %v", key, err)
	}
	for i := range cursor {
		other := "A"
		if cursor[i] == 'A' {
			other = "B"
		}
		mangled := cursor[:i] + other + cursor[i+1:]
		if _, err := decodeCursor(contactListing, mangled); campaign.CodeOf(err) != campaign.CodeInvalid {
			t.Errorf("cursor %q with octet %d changed: %v", mangled, i, err)
		}
	}
	for _, cursor := range []string{cursor[:len(cursor)-1], cursor + "A", strings.ToLower(cursor)} {
		if _, err := decodeCursor(contactListing, cursor); campaign.CodeOf(err) != campaign.CodeInvalid {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}
