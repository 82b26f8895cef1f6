package dynamo

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"postern/internal/campaign"
	"postern/internal/store"
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t *testing.T, err error, code campaign.Code) {
	t.Helper()
	if err == nil || campaign.CodeOf(err) != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
}

func newCampaign(t testing.TB) store.NewCampaign {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	return store.NewCampaign{
		Campaign: campaign.Campaign{
			ID: must[uuid.UUID](t)(uuid.NewV7()).String(), Name: "n", Status: campaign.StatusPending,
			CreatedAt: now, UpdatedAt: now,
		},
		Content: map[string][]byte{"aa": []byte("body"), "bb": make([]byte, 2*pieceOctets+1)},
	}
}

// control makes a campaign and holds its control lease.
func control(t testing.TB, s *Store) store.Lease {
	t.Helper()
	c, _, err := s.CreateCampaign(t.Context(), newCampaign(t))
	if err != nil {
		t.Fatal(err)
	}
	return hold(t, s, store.LeaseKey{CampaignID: c.ID})
}

func hold(t testing.TB, s *Store, key store.LeaseKey) store.Lease {
	t.Helper()
	seen := must[store.Lease](t)(s.GetLease(t.Context(), key))
	return must[store.Lease](t)(s.AcquireLease(t.Context(), seen, uuid.NewString()))
}

// chunk holds the one chunk of a new campaign.
func chunk(t testing.TB, s *Store, size int) store.Lease {
	t.Helper()
	c := control(t, s)
	must[store.Lease](t)(s.AddChunk(t.Context(), c, someChunk(size), "cursor"))
	return hold(t, s, store.LeaseKey{CampaignID: c.Key.CampaignID, Number: 1})
}

func someChunk(size int) store.Chunk {
	return store.Chunk{Size: size, Packed: []byte("packed"), DueAt: time.UnixMilli(1_700_000_000_000).UTC()}
}

// checkpoint settles recipients 0..n-1 as sent, of size.
func checkpoint(size, n int) store.Checkpoint {
	cp := store.Checkpoint{Progress: campaign.Progress{Settled: campaign.NewBitmap(size)}}
	for i := range n {
		cp.Progress.Settled.Add(i)
		cp.Deliveries = append(cp.Deliveries, campaign.Delivery{
			Index: i, Address: fmt.Sprintf("recipient.number-%05d@mail.example.org", i), State: campaign.DeliverySent, Attempts: 1,
			Reply:     "250 2.0.0 Ok: queued as 4bXyZ12345z9AbC on mx1.relay.example.org",
			MessageID: "0190163d-8694-739b-aea5-966c26f8ad91.1." + fmt.Sprint(i) + "@example.org",
			UpdatedAt: time.UnixMilli(1_700_000_000_000).UTC(),
		})
	}
	return cp
}

func person(t testing.TB, s *Store, address string) string {
	t.Helper()
	change := campaign.ContactChange{Address: address}
	if err := s.UpsertContacts(t.Context(), []campaign.ContactChange{change}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return change.Key()
}

// sentNow are messages to contacts.
func sentNow(keys ...string) (sent []store.Sent) {
	for _, key := range keys {
		sent = append(sent, store.Sent{Key: key, At: time.Now()})
	}
	return sent
}

func contactOfKey(t *testing.T, s *Store, key string) campaign.Contact {
	t.Helper()
	got := must[[]campaign.Contact](t)(s.GetContacts(t.Context(), []string{key}))
	if len(got) != 1 {
		t.Fatalf("%d contacts of key %s", len(got), key)
	}
	return got[0]
}

// leaseCall is a call that writes to a lease, which setup makes.
type leaseCall struct {
	name  string
	op    string // the write's operation
	setup func(t testing.TB, s *Store) store.Lease
	make  func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error)
	// want is what the totals are when the call has been counted once.
	want campaign.Totals
}
