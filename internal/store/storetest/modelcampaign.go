package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"postern/internal/campaign"
	"postern/internal/store"
)

// transition draws any status; ones that nothing leaves come seldom.
func (m *machine) transition(rt *rapid.T) {
	to := rapid.SampledFrom(campaign.Statuses).Draw(rt, "to")
	if to == campaign.StatusCancelled && rapid.IntRange(0, 4).Draw(rt, "seldom") > 0 {
		rt.Skip("a cancelled campaign ends what a sequence can do")
	}
	m.transitionTo(rt, to)
}

func (m *machine) transitionTo(rt *rapid.T, to campaign.Status) {
	t := store.Transition{To: to, Reason: fmt.Sprint("reason ", m.clock), At: m.k.later(m.tick())}
	m.moveCampaign(rt, func() (campaign.Campaign, error) { return m.k.s.Transition(rt.Context(), m.id, t) }, func() bool {
		switch {
		case m.c.Status == to:
		case mayTransition(m.c.Status, to):
			m.events = append(m.events, t.Event(m.c.Status))
			if m.c.Status.Shelved() {
				m.openControl(t.At)
			}
			m.c = transitioned(m.c, t)
		default:
			return false
		}
		return true
	})
}

// moveCampaign makes a call that moves the campaign, and the same move of the
// model, which says whether the contract allows it.
func (m *machine) moveCampaign(rt *rapid.T, call func() (campaign.Campaign, error), model func() bool) {
	m.k.tb = rt
	m.again = func(rt *rapid.T) { m.moveCampaign(rt, call, model) }
	before := m.k.signal()
	status := m.c.Status
	got, err := call()
	if !model() {
		m.k.fails(err, campaign.CodeConflict, fmt.Sprintf("the move of a %s campaign", status))
		return
	}
	m.k.ok(err, fmt.Sprintf("the move of a %s campaign", status))
	m.k.same(got, m.c, "the campaign that the move returned")
	stops := []campaign.Status{campaign.StatusPaused, campaign.StatusFailed, campaign.StatusCancelled}
	if m.c.Status != status && slices.Contains(stops, m.c.Status) && m.k.signal() <= before {
		m.k.Fatalf("the signal is still %d after a campaign is %s", before, m.c.Status)
	}
}

func (m *machine) restart(rt *rapid.T) {
	from := m.c.Status
	if rapid.IntRange(0, 5).Draw(rt, "another status") == 0 {
		from = rapid.SampledFrom(campaign.Statuses).Draw(rt, "from")
	}
	r := store.Restart{
		From:   from,
		To:     rapid.SampledFrom([]campaign.Status{campaign.StatusScheduled, campaign.StatusPending, campaign.StatusInProgress}).Draw(rt, "to"),
		States: drawStates(rt), DueAt: m.k.later(m.tick()), At: m.k.later(m.tick()),
	}
	if rapid.Bool().Draw(rt, "with a relay") {
		r.Relay = &campaign.Relay{Host: fmt.Sprint("relay", m.clock), Port: 25, SealedPassword: []byte{1}}
	}
	m.restartAs(rt, r)
}

func (m *machine) restartAs(rt *rapid.T, r store.Restart) {
	arguments := fmt.Sprintf("%+v", r)
	m.moveCampaign(rt, func() (campaign.Campaign, error) { return m.k.s.Restart(rt.Context(), m.id, r) }, func() bool {
		switch {
		case m.restarted == arguments:
		case m.c.Status == r.From && r.From.CanBecome(r.To):
			m.restarted = arguments
			m.events = append(m.events, r.Event())
			m.c = restarted(m.c, r)
			m.restartControl(r)
		default:
			return false
		}
		return true
	})
}

func drawStates(rt *rapid.T) []campaign.DeliveryState {
	states := rapid.SampledFrom([]campaign.DeliveryState{campaign.DeliveryFailed, campaign.DeliveryUnknown})
	return rapid.SliceOfNDistinct(states, 0, 2, rapid.ID).Draw(rt, "states")
}

// openControl is what the cancelling of a campaign does whose work is shelved.
func (m *machine) openControl(dueAt time.Time) {
	l := m.leases[0]
	now := l.now
	now.Owner, now.Closed, now.DueAt = "", false, dueAt
	l.moveOn(now)
}

func (m *machine) restartControl(r store.Restart) {
	l := m.leases[0]
	now := l.now
	now.Owner, now.Closed, now.DueAt = "", false, r.DueAt
	earlier := now.Reopen
	now.Reopen = store.Reopen{Next: 1, States: r.States, StatesFrom: 1}
	if len(r.States) == 0 && earlier.Next > 0 {
		now.Reopen.States, now.Reopen.StatesFrom = earlier.States, max(earlier.StatesFrom, earlier.Next)
	}
	l.moveOn(now)
}

// absorb draws sent messages of some recipients of a chunk, whoever holds it.
func (m *machine) absorb(rt *rapid.T) {
	l := m.pick(rt, isChunk)
	var sent []campaign.Delivery
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, l.now.Size-1), 0, l.now.Size, rapid.ID).Draw(rt, "absorbed") {
		d := m.k.delivery(i, campaign.DeliverySent)
		d.Attempts = m.tick()
		sent = append(sent, d)
	}
	m.absorbSent(rt, l, sent)
}

