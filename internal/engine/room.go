package engine

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"postern/internal/campaign"
	"postern/internal/lane"
)

const (
	// defaultLetterBytes is what the letters at work have together, in octets.
	defaultLetterBytes = 128 << 20
	// smallLetter needs no room: as many as a task has places for take little,
	// and a small letter never waits for large ones.
	smallLetter = 256 << 10
	// A letter keeps its room for so long, at least, while others wait for
	// one: where its relay takes messages, and where it does not.
	sendingTurn = 30 * time.Second
	idleTurn    = 10 * time.Second
	// A chunk without room comes again after as long as it has waited, within
	// these bounds, or as soon as there is room.
	roomLookMin = time.Second
	roomLookMax = 10 * time.Second
	// staleAfter: a campaign that has not come again for so long does not wait
	// any more. It was stopped, or another task has it.
	staleAfter = 3 * roomLookMax
)

// errNoRoom: there is no memory for the letter now.
var errNoRoom = errors.New("there is no room for the letter now")

// rooms bounds the memory for letters, which chunks of one campaign share. A
// chunk whose letter finds no room gives its lease back and comes again, in
// the order of the campaigns' coming: it keeps no place from others. A relay
// that does not take messages, or has not shown yet that it does, has one
// letter at a time here, so that the campaigns of a dead relay leave the memory
// to those of others; and whoever has had its turn makes room for who waits.
type rooms struct {
	limit int64
	wake  func(...hint)

	// loading is held while a large letter is loaded: what that takes besides
	// the letter itself, such as the files before they are encoded, is there
	// once at most.
	loading sync.Mutex

	mu      sync.Mutex
	used    int64
	held    map[*run]*tenant
	waiting []*applicant // in the order of their coming
}

// tenant is a letter that has room.
type tenant struct {
	octets  int64
	since   time.Time // monotonic
	chunks  map[*chunk]struct{}
	leaving bool // its chunks were asked to give way
}

// applicant is a campaign whose letter waits for room.
type applicant struct {
	id           string
	lane         *lane.Lane
	octets       int64
	since, asked time.Time // monotonic: the first and the last time that it came
	lease        hint      // the lease given back meanwhile; zero before it is
}

func newRooms(limit int64, wake func(...hint)) *rooms {
	return &rooms{limit: limit, wake: wake, held: map[*run]*tenant{}}
}

// letterOctets is what a letter may take in memory: its files in base64, in
// lines, and its HTML and text as quoted-printable, each up to three times as
// long as the HTML, with what they are made of.
func letterOctets(l campaign.Letter) int64 {
	octets := 8 * l.HTML.Size
	for i := range l.Attachments {
		octets += l.Attachments[i].Size * 11 / 8
	}
	return octets
}

// enter gives the chunk's letter room, or says after what time to come again.
// A letter that is larger than all the room there is has it alone.
func (m *rooms) enter(c *chunk) (wait time.Duration, ok bool) {
	octets := letterOctets(c.run.campaign.Letter)
	if octets <= smallLetter {
		return 0, true
	}
	octets = min(octets, m.limit)
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.held[c.run]
	if t == nil && m.admits(c.run, octets) {
		t = &tenant{octets: octets, since: time.Now(), chunks: map[*chunk]struct{}{}}
		m.held[c.run] = t
		m.used += octets
		m.strike(c.run.campaign.ID)
		m.callNext()
	}
	if t == nil || t.leaving {
		a := m.apply(c.run, octets)
		m.press()
		return min(max(time.Since(a.since), roomLookMin), roomLookMax), false
	}
	t.chunks[c] = struct{}{}
	return 0, true
}

// leave ends the chunk's use of its letter, and says whether the letter had
// room for this chunk alone: then it has none any more.
func (m *rooms) leave(c *chunk) (last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.held[c.run]
	if t == nil {
		return false
	}
	if _, in := t.chunks[c]; !in {
		return false
	}
	if delete(t.chunks, c); len(t.chunks) > 0 {
		return false
	}
	m.used -= t.octets
	delete(m.held, c.run)
	m.callNext()
	return true
}

