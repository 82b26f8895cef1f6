package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/internal/campaign"
	"postern/internal/store"
)

// testModel draws sequences of calls and compares the store with a model of
// maps: contacts, and one campaign's leases, rows and totals.
func testModel(t *testing.T, s store.Store) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(rt, s)
		m.Repeat(rt)
		m.look(rt)
	})
}

// machine is the model and the store under test.
type machine struct {
	k      kit
	id     string
	people map[string]campaign.Contact
	leases map[int]*modelLease
	totals campaign.Totals
	clock  int // seconds behind the start; rises with each use
	again  func(rt *rapid.T)
}

// modelLease is a lease with its history and what was written under it.
type modelLease struct {
	now  store.Lease
	past []store.Lease
	last string // the call, with its arguments, that made it what it is
	rows map[int]campaign.Delivery
}

func newMachine(rt *rapid.T, s store.Store) *machine {
	k := newKit(rt, s)
	c := k.start()
	control := store.LeaseKey{CampaignID: c.ID}
	return &machine{
		k: k, id: c.ID,
		people: map[string]campaign.Contact{},
		leases: map[int]*modelLease{0: {now: k.lease(control)}},
	}
}

// Repeat runs a drawn sequence of actions.
func (m *machine) Repeat(rt *rapid.T) {
	rt.Repeat(map[string]func(*rapid.T){
		"upsert": m.upsert, "update": m.update, "delete": m.remove,
		"acquire": m.acquire, "renew": m.renew, "release": m.release, "close": m.closeLease,
		"add chunk": m.addChunk, "finish freeze": m.finishFreeze,
		"checkpoint": m.checkpoint, "finish chunk": m.finishChunk,
		"the last call again": m.repeatLast, "look": m.look,
	})
}

func (m *machine) tick() int {
	m.clock++
	return m.clock
}

// look compares everything.
func (m *machine) look(rt *rapid.T) {
	m.k.tb = rt
	for _, n := range slices.Sorted(maps.Keys(m.leases)) {
		l := m.leases[n]
		m.k.same(m.shown(m.k.lease(l.now.Key)), m.shown(l.now), fmt.Sprint("lease ", n))
		rows := make([]campaign.Delivery, 0, len(l.rows))
		for _, i := range slices.Sorted(maps.Keys(l.rows)) {
			rows = append(rows, l.rows[i])
		}
		m.k.same(m.k.deliveries(l.now.Key), rows, fmt.Sprint("deliveries of ", n))
	}
	got := m.k.totals(m.id)
	got.UpdatedAt = m.totals.UpdatedAt
	m.k.same(got, m.totals, "totals")
	m.lookAtPeople()
}

// shown is a lease without what the contract leaves open: whose a closed lease
// is.
func (m *machine) shown(l store.Lease) store.Lease {
	if l.Closed {
		l.Owner = ""
	}
	return l
}

