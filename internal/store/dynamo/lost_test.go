package dynamo

import (
	"context"
	"reflect"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

func tenRecipients(t *testing.T, s *Store) store.Lease {
	t.Helper()
	return chunk(t, s, 10)
}

func leaseCalls() []leaseCall {
	due := time.UnixMilli(1_800_000_000_000).UTC()
	frozen := campaign.Totals{Total: 10, Chunks: 1}
	return []leaseCall{
		{"AcquireLease", opUpdate, tenRecipients, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.AcquireLease(ctx, held, "another start")
		}, frozen},
		{"RenewLease", opUpdate, tenRecipients, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.RenewLease(ctx, held)
		}, frozen},
		{"ReleaseLease", opUpdate, tenRecipients, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.ReleaseLease(ctx, held, due)
		}, frozen},
		{"CloseLease", opUpdate, tenRecipients, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.CloseLease(ctx, held)
		}, frozen},
		{"Checkpoint", opTransact, tenRecipients, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.Checkpoint(ctx, held, checkpoint(10, 7))
		}, campaign.Totals{Total: 10, Chunks: 1, Sent: 7}},
		{"FinishChunk", opTransact, tenRecipients, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.FinishChunk(ctx, held, store.Sent{Keys: []string{"ann@example.org"}, At: due})
		}, campaign.Totals{Total: 10, Chunks: 1, ChunksDone: 1}},
		{"AddChunk", opTransact, control, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.AddChunk(ctx, held, someChunk(10), "next")
		}, frozen},
		{"FinishFreeze", opTransact, control, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.FinishFreeze(ctx, held)
		}, campaign.Totals{Final: true}},
	}
}

// expectOnce sees that a call was applied once: the lease is what the call
// returned, one version on, and the totals are as they should be.
func (c leaseCall) expectOnce(t *testing.T, s *Store, held, got store.Lease) {
	t.Helper()
	stored := must[store.Lease](t)(s.GetLease(t.Context(), held.Key))
	got.Progress.Deferred, stored.Progress.Deferred = nil, nil
	if len(got.Progress.Settled) == 0 {
		got.Progress.Settled, stored.Progress.Settled = nil, nil
	}
	if !reflect.DeepEqual(got, stored) || got.Version != held.Version+1 {
		t.Fatalf("%s returned\n%+v, stored is\n%+v, before it was\n%+v", c.name, got, stored, held)
	}
	totals := must[campaign.Totals](t)(s.Totals(t.Context(), held.Key.CampaignID))
	totals.UpdatedAt = time.Time{}
	if totals != c.want {
		t.Fatalf("totals are %+v, want %+v", totals, c.want)
	}
	person := contactOfKey(t, s, "ann@example.org")
	if c.name == "FinishChunk" && person.EmailCount != 1 {
		t.Fatalf("the contact was counted %d times", person.EmailCount)
	}
}

// TestLostAnswer: the first answer to an applied write is lost, the SDK tries
// again and meets its own success.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range leaseCalls() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, s, direct := through(t)
			person(t, direct, "ann@example.org")
			held := c.setup(t, direct)
			p.first(1, c.op, fault{drop: true})
			got := must[store.Lease](t)(c.make(t.Context(), s, held))
			if n := p.count(c.op); n < 2 {
				t.Fatalf("%d requests of %s: nothing was lost", n, c.op)
			}
			c.expectOnce(t, direct, held, got)
		})
	}
}

// TestAllAnswersLost: every answer is lost until the SDK gives up. The same
// call made later says that it was applied.
func TestAllAnswersLost(t *testing.T) {
	t.Parallel()
	for _, c := range leaseCalls() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, s, direct := through(t)
			person(t, direct, "ann@example.org")
			held := c.setup(t, direct)
			p.all(fault{drop: true}, c.op)
			_, err := c.make(t.Context(), s, held)
			wantCode(t, err, campaign.CodeUnavailable)
			p.follow(nil)
			got := must[store.Lease](t)(c.make(t.Context(), s, held))
			c.expectOnce(t, direct, held, got)
		})
	}
}

func TestLostAnswerToDelete(t *testing.T) {
	t.Parallel()
	p, s, direct := through(t)
	key := person(t, direct, "ann@example.org")
	p.first(1, opDelete, fault{drop: true})
	if err := s.DeleteContact(t.Context(), key); err != nil {
		t.Fatalf("DeleteContact whose first answer was lost: %v", err)
	}
	wantCode(t, s.DeleteContact(t.Context(), key), campaign.CodeNotFound)
}