// admits says whether a letter may be given room now: nobody who came before
// could take it.
func (m *rooms) admits(r *run, octets int64) bool {
	if m.used+octets > m.limit || m.isBlocked(r.lane) {
		return false
	}
	return !slices.ContainsFunc(m.before(r.campaign.ID), m.mayGo)
}

// before lists who came before the campaign; all where it does not wait.
func (m *rooms) before(id string) []*applicant {
	at := slices.IndexFunc(m.waiting, func(a *applicant) bool { return a.id == id })
	if at < 0 {
		return m.waiting
	}
	return m.waiting[:at]
}

// isBlocked says whether the lane's relay has the one letter here that it may
// have while it takes no messages.
func (m *rooms) isBlocked(l *lane.Lane) bool {
	for r := range m.held {
		if r.lane == l {
			return !takesMessages(l)
		}
	}
	return false
}

func takesMessages(l *lane.Lane) bool {
	t := l.Trouble()
	return t.Known && t.Text == ""
}

// mayGo says whether nothing but memory is in the applicant's way.
func (m *rooms) mayGo(a *applicant) bool {
	return time.Since(a.asked) < staleAfter && !m.isBlocked(a.lane)
}

// first is whose turn it is; nil for nobody's.
func (m *rooms) first() *applicant {
	if at := slices.IndexFunc(m.waiting, m.mayGo); at >= 0 {
		return m.waiting[at]
	}
	return nil
}

// apply notes that a campaign waits.
func (m *rooms) apply(r *run, octets int64) *applicant {
	now := time.Now()
	m.dropStale()
	id := r.campaign.ID
	at := slices.IndexFunc(m.waiting, func(a *applicant) bool { return a.id == id })
	if at < 0 {
		m.waiting = append(m.waiting, &applicant{id: id, since: now})
		at = len(m.waiting) - 1
	}
	a := m.waiting[at]
	a.lane, a.octets, a.asked, a.lease = r.lane, octets, now, hint{}
	return a
}

func (m *rooms) dropStale() {
	m.waiting = slices.DeleteFunc(m.waiting, func(a *applicant) bool { return time.Since(a.asked) >= staleAfter })
}

func (m *rooms) strike(id string) {
	m.waiting = slices.DeleteFunc(m.waiting, func(a *applicant) bool { return a.id == id })
}

// press asks those who have had their turn to make room for who is first.
func (m *rooms) press() {
	first := m.first()
	if first == nil {
		return
	}
	missing := m.used + first.octets - m.limit
	var done []*tenant
	for r, t := range m.held {
		if t.leaving {
			missing -= t.octets
		} else if time.Since(t.since) >= turnOf(r) {
			done = append(done, t)
		}
	}
	slices.SortFunc(done, func(a, b *tenant) int { return a.since.Compare(b.since) })
	for _, t := range done {
		if missing <= 0 {
			return
		}
		missing -= t.octets
		t.leaving = true
		for c := range t.chunks {
			c.hold.end(errYielded)
		}
	}
}

func turnOf(r *run) time.Duration {
	if takesMessages(r.lane) {
		return sendingTurn
	}
	return idleTurn
}

// gaveBack notes the lease that was given back until there is room.
func (m *rooms) gaveBack(id string, lease hint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.waiting {
		if a.id == id {
			a.lease = lease
		}
	}
	m.callNext()
}

// look has whoever is first come again if there is room by now, as when a
// relay takes messages again.
func (m *rooms) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.callNext()
}

func (m *rooms) callNext() {
	first := m.first()
	if first != nil && first.lease.version > 0 && m.used+first.octets <= m.limit {
		m.wake(first.lease)
		first.lease = hint{} // once is enough
	}
}

func (m *rooms) measure(f promauto.Factory) {
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_letters_bytes",
		Help: "Octets that the large letters (from 256 KiB) at work on this task may take in memory; MAX_LETTER_BYTES bounds them.",
	}, func() float64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		return float64(m.used)
	})
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_letters_waiting",
		Help: "Campaigns whose letters have no room on this task now.",
	}, func() float64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dropStale()
		return float64(len(m.waiting))
	})
}
