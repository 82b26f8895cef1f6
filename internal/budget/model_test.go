package budget

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is a book and claims of several tasks on it, with every order of
// their steps: reads that are old when they are taken in, swaps whose answer is
// lost, swaps that arrive late, tasks that die, pause, come and leave.
type model struct {
	caps    Caps
	now     time.Time
	clock   time.Duration // what the wall clock is ahead of now
	version int64
	book    book
	tasks   []*simulated
	born    int
	late    []swap // their senders have given up waiting for the answer
}

// simulated is a task: what Share and keep do around a claim.
type simulated struct {
	claim          claim
	inUse, revoked int // connections; revoked ones are among those in use
	waiting        int
	leaving        bool
	fetched        *snapshot // a read whose answer is on its way
	swapping       *swap     // a swap whose answer is awaited
	served         bool      // has had a connection since this was last false
}

type snapshot struct {
	version int64
	book    book
}

// swap replaces the version by the book.
type swap struct {
	snapshot
}

func newModel(caps Caps) *model {
	return &model{caps: caps, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
}

func (m *model) join() *simulated {
	m.born++
	owner := fmt.Sprintf("task%d.", m.born)
	s := &simulated{claim: claim{
		id: owner + "1", owner: owner, caps: m.caps, cfg: Config{LeaseTime: 10 * time.Second, PollEvery: 500 * time.Millisecond},
	}}
	m.tasks = append(m.tasks, s)
	return s
}

func (m *model) valid(s *simulated) bool { return m.now.Before(s.claim.until()) }

// fetch begins a read.
func (m *model) fetch(s *simulated) { s.fetched = &snapshot{m.version, m.book} }

// plan takes in the read, and begins a swap if one is due.
func (m *model) plan(s *simulated) {
	f := s.fetched
	s.fetched = nil
	if s.claim.read(f.book, f.version, m.now) {
		s.inUse, s.revoked = 0, 0
	}
	wants := s.inUse + s.waiting
	d := demand{wants: wants, inUse: s.inUse, slot: slotOf(m.now.Add(m.clock)), leaving: s.leaving}
	next, due := s.claim.plan(f.book, f.version, d, m.now)
	if due {
		s.swapping = &swap{snapshot{f.version, next}}
	}
	s.adjust()
}

func (s *simulated) adjust() {
	s.revoked = max(s.revoked, s.inUse-s.claim.goal.Connections)
}

// arrive has a swap reach the store, which does it or not.
func (m *model) arrive(w swap) bool {
	if w.version != m.version {
		return false
	}
	m.version++
	m.book = w.book
	return true
}

// answer ends a swap with the store's answer.
func (m *model) answer(s *simulated) {
	w := *s.swapping
	s.swapping = nil
	if m.arrive(w) {
		s.claim.wrote()
		s.adjust()
	}
}

// exchange is a read and a swap without trouble.
func (m *model) exchange(s *simulated) {
	m.fetch(s)
	m.plan(s)
	if s.swapping != nil {
		m.answer(s)
	}
}

// acquire hands out what the task may use to those who wait.
func (m *model) acquire(s *simulated) {
	for s.waiting > 0 && m.valid(s) && !s.leaving && s.inUse < s.claim.usable().Connections {
		s.waiting--
		s.inUse++
		s.served = true
	}
}

func (m *model) release(s *simulated) {
	if s.inUse > 0 {
		s.inUse--
		s.revoked = max(0, s.revoked-1)
	}
}

// check holds the sums to the caps.
func (m *model) check(t *rapid.T) {
	var used, allowed, written part
	for _, e := range m.book.Tasks {
		written.Connections += e.Connections
		written.Rate += e.Rate
	}
	for _, s := range m.tasks {
		if !m.valid(s) {
			continue
		}
		p := s.claim.usable()
		allowed.Connections += p.Connections
		allowed.Rate += p.Rate
		used.Connections += s.inUse
		if e := m.book.find(s.claim.id); e.least(p) != p || e.Connections < s.inUse {
			t.Fatalf("%s uses %d and may use %+v; the book says %+v", s.claim.id, s.inUse, p, e)
		}
		if s.inUse-s.revoked > s.claim.goal.Connections {
			t.Fatalf("%s has %d good permits, more than its goal of %d", s.claim.id, s.inUse-s.revoked, s.claim.goal.Connections)
		}
	}
	for _, p := range []part{used, allowed, written} {
		if p.Connections > m.caps.Connections || p.Rate > m.caps.Rate+1e-9 {
			t.Fatalf("used %+v, allowed %+v, written %+v, and the caps are %+v", used, allowed, written, m.caps)
		}
	}
}

// settle lets time pass without trouble, in which every task keeps using what
// it has, but gives back what is revoked.
func (m *model) settle(t *rapid.T, d time.Duration) {
	for range d / (500 * time.Millisecond) {
		m.now = m.now.Add(500 * time.Millisecond)
		for _, s := range m.tasks {
			for s.revoked > 0 {
				m.release(s)
				s.waiting++
			}
			m.exchange(s)
			m.acquire(s)
			m.check(t)
		}
	}
}

// checkFair holds what the tasks have in the end to what they should have.
func (m *model) checkFair(t *rapid.T) {
	waiting := queue(m.book.Tasks)
	if len(m.tasks) == 0 || len(waiting) > m.caps.places() {
		return
	}
	for id, want := range split(waiting, m.caps) {
		if got := m.book.find(id).part; got != want {
			t.Fatalf("%s has %+v in the end, not %+v; the book is %+v", id, got, want, m.book)
		}
	}
}

func TestClaimsKeepTheCaps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(Caps{
			Connections: rapid.IntRange(1, 12).Draw(t, "connections"),
			Rate:        rapid.SampledFrom([]float64{0, 0.5, 2, 7.5, 500}).Draw(t, "rate"),
		})
		for range rapid.IntRange(1, 4).Draw(t, "tasks") {
			m.join()
		}
		// with does something to one of the tasks that can.
		with := func(can func(*simulated) bool, do func(*rapid.T, *simulated)) func(*rapid.T) {
			return func(t *rapid.T) {
				able := slices.DeleteFunc(slices.Clone(m.tasks), func(s *simulated) bool { return !can(s) })
				if len(able) > 0 {
					do(t, able[rapid.IntRange(0, len(able)-1).Draw(t, "task")])
				}
			}
		}
		all := func(*simulated) bool { return true }
		free := func(s *simulated) bool { return s.fetched == nil && s.swapping == nil }
		fetching := func(s *simulated) bool { return s.fetched != nil }
		swapping := func(s *simulated) bool { return s.swapping != nil }
		t.Repeat(map[string]func(*rapid.T){
			"": m.check,
			"time passes": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 4000).Draw(t, "ms")) * time.Millisecond)
			},
			"want": with(all, func(t *rapid.T, s *simulated) {
				s.waiting = rapid.IntRange(0, 8).Draw(t, "waiting")
			}),
			"acquire":  with(all, func(_ *rapid.T, s *simulated) { m.acquire(s) }),
			"release":  with(all, func(_ *rapid.T, s *simulated) { m.release(s) }),
			"exchange": with(free, func(_ *rapid.T, s *simulated) { m.exchange(s) }),
			"fetch":    with(free, func(_ *rapid.T, s *simulated) { m.fetch(s) }),
			"plan":     with(fetching, func(_ *rapid.T, s *simulated) { m.plan(s) }),
			"answer":   with(swapping, func(_ *rapid.T, s *simulated) { m.answer(s) }),
			"time-out": with(swapping, func(_ *rapid.T, s *simulated) {
				m.late = append(m.late, *s.swapping)
				s.swapping = nil
			}),
			"late arrival": func(t *rapid.T) {
				if len(m.late) > 0 {
					i := rapid.IntRange(0, len(m.late)-1).Draw(t, "which")
					m.arrive(m.late[i])
					m.late = slices.Delete(m.late, i, i+1)
				}
			},
			"pause": with(all, func(t *rapid.T, paused *simulated) {
				// The others live on, for long enough to drop the one or not.
				for range rapid.IntRange(1, 8).Draw(t, "rounds") {
					m.now = m.now.Add(time.Duration(rapid.IntRange(500, 3000).Draw(t, "ms")) * time.Millisecond)
					for _, s := range m.tasks {
						if s != paused && free(s) {
							m.exchange(s)
							m.acquire(s)
						}
						m.check(t)
					}
				}
			}),
			"join": func(*rapid.T) {
				if len(m.tasks) < 6 {
					m.join()
				}
			},
			"die": with(all, func(_ *rapid.T, s *simulated) {
				m.tasks = slices.DeleteFunc(m.tasks, func(o *simulated) bool { return o == s })
			}),
			"leave": with(func(s *simulated) bool { return s.inUse == 0 }, func(_ *rapid.T, s *simulated) {
				s.leaving = true
			}),
		})
		m.late = nil
		for _, s := range m.tasks {
			s.fetched, s.swapping = nil, nil
		}
		m.settle(t, 15*time.Second)
		m.checkFair(t)
	})
}