// pick draws a lease among those with numbers that suit.
func (m *machine) pick(rt *rapid.T, suits func(n int, l *modelLease) bool) *modelLease {
	var all []int
	for n, l := range m.leases {
		if suits(n, l) {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		rt.Skip("no such lease")
	}
	slices.Sort(all)
	return m.leases[rapid.SampledFrom(all).Draw(rt, "lease")]
}

// seen draws the lease as it is, three times of four, or as it was.
func (l *modelLease) seen(rt *rapid.T) store.Lease {
	if len(l.past) == 0 || rapid.IntRange(0, 3).Draw(rt, "stale") > 0 {
		return l.now
	}
	return rapid.SampledFrom(l.past).Draw(rt, "past")
}

func (m *machine) acquire(rt *rapid.T) {
	l := m.pick(rt, isAny)
	owner := rapid.SampledFrom([]string{"task a", "task b"}).Draw(rt, "owner")
	m.write(rt, l, l.seen(rt), modelWrite{
		name: "AcquireLease " + owner, fences: 1,
		call: func(ctx context.Context, seen store.Lease) (store.Lease, error) {
			return m.k.s.AcquireLease(ctx, seen, owner)
		},
		apply: func(now *store.Lease) {
			now.Owner = owner
			now.Fence++
		},
	})
}

// modelWrite is a lease method with its arguments, and what it does to the
// model.
type modelWrite struct {
	name   string // with the arguments: tells one call from another
	fences int64  // how far it moves the fence
	call   func(context.Context, store.Lease) (store.Lease, error)
	apply  func(now *store.Lease)
}

// write makes the call with a lease as seen, and expects what the contract
// says: success when that is the lease, the same answer when the call made it
// what it is, a conflict otherwise.
func (m *machine) write(rt *rapid.T, l *modelLease, seen store.Lease, w modelWrite) {
	m.k.tb = rt
	m.again = func(rt *rapid.T) { m.write(rt, l, seen, w) }
	got, err := w.call(rt.Context(), seen)
	now := l.now
	switch {
	case seen.Version == now.Version && seen.Fence == now.Fence && !now.Closed:
		m.k.ok(err, w.name)
		l.past = append(l.past, now)
		now.Version++
		w.apply(&now)
		l.now, l.last = now, w.name
	case seen.Version+1 == now.Version && seen.Fence+w.fences == now.Fence && l.last == w.name:
		m.k.ok(err, w.name+", repeated")
	default:
		m.k.fails(err, campaign.CodeConflict, w.name)
		return
	}
	m.k.same(m.shown(got), m.shown(l.now), w.name)
}

func (m *machine) repeatLast(rt *rapid.T) {
	if m.again == nil {
		rt.Skip("nothing to repeat")
	}
	m.again(rt)
}

// held draws a lease that somebody holds or held, as seen then.
func (m *machine) held(rt *rapid.T, suits func(n int, l *modelLease) bool) (*modelLease, store.Lease) {
	l := m.pick(rt, suits)
	seen := l.seen(rt)
	if seen.Owner == "" {
		rt.Skip("not held")
	}
	return l, seen
}

func isAny(int, *modelLease) bool       { return true }
func isChunk(n int, _ *modelLease) bool { return n > 0 }
func isControl(n int, l *modelLease) bool {
	return n == 0 && !l.now.Freeze.Final
}

func (m *machine) renew(rt *rapid.T) {
	l, seen := m.held(rt, isAny)
	m.write(rt, l, seen, modelWrite{name: "RenewLease", call: m.k.s.RenewLease, apply: func(*store.Lease) {}})
}

func (m *machine) release(rt *rapid.T) {
	l, seen := m.held(rt, isAny)
	due := m.k.later(rapid.IntRange(0, 3).Draw(rt, "due"))
	m.write(rt, l, seen, modelWrite{
		name: fmt.Sprint("ReleaseLease ", due),
		call: func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return m.k.s.ReleaseLease(ctx, held, due)
		},
		apply: func(now *store.Lease) { now.Owner, now.DueAt = "", due },
	})
}

func closed(now *store.Lease) {
	now.Closed, now.Owner, now.DueAt = true, "", time.Time{}
}

func (m *machine) closeLease(rt *rapid.T) {
	if rapid.IntRange(0, 4).Draw(rt, "seldom") > 0 {
		rt.Skip("closing ends what a sequence can do")
	}
	l, seen := m.held(rt, isChunk)
	m.write(rt, l, seen, modelWrite{name: "CloseLease", call: m.k.s.CloseLease, apply: closed})
}

