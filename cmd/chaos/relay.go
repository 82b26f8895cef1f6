package main

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/mailer/smtptest"
)

// relay is the scripted relay of a fleet, with its ledger: the truth about who
// got what. It knows which task owns which connection, so it is also the one
// that sends signals: what is open at that moment is known to nobody else.
type relay struct {
	server *smtptest.Server

	mu     sync.Mutex
	rng    *rand.Rand
	pids   []int // of the tasks; nobody else is sent a signal
	conns  map[int]*connection
	closed chan struct{} // closed, and made anew, when a connection ends
	orders []*standing
	mailed map[int]bool // who has had a message taken
	sky    []weather
	pace   time.Duration // the mean time that a reply to the dot takes
	books  map[string]*book
	spans  []span
	cuts   map[string]int // connections cut behind the dot, by envelope sender
}

// connection is an open connection.
type connection struct {
	pid    int
	open   bool // a transaction is
	flight flight
	id     string // of the message under way
	digest string
	last   *record // the last one taken
	span   span
}

// span is when a connection issued commands: from its first to its last.
type span struct{ first, last time.Time }

// standing is an order that waits for its event.
type standing struct {
	order
	struck chan strike
}

// book is the ledger of one campaign, which its envelope sender tells.
type book struct {
	records []*record
	times   map[string]int // messages by recipient
}

func startRelay(seed uint64) (*relay, error) {
	r := &relay{
		rng:   rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // G404: repeatable, not secret
		conns: map[int]*connection{}, books: map[string]*book{}, cuts: map[string]int{}, mailed: map[int]bool{}, closed: make(chan struct{}),
	}
	server, err := smtptest.Start(smtptest.Config{DigestOnly: true, OnMessage: r.read, Hook: r.hook})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = server // it serves already
	return r, nil
}

// hook is the relay's script.
func (r *relay) hook(e smtptest.Event) smtptest.Action {
	pid := 0
	if e.Stage == smtptest.StageGreeting {
		pid = r.owner(e.Remote)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if pid != 0 {
		r.conns[e.Conn] = &connection{pid: pid}
	}
	c := r.conns[e.Conn]
	if c == nil {
		return smtptest.Close() // of a process that is gone
	}
	r.note(c, e)
	if s := r.due(c.pid, e.Stage); s != nil {
		return r.obey(s, c.pid)
	}
	return r.usual(c, e.Stage)
}

// owner looks for the process; one that has just been started may be known a
// moment later.
func (r *relay) owner(remote string) int {
	for range 50 {
		r.mu.Lock()
		pids, server := slices.Clone(r.pids), r.server
		r.mu.Unlock()
		if server != nil {
			if pid, err := ownerOf(remote, server.Addr(), pids); err == nil {
				return pid
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 0
}

// note keeps account of a connection.
func (r *relay) note(c *connection, e smtptest.Event) {
	now := time.Now()
	if e.Command != "" {
		c.span.last = now
		if c.span.first.IsZero() {
			c.span.first = now
		}
	}
	c.flight.Stage = e.Stage
	switch e.Stage {
	case smtptest.StageMail:
		c.open, c.flight = true, flight{Conn: e.Conn, Stage: e.Stage, From: pathOf(e.Command)}
	case smtptest.StageRcpt:
		c.flight.To = e.Rcpt()
	case smtptest.StageAccepted:
		r.take(c, now)
	case smtptest.StageDone:
		c.open, c.last.Replied = false, true
	case smtptest.StageReset, smtptest.StageQuit:
		c.open = false
	case smtptest.StageClosed:
		r.spans = append(r.spans, c.span)
		delete(r.conns, e.Conn)
		close(r.closed)
		r.closed = make(chan struct{})
	default:
	}
}

// pathOf is what stands between the angle brackets of a command.
func pathOf(command string) string {
	_, path, _ := strings.Cut(command, "<")
	path, _, _ = strings.Cut(path, ">")
	return path
}

// read notes the Message-ID and the digest of the message that is taken next
// on a connection.
func (r *relay) read(m smtptest.Message) {
	id := ""
	for line := range strings.Lines(string(m.Data[:min(len(m.Data), 4<<10)])) {
		if name, value, is := strings.Cut(line, ":"); is && strings.EqualFold(name, "Message-ID") {
			id = strings.TrimSpace(value)
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.conns[m.Conn]; c != nil {
		digest := sha256.Sum256(m.SHA256[:])
		c.id, c.digest = id, hex.EncodeToString(digest[:])
	}
}

// take writes a message into its campaign's book.
func (r *relay) take(c *connection, now time.Time) {
	b := r.book(c.flight.From)
	c.last = &record{PID: c.pid, To: c.flight.To, ID: c.id, Digest: c.digest, At: now}
	b.records = append(b.records, c.last)
	b.times[c.flight.To]++
	r.mailed[c.pid] = true
}

func (r *relay) book(from string) *book {
	b := r.books[from]
	if b == nil {
		b = &book{times: map[string]int{}}
		r.books[from] = b
	}
	return b
}

// due takes the order that a stage of a task's has waited for.
func (r *relay) due(pid int, stage smtptest.Stage) *standing {
	for i, s := range r.orders {
		if s.Stage != stage || s.Fresh && r.mailed[pid] || !slices.Contains(r.pids, pid) {
			continue
		}
		if s.Skip > 0 {
			s.Skip--
			continue
		}
		r.orders = slices.Delete(r.orders, i, i+1)
		return s
	}
	return nil
}

// obey carries an order out.
func (r *relay) obey(s *standing, pid int) smtptest.Action {
	if s.Deed == deedTermKill {
		_ = r.signal(pid, deedTerm)
	} else if !s.Late {
		s.struck <- r.signal(pid, s.Deed)
		return smtptest.Action{}
	}
	done := make(chan struct{})
	time.AfterFunc(s.Wait, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		defer close(done)
		s.struck <- r.signal(pid, s.Deed)
	})
	return smtptest.Action{}.After(done)
}

// signal sends one to a task, and says what was open there at that moment. A
// task that is killed is none any more.
func (r *relay) signal(pid int, d deed) strike {
	s := strike{PID: pid, Open: r.flights(pid), At: time.Now()}
	if !slices.Contains(r.pids, pid) {
		return strike{}
	}
	if err := send(pid, d); err != nil {
		return strike{}
	}
	if d == deedKill || d == deedTermKill {
		r.pids = slices.DeleteFunc(r.pids, func(p int) bool { return p == pid })
	}
	return s
}

func (r *relay) flights(pid int) (open []flight) {
	for _, c := range r.conns {
		if c.pid == pid && c.open {
			open = append(open, c.flight)
		}
	}
	return open
}

// usual is what the weather makes of an event.
func (r *relay) usual(c *connection, stage smtptest.Stage) smtptest.Action {
	for _, w := range r.sky {
		if w.Stage != stage || r.rng.Float64() >= w.Share {
			continue
		}
		switch {
		case w.Cut:
			r.cuts[c.flight.From]++
			if stage == smtptest.StageAccepted {
				c.last.Cut = true
			}
			return smtptest.Close().Delay(w.Delay)
		case strings.HasPrefix(w.Reply, "421"):
			return smtptest.Reply(w.Reply).ThenClose()
		case w.Reply != "":
			return smtptest.Reply(w.Reply)
		default:
			return smtptest.Action{}.Delay(w.Delay)
		}
	}
	if stage == smtptest.StageDot && r.pace > 0 {
		return smtptest.Action{}.Delay(time.Duration(r.rng.Int64N(2 * int64(r.pace))))
	}
	return smtptest.Action{}
}