func (m *machine) absorbSent(rt *rapid.T, l *modelLease, sent []campaign.Delivery) {
	m.k.tb = rt
	m.again = func(rt *rapid.T) { m.absorbSent(rt, l, sent) }
	m.k.ok(m.k.s.Absorb(rt.Context(), l.now.Key, sent), "Absorb")
	now, news := l.now, []campaign.Delivery(nil)
	now.Progress = l.progress()
	for _, d := range sent {
		before := l.rows[d.Index].State
		if before == campaign.DeliverySent {
			continue
		}
		news = append(news, d)
		if now.Progress.Settled.Has(d.Index) {
			m.totals.Count(before, -1)
		}
		m.totals.Count(campaign.DeliverySent, 1)
		l.rows[d.Index] = d
		now.Progress.Settled.Add(d.Index)
		now.Progress.Intents.Remove(d.Index)
		now.Progress.Counted.Remove(d.Index)
		now.Progress.Deferred = slices.DeleteFunc(now.Progress.Deferred, func(f campaign.Deferred) bool { return f.Index == d.Index })
	}
	if len(news) > 0 {
		now.Progress.Chain = l.tell(campaign.EncodeResults(news))
		l.move(now)
	}
}

// progress is a copy of a chunk's progress with room for all its recipients.
func (l *modelLease) progress() campaign.Progress {
	p := l.now.Progress.Clone()
	if len(p.Settled) == 0 {
		p.Settled = campaign.NewBitmap(l.now.Size)
	}
	return p
}

func (m *machine) reopenChunk(rt *rapid.T) {
	l, seen := m.held(rt, func(n int, l *modelLease) bool { return n == 0 && l.now.Reopen.Next > 0 })
	m.reopenAs(rt, l, seen)
}

func (m *machine) reopenAs(rt *rapid.T, l *modelLease, seen store.Lease) {
	due := m.k.later(rapid.IntRange(0, 3).Draw(rt, "due"))
	m.write(rt, l, seen, modelWrite{
		name: fmt.Sprint("ReopenChunk ", due),
		call: func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return m.k.s.ReopenChunk(ctx, held, due)
		},
		apply: func(now *store.Lease) {
			r := now.Reopen
			if chunk := m.leases[r.Next]; chunk != nil {
				m.reopen(chunk, r, due)
			}
			now.Reopen.Next++
			if now.Reopen.Next > now.Freeze.Chunks {
				now.Reopen = store.Reopen{}
			}
		},
	})
}

// stopAndRestart stops a campaign in some way, shelves some chunks, restarts it
// and reopens some or all of them.
func (m *machine) stopAndRestart(rt *rapid.T) {
	m.transitionTo(rt, campaign.StatusInProgress)
	m.transitionTo(rt, rapid.SampledFrom([]campaign.Status{campaign.StatusPaused, campaign.StatusCompleted, campaign.StatusFailed}).Draw(rt, "to"))
	for n := 1; n < len(m.leases); n++ {
		if l := m.leases[n]; !l.now.Closed && rapid.Bool().Draw(rt, "shelve") {
			m.acquireAs(rt, l, l.now, "task d")
			m.closeAs(rt, l, l.now, m.c.Status)
		}
	}
	m.restartAs(rt, store.Restart{
		From: m.c.Status, To: campaign.StatusInProgress, States: drawStates(rt),
		DueAt: m.k.later(m.tick()), At: m.k.later(m.tick()),
	})
	control := m.leases[0]
	if control.now.Closed { // the campaign was cancelled before
		return
	}
	m.acquireAs(rt, control, control.now, "task d")
	for range rapid.IntRange(0, len(m.leases)).Draw(rt, "reopened") {
		if control.now.Reopen.Next > 0 {
			m.reopenAs(rt, control, control.now)
		}
	}
}

// reopen is what the contract makes of the chunk of a ReopenChunk.
func (m *machine) reopen(l *modelLease, r store.Reopen, due time.Time) {
	now := l.now
	now.Owner, now.Closed, now.DueAt = "", false, due
	if !l.now.Closed {
		if l.now.Owner == "" && l.now.DueAt.After(due) {
			l.moveOn(now)
		}
		return
	}
	now.Progress = l.progress()
	var opened []int
	for _, i := range slices.Sorted(maps.Keys(l.rows)) {
		d := l.rows[i]
		if now.Key.Number >= r.StatesFrom && slices.Contains(r.States, d.State) && now.Progress.Settled.Has(i) {
			opened = append(opened, i)
			now.Progress.Settled.Remove(i)
			now.Progress.Intents.Remove(i)
			now.Progress.Counted.Remove(i)
			m.totals.Count(d.State, -1)
		}
	}
	if l.finished {
		if now.Progress.Settled.Len() == now.Size {
			return
		}
		l.finished = false
		m.totals.ChunksDone--
	}
	now.Progress.Chain = l.tell(campaign.EncodeReopened(opened))
	l.moveOn(now)
}