func (m *machine) addChunk(rt *rapid.T) {
	l, seen := m.held(rt, isControl)
	size := rapid.IntRange(1, 9).Draw(rt, "size")
	chunk := store.Chunk{Size: size, Packed: []byte{1, byte(size)}, DueAt: m.k.later(m.tick())}
	cursor := fmt.Sprint("at ", m.clock)
	m.write(rt, l, seen, modelWrite{
		name: fmt.Sprint("AddChunk ", chunk, cursor),
		call: func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return m.k.s.AddChunk(ctx, held, chunk, cursor)
		},
		apply: func(now *store.Lease) {
			now.Freeze.Cursor = cursor
			now.Freeze.Chunks++
			key := store.LeaseKey{CampaignID: m.id, Number: now.Freeze.Chunks}
			free := m.k.lease(key)
			m.k.same(free, store.Lease{Key: key, DueAt: chunk.DueAt, Size: size, Fence: free.Fence, Version: free.Version}, "the chunk's lease")
			m.leases[key.Number] = &modelLease{now: free, rows: map[int]campaign.Delivery{}}
			m.totals.Total += int64(size)
			m.totals.Chunks++
		},
	})
}

func (m *machine) finishFreeze(rt *rapid.T) {
	if len(m.leases) < 3 {
		rt.Skip("too early")
	}
	l, seen := m.held(rt, isControl)
	m.write(rt, l, seen, modelWrite{
		name: "FinishFreeze", call: m.k.s.FinishFreeze,
		apply: func(now *store.Lease) {
			now.Freeze.Final = true
			m.totals.Final = true
		},
	})
}

func (m *machine) checkpoint(rt *rapid.T) {
	l, seen := m.held(rt, isChunk)
	cp := store.Checkpoint{Progress: l.now.Progress.Clone()}
	cp.Progress.Deferred = nil
	if len(cp.Progress.Settled) == 0 {
		cp.Progress.Settled = campaign.NewBitmap(l.now.Size)
	}
	for i := range l.now.Size {
		if !cp.Progress.Settled.Has(i) && rapid.Bool().Draw(rt, "has a result") {
			m.settle(rt, &cp, i)
		}
	}
	m.write(rt, l, seen, modelWrite{
		name: fmt.Sprintf("Checkpoint %+v", cp),
		call: func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return m.k.s.Checkpoint(ctx, held, cp)
		},
		apply: func(now *store.Lease) {
			now.Progress = cp.Progress
			for _, d := range cp.Deliveries {
				l.rows[d.Index] = d
				m.totals.Count(d.State, 1)
			}
		},
	})
}

// settle adds a recipient's drawn result to a checkpoint.
func (m *machine) settle(rt *rapid.T, cp *store.Checkpoint, index int) {
	d := m.k.delivery(index, rapid.SampledFrom(campaign.DeliveryStates).Draw(rt, "state"))
	d.Attempts = m.tick()
	cp.Deliveries = append(cp.Deliveries, d)
	if d.State.Terminal() {
		cp.Progress.Settled.Add(index)
		return
	}
	cp.Progress.Deferred = append(cp.Progress.Deferred, campaign.Deferred{
		Index: index, Attempts: d.Attempts, Next: d.NextAttempt, Reply: d.Reply,
	})
}

func (m *machine) finishChunk(rt *rapid.T) {
	l, seen := m.held(rt, func(n int, l *modelLease) bool { return n > 0 && l.settled() })
	sent := store.Sent{At: m.k.later(m.tick())}
	for _, address := range rapid.SliceOfNDistinct(rapid.IntRange(0, peopleDrawn), 0, 3, rapid.ID).Draw(rt, "sent") {
		sent.Keys = append(sent.Keys, campaign.Key(m.k.address(address)))
	}
	m.write(rt, l, seen, modelWrite{
		name: fmt.Sprint("FinishChunk ", sent),
		call: func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return m.k.s.FinishChunk(ctx, held, sent)
		},
		apply: func(now *store.Lease) {
			closed(now)
			m.countSent(sent)
			m.totals.ChunksDone++
		},
	})
}

// settled says whether all recipients of a chunk have results.
func (l *modelLease) settled() bool {
	for i := range l.now.Size {
		if !l.now.Progress.Settled.Has(i) {
			return false
		}
	}
	return true
}