// TestNobodyStarves: with more tasks than there are places, everybody has a
// connection and a rate within a turn of everybody else.
func TestNobodyStarves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(Caps{
			Connections: rapid.IntRange(1, 3).Draw(t, "connections"),
			Rate:        rapid.SampledFrom([]float64{0, 0.25, 1, 2, 50}).Draw(t, "rate"),
		})
		n := rapid.IntRange(2, 6).Draw(t, "tasks")
		for range n {
			m.join().waiting = rapid.IntRange(1, 4).Draw(t, "waiting")
		}
		m.settle(t, time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds"))*time.Second)
		for _, s := range m.tasks {
			s.served = false
		}
		m.settle(t, time.Duration(n+1)*11*time.Second)
		for _, s := range m.tasks {
			if !s.served && s.inUse == 0 {
				t.Fatalf("%s had nothing in %d turns", s.claim.id, n+1)
			}
		}
	})
}

// TestNewcomerHasItsPart: two polls of everybody are enough.
func TestNewcomerHasItsPart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(Caps{Connections: rapid.IntRange(4, 12).Draw(t, "connections"), Rate: 500})
		for range rapid.IntRange(1, 3).Draw(t, "tasks") {
			m.join().waiting = rapid.IntRange(1, 14).Draw(t, "waiting")
		}
		m.settle(t, 3*time.Second)
		m.join().waiting = rapid.IntRange(1, 14).Draw(t, "waiting")
		m.settle(t, time.Second)
		m.settle(t, 500*time.Millisecond)
		m.checkFair(t)
	})
}
