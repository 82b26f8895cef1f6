package engine

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

// bareChunk is a chunk on a lane, that no goroutine works on.
func bareChunk(t *testing.T, r *rig, n int) *chunk {
	t.Helper()
	relay, err := r.relayOf(t.Context(), campaign.Campaign{Relay: campaign.Relay{Host: r.relay.Host(), Port: r.relay.Port(), Default: true}})
	if err != nil {
		t.Fatal(err)
	}
	l := r.lanes.Open(relay)
	t.Cleanup(l.Close)
	g := l.Join("c")
	t.Cleanup(g.Leave)
	ctx, cancel := context.WithCancelCause(t.Context())
	c := &chunk{
		e: r.Engine, run: &run{group: g, lane: l}, feeding: ctx, began: time.Now(), signal: make(chan struct{}, 1),
		hold:     newHolder(r.store, store.Lease{}, time.Now(), time.Minute, cancel),
		putBacks: map[int]int{}, attempts: map[int]int{}, deferred: map[int]campaign.Deferred{},
		saved: make(chan error, 1),
	}
	if c.run.messageIDs, err = r.messageIDs(campaign.Campaign{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if c.persons, err = newPersons(r.sealer, r.sealer.KeyIDs()[0], "c"); err != nil {
		t.Fatal(err)
	}
	c.progress.Settled = campaign.NewBitmap(n)
	for i := range n {
		c.audience.Recipients = append(c.audience.Recipients, campaign.Recipient{Address: address(i)})
	}
	return c
}

// TestARefusedWorkerIsCalledBack: one worker is told that there is nothing to
// take, another one then takes; the first must still be called back.
func TestARefusedWorkerIsCalledBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	c := bareChunk(t, r, 3)
	c.ready = []int{2, 1, 0}
	for range r.window.limit {
		r.window.add()
	}
	if c.Ready() {
		t.Fatal("ready with a full window")
	}
	r.window.done(98) // a batch is recorded
	if _, ok := c.Take(); !ok {
		t.Fatal("nothing to take, with room in the window")
	}
	if !c.refused {
		t.Error("the worker that was turned away is forgotten")
	}
	c.callBack()
	if c.refused {
		t.Error("it was not called back")
	}
}

type stallStore struct {
	store.Store
	stall atomic.Bool
	free  chan struct{}
}

func (s *stallStore) Checkpoint(ctx context.Context, held store.Lease, cp store.Checkpoint) (store.Lease, error) {
	if s.stall.Load() {
		select {
		case <-s.free:
		case <-ctx.Done():
			return store.Lease{}, ctx.Err()
		}
	}
	return s.Store.Checkpoint(ctx, held, cp)
}

// TestNoMoreThanTheWindowIsUnderWay: with the store at a stand, the relay gets
// no more than the bound that is stated for a kill.
func TestNoMoreThanTheWindowIsUnderWay(t *testing.T) {
	t.Parallel()
	const connections = 10
	stall := &stallStore{free: make(chan struct{})}
	var started atomic.Bool
	// All dots that come after the first 150 messages take a moment, so that all ten connections are busy.
	hook := func(e smtptest.Event) smtptest.Action {
		if e.Stage == smtptest.StageDot && started.Load() {
			return smtptest.Action{}.Delay(30 * time.Millisecond)
		}
		return smtptest.Action{}
	}
	r := newRig(t, rigOptions{relay: smtptest.Config{Hook: hook}, config: func(c *Config) {
		c.Caps.Connections, c.LeaseTime = connections, patience // no lease is renewed while the store stands
	},
		wrap: func(s store.Store) store.Store { stall.Store = s; return stall }})
	started.Store(true)
	stall.stall.Store(true)
	runTask(t, r.Engine)
	r.contacts(t, chunksPerCampaign*chunkRecipients)
	id := r.submit(t, letter())
	awaitMessages(t, r.relay, 256)
	last := 0
	for {
		time.Sleep(2 * time.Second)
		n := r.relay.Count()
		if n == last {
			break
		}
		last = n
	}
	t.Logf("%d acknowledged and not recorded, %d connections", last, connections)
	if last > Window+connections {
		t.Errorf("a kill now repeats %d messages; the bound is %d", last, Window+connections)
	}
	stall.stall.Store(false)
	close(stall.free)
	r.awaitStatus(t, id, campaign.StatusCompleted)
}

// TestAnAbsorbedRecipientIsNotDeclared: neither those of the batch that met the
// Absorb nor those that wait are sent to.
func TestAnAbsorbedRecipientIsNotDeclared(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	c := bareChunk(t, r, 40)
	c.intents = newIntents(r.intents)
	all := []int{}
	for i := range slices.Backward(c.audience.Recipients) {
		all = append(all, i)
	}
	c.intents.propose(all)
	b := c.batch(true) // declares 0..15
	c.saving = b
	// The store refuses it: an Absorb has settled 3 (in the batch) and 30 (proposed).
	after := campaign.NewBitmap(40)
	after.Add(3)
	after.Add(30)
	held := store.Lease{Progress: campaign.Progress{Settled: after}}
	cp := b.checkpoint(held)
	c.hold.lease.Progress = cp.Progress
	c.recorded()
	if slices.Contains(c.ready, 3) {
		t.Error("recipient 3 has its message (absorbed), and is ready to be sent to")
	}
	if slices.Contains(c.intents.proposed, 30) {
		t.Error("recipient 30 has its message (absorbed), and is proposed to be sent to")
	}
	if cp.Progress.Intents.Has(3) {
		t.Error("a settled recipient has an intent again")
	}
}

func TestAbsorbedRecipientsGiveTheirIntentsBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	c := bareChunk(t, r, 40)
	c.intents = newIntents(r.intents)
	all := []int{}
	for i := range slices.Backward(c.audience.Recipients) {
		all = append(all, i)
	}
	c.intents.propose(all)
	c.saving = c.batch(true)
	c.hold.lease.Progress = c.saving.checkpoint(store.Lease{}).Progress
	c.recorded()
	if len(c.ready) != 16 {
		t.Fatal(len(c.ready))
	}
	// Before they are sent, nine are absorbed.
	absorbed := c.hold.lease.Progress.Clone()
	for i := range 9 {
		absorbed.Settled.Add(i)
	}
	send := func(i int) {
		c.ready = slices.DeleteFunc(c.ready, func(j int) bool { return i == j })
		c.settle(i, campaign.Delivery{State: campaign.DeliveryFailed})
	}
	send(15)
	held := store.Lease{Progress: absorbed}
	flush := func() {
		c.saving = c.batch(false)
		held.Progress = c.saving.checkpoint(held).Progress
		c.hold.lease = held
		c.recorded()
	}
	flush()
	for i := 9; i < 15; i++ {
		send(i)
	}
	flush()
	flush()
	if len(c.ready) != 0 {
		t.Fatal(c.ready)
	}
	if !c.intents.mayDeclare() {
		t.Errorf("%d wait, nothing is under way, and none may be declared: declared %d, window %v; the chunk stays for ever",
			len(c.intents.proposed), len(c.intents.declared), r.intents.size())
	}
}
