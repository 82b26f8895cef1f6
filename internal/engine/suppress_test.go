package engine

import (
	"context"
	"fmt"
	"testing"

	"postern/internal/campaign"
	"postern/internal/store"
)

// frozenStub calls back when a chunk is stored, before anybody can lease it.
type frozenStub struct {
	store.Store

	frozen func(ctx context.Context) error
}

func (s *frozenStub) AddChunk(ctx context.Context, control store.Lease, chunk store.Chunk, cursor string) (store.Lease, error) {
	if err := s.frozen(ctx); err != nil {
		return store.Lease{}, err
	}
	return s.Store.AddChunk(ctx, control, chunk, cursor)
}

// TestContactsChangeBehindFreezing: who is unsubscribed or gone by the time
// that the chunk is leased is not mailed, however many others have come
// between those that are; and they are not mailed either.
func TestContactsChangeBehindFreezing(t *testing.T) {
	t.Parallel()
	const recipients = 60
	for name, audience := range map[string]campaign.Selection{
		"all contacts": {}, "those of a tag": {Tags: []string{"news"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stub := &frozenStub{}
			r := newRig(t, rigOptions{wrap: func(s store.Store) store.Store {
				stub.Store = s
				return stub
			}})
			news := []string{"news"}
			changes := make([]campaign.ContactChange, recipients)
			for i := range changes {
				changes[i] = campaign.ContactChange{Address: address(i), Tags: &news}
			}
			if err := r.UpsertContacts(t.Context(), changes); err != nil {
				t.Fatal(err)
			}
			stub.frozen = func(ctx context.Context) error {
				changes := []campaign.ContactChange{{Address: address(7), Status: campaign.ContactUnsubscribed}}
				for i := range 3 * recipients {
					changes = append(changes, campaign.ContactChange{Address: fmt.Sprintf("r1x%d@example.org", i), Tags: &news})
				}
				if err := r.store.UpsertContacts(ctx, changes, r.clock.now()); err != nil {
					return err
				}
				return r.store.DeleteContact(ctx, campaign.Key(address(8)))
			}
			runTask(t, r.Engine)
			s := letter()
			s.Audience = audience
			id := r.submit(t, s)
			got := r.awaitStatus(t, id, campaign.StatusCompleted)
			if got.Totals.Sent != recipients-2 || got.Totals.Suppressed != 2 {
				t.Errorf("ended as %+v", got.Totals)
			}
			r.mailed(t, recipients, map[string]int{address(7): 0, address(8): 0})
		})
	}
}
