package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"postern/internal/campaign"
	"postern/internal/store"
)

func (m *machine) acquire(rt *rapid.T) {
	l := m.pick(rt, isAny)
	m.acquireAs(rt, l, l.seen(rt), rapid.SampledFrom([]string{"task a", "task b"}).Draw(rt, "owner"))
}

func (m *machine) acquireAs(rt *rapid.T, l *modelLease, seen store.Lease, owner string) {
	m.write(rt, l, seen, modelWrite{
		name: "AcquireLease " + owner, fences: 1,
		call: func(ctx context.Context, seen store.Lease) (store.Lease, error) {
			return m.k.s.AcquireLease(ctx, seen, owner)
		},
		apply: func(now *store.Lease) {
			now.Owner, now.DueAt = owner, store.HeldDue
			now.Fence++
		},
	})
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
	l, seen := m.held(rt, isAny)
	status := m.c.Status
	if rapid.IntRange(0, 3).Draw(rt, "another status") == 0 {
		status = rapid.SampledFrom(campaign.Statuses).Draw(rt, "status")
	}
	m.closeAs(rt, l, seen, status)
}

func (m *machine) closeAs(rt *rapid.T, l *modelLease, seen store.Lease, status campaign.Status) {
	m.write(rt, l, seen, modelWrite{
		name: fmt.Sprint("CloseLease ", status),
		call: func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return m.k.s.CloseLease(ctx, held, status)
		},
		unless: func() bool { return m.c.Status != status },
		apply:  closed,
	})
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
	cp := store.Checkpoint{Progress: l.progress()}
	cp.Progress.Deferred = nil
	for i := range l.now.Size {
		if !cp.Progress.Settled.Has(i) && rapid.Bool().Draw(rt, "has a result") {
			m.settle(&cp, i, rapid.SampledFrom(campaign.DeliveryStates).Draw(rt, "state"))
		}
	}
	m.drawIntents(rt, &cp, l.now.Size)
	m.checkpointAs(rt, l, seen, cp)
}

func (m *machine) checkpointAs(rt *rapid.T, l *modelLease, seen store.Lease, cp store.Checkpoint) {
	m.write(rt, l, seen, modelWrite{
		name: fmt.Sprintf("Checkpoint %+v", cp),
		call: func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return m.k.s.Checkpoint(ctx, held, cp)
		},
		apply: func(now *store.Lease) {
			now.Progress = cp.Progress
			now.Progress.Chain = l.tell(campaign.EncodeResults(cp.Deliveries))
			for _, d := range cp.Deliveries {
				l.rows[d.Index] = d
				m.totals.Count(d.State, 1)
			}
			if cp.Finish {
				closed(now)
				l.finished = true
				m.totals.ChunksDone++
			}
		},
	})
}

// drawIntents makes some recipients intents, whether they have a result or not.
func (m *machine) drawIntents(rt *rapid.T, cp *store.Checkpoint, size int) {
	drawn := rapid.SliceOfNDistinct(rapid.IntRange(0, size-1), 0, size, rapid.ID).Draw(rt, "intents")
	cp.Progress.Intents = setOf(size, drawn...)
}

// settle adds a recipient's result to a checkpoint.
func (m *machine) settle(cp *store.Checkpoint, index int, state campaign.DeliveryState) {
	d := m.k.delivery(index, state)
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
	m.finishAs(rt, l, seen)
}

func (m *machine) finishAs(rt *rapid.T, l *modelLease, seen store.Lease) {
	m.write(rt, l, seen, modelWrite{
		name: "FinishChunk", call: m.k.s.FinishChunk,
		apply: func(now *store.Lease) {
			closed(now)
			l.finished = true
			m.totals.ChunksDone++
		},
	})
}

// markCounted marks a chunk as counted, as it is or as it was.
func (m *machine) markCounted(rt *rapid.T) {
	l := m.pick(rt, isChunk)
	m.markAs(rt, l, l.seen(rt))
}

func (m *machine) markAs(rt *rapid.T, l *modelLease, seen store.Lease) {
	m.k.tb = rt
	m.again = func(rt *rapid.T) { m.markAs(rt, l, seen) }
	got, err := m.k.s.MarkCounted(rt.Context(), seen)
	now := l.now
	switch {
	case now.Closed && seen.Version == now.Version && seen.Fence == now.Fence:
		now.Progress = now.Progress.Clone()
		now.Progress.Counted = slices.Clone(now.Progress.Settled)
		l.move(now)
		l.marked = l.now.Version
	case seen.Version+1 == now.Version && l.marked == now.Version:
	default:
		m.k.fails(err, campaign.CodeConflict, "MarkCounted")
		return
	}
	m.k.ok(err, "MarkCounted")
	m.k.same(m.shown(got), m.shown(l.now), "MarkCounted")
}

// settled says whether all recipients of a chunk have results.
func (l *modelLease) settled() bool { return l.now.Progress.Settled.Len() == l.now.Size }

// chunkToEnd has a task do what is left of a chunk: single steps seldom come
// that far.
func (m *machine) chunkToEnd(rt *rapid.T) {
	l := m.pick(rt, func(n int, l *modelLease) bool { return n > 0 && !l.now.Closed })
	m.acquireAs(rt, l, l.now, "task c")
	cp := store.Checkpoint{Progress: l.progress()}
	cp.Progress.Deferred = nil
	for i := range l.now.Size {
		if !cp.Progress.Settled.Has(i) {
			m.settle(&cp, i, rapid.SampledFrom(terminalStates()).Draw(rt, "state"))
		}
	}
	cp.Finish = rapid.Bool().Draw(rt, "at once")
	m.checkpointAs(rt, l, l.now, cp)
	if !cp.Finish {
		m.finishAs(rt, l, l.now)
	}
}
