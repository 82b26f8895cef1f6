package dynamo

import (
	"context"
	"reflect"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

func tenRecipients(t testing.TB, s *Store) store.Lease {
	t.Helper()
	return chunk(t, s, 10)
}

// retried holds the control lease of a campaign with a finished chunk, of
// whose ten recipients three have failed and are to be mailed again.
func retried(t testing.TB, s *Store) store.Lease {
	t.Helper()
	held := chunk(t, s, 10)
	cp := checkpoint(10, 10)
	for i := range 3 {
		cp.Deliveries[i].State = campaign.DeliveryFailed
	}
	held = must[store.Lease](t)(s.Checkpoint(t.Context(), held, cp))
	must[store.Lease](t)(s.FinishChunk(t.Context(), held))
	id := held.Key.CampaignID
	for _, to := range []campaign.Status{campaign.StatusInProgress, campaign.StatusCompleted} {
		must[campaign.Campaign](t)(s.Transition(t.Context(), id, store.Transition{To: to, At: time.Now()}))
	}
	must[campaign.Campaign](t)(s.Restart(t.Context(), id, retryOf(campaign.StatusCompleted)))
	return hold(t, s, store.LeaseKey{CampaignID: id})
}

func retryOf(from campaign.Status) store.Restart {
	at := time.UnixMilli(1_750_000_000_000).UTC()
	return store.Restart{
		From: from, To: campaign.StatusInProgress, States: []campaign.DeliveryState{campaign.DeliveryFailed}, DueAt: at, At: at,
	}
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
		{"CloseLease", opTransact, tenRecipients, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.CloseLease(ctx, held, campaign.StatusPending)
		}, frozen},
		{"Checkpoint", opTransact, tenRecipients, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.Checkpoint(ctx, held, checkpoint(10, 7))
		}, campaign.Totals{Total: 10, Chunks: 1, Sent: 7}},
		{"FinishChunk", opTransact, tenRecipients, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.FinishChunk(ctx, held)
		}, campaign.Totals{Total: 10, Chunks: 1, ChunksDone: 1}},
		{"AddChunk", opTransact, control, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.AddChunk(ctx, held, someChunk(10), "next")
		}, frozen},
		{"FinishFreeze", opTransact, control, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.FinishFreeze(ctx, held)
		}, campaign.Totals{Final: true}},
		{"ReopenChunk", opTransact, retried, func(ctx context.Context, s *Store, held store.Lease) (store.Lease, error) {
			return s.ReopenChunk(ctx, held, due)
		}, campaign.Totals{Total: 10, Chunks: 1, Sent: 7}},
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
	storetest.CheckTrail(t, s, held.Key.CampaignID)
}

// TestLostAnswer: the first answer to an applied write is lost, the SDK tries
// again and meets its own success.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range leaseCalls() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, s, direct := through(t)
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

// otherCall is a write that is not a holder's. Setup gives what it is made
// with, look what it must have changed once.
type otherCall struct {
	name  string
	op    string
	setup func(t testing.TB, s *Store) store.Lease
	make  func(ctx context.Context, s *Store, l store.Lease) error
	look  func(t *testing.T, s *Store, l store.Lease) any
	want  any
}

