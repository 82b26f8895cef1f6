package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"postern/internal/campaign"
	"postern/internal/store"
)

// testModel draws sequences of calls and compares the store with a model of
// maps: contacts, and one campaign with its leases, rows and totals.
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
	c      campaign.Campaign
	people map[string]campaign.Contact
	leases map[int]*modelLease
	totals campaign.Totals
	// restarted is the arguments of the last Restart.
	restarted string
	events    []campaign.Event // of the campaign's own chain
	clock     int              // seconds behind the start; rises with each use
	again     func(rt *rapid.T)
}

// modelLease is a lease with its history and what was written under it.
type modelLease struct {
	now  store.Lease
	past []store.Lease
	// last is the holder's last write, with its arguments, and made the
	// version that it made. Absorb moves the version on and leaves them.
	last     string
	made     int64
	marked   int64 // the version that the last MarkCounted made
	finished bool  // the totals count the chunk as done
	rows     map[int]campaign.Delivery
	payloads [][]byte // of the links of its chain
}

// tell appends a link to the model's chain, and gives the chain's end.
func (l *modelLease) tell(payload []byte) campaign.Chain {
	c := l.now.Progress.Chain
	if payload == nil {
		return c
	}
	l.payloads = append(l.payloads, payload)
	return c.Next(l.now.Key.CampaignID, l.now.Key.Number, payload)
}

// move is a write to the lease.
func (l *modelLease) move(now store.Lease) {
	l.past = append(l.past, l.now)
	now.Version++
	l.now = now
}

// moveOn is a write to the lease behind which the holder's last write is not
// recognised any more.
func (l *modelLease) moveOn(now store.Lease) {
	l.move(now)
	l.last, l.made = "", 0
}

func newMachine(rt *rapid.T, s store.Store) *machine {
	k := newKit(rt, s)
	c := k.start()
	control := store.LeaseKey{CampaignID: c.ID}
	return &machine{
		k: k, id: c.ID, c: c, events: []campaign.Event{store.NewCampaign{Campaign: c}.Event()},
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
		"checkpoint": m.checkpoint, "count sent": m.countSent, "finish chunk": m.finishChunk, "mark counted": m.markCounted,
		"transition": m.transition, "restart": m.restart,
		"absorb": m.absorb, "reopen chunk": m.reopenChunk,
		"a chunk to its end": m.chunkToEnd, "stop and restart": m.stopAndRestart,
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
		if n > 0 {
			m.k.same(payloads(m.k.trail(l.now.Key)), l.payloads, fmt.Sprint("the chain of ", n))
		}
	}
	got := m.k.totals(m.id)
	got.UpdatedAt = m.totals.UpdatedAt
	m.k.same(got, m.totals, "totals")
	m.k.same(m.k.campaign(m.id), m.c, "the campaign")
	m.k.same(m.k.events(m.id), m.events, "the campaign's own chain")
	m.count(got)
	m.lookAtPeople()
}

// count compares totals with what the store's own rows and settled recipients
// make.
func (m *machine) count(totals campaign.Totals) {
	m.k.Helper()
	want := campaign.Totals{Final: totals.Final, UpdatedAt: totals.UpdatedAt}
	for n, l := range m.leases {
		if n == 0 {
			continue
		}
		stored := m.k.lease(l.now.Key)
		want.Chunks++
		want.Total += int64(stored.Size)
		if l.finished {
			want.ChunksDone++
		}
		for _, d := range m.k.deliveries(l.now.Key) {
			if stored.Progress.Settled.Has(d.Index) {
				want.Count(d.State, 1)
			}
		}
	}
	m.k.same(totals, want, "totals beside the count of the rows")
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

// modelWrite is a lease method with its arguments, and what it does to the
// model.
type modelWrite struct {
	name   string // with the arguments: tells one call from another
	fences int64  // how far it moves the fence
	call   func(context.Context, store.Lease) (store.Lease, error)
	apply  func(now *store.Lease)
	// unless, where it is not nil, says whether the call is refused for
	// another reason than the lease.
	unless func() bool
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
	case seen.Version == now.Version && seen.Fence == now.Fence && !now.Closed && (w.unless == nil || !w.unless()):
		m.k.ok(err, w.name)
		w.apply(&now)
		l.move(now)
		l.last, l.made = w.name, l.now.Version
	case seen.Version+1 == l.made && seen.Fence+w.fences == now.Fence && l.last == w.name:
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