func otherCalls() []otherCall {
	paused := func(t testing.TB, s *Store) store.Lease {
		t.Helper()
		held := chunk(t, s, 10)
		must[campaign.Campaign](t)(s.Transition(t.Context(), held.Key.CampaignID, store.Transition{To: campaign.StatusPaused, At: time.Now()}))
		return held
	}
	reached := func(t testing.TB, s *Store) store.Lease {
		t.Helper()
		person(t, s, "ann@example.org")
		return tenRecipients(t, s)
	}
	finished := func(t testing.TB, s *Store) store.Lease {
		t.Helper()
		held := chunk(t, s, 4)
		held = must[store.Lease](t)(s.Checkpoint(t.Context(), held, checkpoint(4, 4)))
		return must[store.Lease](t)(s.FinishChunk(t.Context(), held))
	}
	signal := func(t *testing.T, s *Store, _ store.Lease) any {
		t.Helper()
		return must[int64](t)(s.Signal(t.Context()))
	}
	return []otherCall{
		{"Transition", opTransact, tenRecipients, func(ctx context.Context, s *Store, l store.Lease) error {
			_, err := s.Transition(ctx, l.Key.CampaignID, store.Transition{To: campaign.StatusCancelled, At: time.Now()})
			return err
		}, signal, int64(1)},
		{"Restart", opTransact, paused, func(ctx context.Context, s *Store, l store.Lease) error {
			_, err := s.Restart(ctx, l.Key.CampaignID, retryOf(campaign.StatusPaused))
			return err
		}, signal, int64(2)},
		{"Absorb", opTransact, tenRecipients, func(ctx context.Context, s *Store, l store.Lease) error {
			return s.Absorb(ctx, l.Key, checkpoint(10, 4).Deliveries)
		}, func(t *testing.T, s *Store, l store.Lease) any {
			t.Helper()
			totals := must[campaign.Totals](t)(s.Totals(t.Context(), l.Key.CampaignID))
			version := must[store.Lease](t)(s.GetLease(t.Context(), l.Key)).Version - l.Version
			return [2]int64{totals.Sent, version}
		}, [2]int64{4, 1}},
		{"CountSent", opUpdate, reached, func(ctx context.Context, s *Store, l store.Lease) error {
			return s.CountSent(ctx, l.Key.CampaignID, sentNow("ann@example.org"))
		}, func(t *testing.T, s *Store, _ store.Lease) any {
			t.Helper()
			return contactOfKey(t, s, "ann@example.org").EmailCount
		}, int64(1)},
		{"MarkCounted", opUpdate, finished, func(ctx context.Context, s *Store, l store.Lease) error {
			_, err := s.MarkCounted(ctx, l)
			return err
		}, func(t *testing.T, s *Store, l store.Lease) any {
			t.Helper()
			now := must[store.Lease](t)(s.GetLease(t.Context(), l.Key))
			return [2]int64{int64(now.Progress.Counted.Len()), now.Version - l.Version}
		}, [2]int64{4, 1}},
		{"AppendEvent", opTransact, tenRecipients, func(ctx context.Context, s *Store, l store.Lease) error {
			links, err := s.AuditLinks(ctx, store.LeaseKey{CampaignID: l.Key.CampaignID}, 0, 1)
			if err != nil {
				return err
			}
			first := campaign.Chain{Links: 1, Head: links[0].Hash}
			_, err = s.AppendEvent(ctx, l.Key.CampaignID, first, campaign.Event{Action: campaign.ActionErased})
			return err
		}, func(t *testing.T, s *Store, l store.Lease) any {
			t.Helper()
			return must[campaign.Campaign](t)(s.GetCampaign(t.Context(), l.Key.CampaignID)).Log.Links
		}, int64(2)},
		{"SwapCell", opPut, tenRecipients, func(ctx context.Context, s *Store, _ store.Lease) error {
			_, err := s.SwapCell(ctx, "relay", store.Cell{}, []byte("mine"))
			return err
		}, func(t *testing.T, s *Store, _ store.Lease) any {
			t.Helper()
			return must[store.Cell](t)(s.GetCell(t.Context(), "relay")).Version
		}, int64(1)},
	}
}

// TestLostAnswers of the writes that are not a holder's: one answer, and all
// until the call is made again.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range otherCalls() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, lost := range []int{1, 100} {
				p, s, direct := through(t)
				l := c.setup(t, direct)
				p.first(lost, c.op, fault{drop: true})
				err := c.make(t.Context(), s, l)
				if lost > 1 {
					wantCode(t, err, campaign.CodeUnavailable)
					p.follow(nil)
					err = c.make(t.Context(), s, l)
				} else if n := p.count(c.op); n < 2 {
					t.Fatalf("%d requests of %s: nothing was lost", n, c.op)
				}
				if got := c.look(t, direct, l); err != nil || !reflect.DeepEqual(got, c.want) {
					t.Fatalf("with %d answers lost: %v, want %v; error %v", lost, got, c.want, err)
				}
				storetest.CheckTrail(t, direct, l.Key.CampaignID)
			}
		})
	}
}

// TestCheckpointUnderAbsorb: a checkpoint whose answers were all lost counts
// once, though messages of a former holder came in between.
func TestCheckpointUnderAbsorb(t *testing.T) {
	t.Parallel()
	p, s, direct := through(t)
	held := chunk(t, direct, 10)
	p.all(fault{drop: true}, opTransact)
	_, err := s.Checkpoint(t.Context(), held, checkpoint(10, 7))
	wantCode(t, err, campaign.CodeUnavailable)
	p.follow(nil)
	if err := direct.Absorb(t.Context(), held.Key, checkpoint(10, 9).Deliveries[6:]); err != nil {
		t.Fatal(err)
	}
	now := must[store.Lease](t)(s.Checkpoint(t.Context(), held, checkpoint(10, 7)))
	if now.Version != held.Version+2 || now.Progress.Settled.Len() != 9 {
		t.Fatalf("the lease is %+v, it was %+v", now, held)
	}
	if totals := must[campaign.Totals](t)(direct.Totals(t.Context(), held.Key.CampaignID)); totals.Sent != 9 {
		t.Fatalf("%d sent, want 9", totals.Sent)
	}
	storetest.CheckTrail(t, direct, held.Key.CampaignID)
}
