package budget

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"postern/internal/store"
)

// Account identifies a relay and its budget: who logs in with another user
// name has another budget.
type Account struct {
	Host     string
	Port     int
	Username string
}

// key names the account's cell. User names may be secrets: some relays take an
// API token for both user name and password.
func (a Account) key() string {
	sum := sha256.Sum256([]byte(a.Username))
	return fmt.Sprintf("budget/%s:%d/%x", a.Host, a.Port, sum[:16])
}

// Caps are what a relay allows to all tasks together. All tasks should be
// given the same: with different ones, as while a new configuration is rolled
// out, no task makes the sums exceed its own, and one whose caps are lower
// than what others hold waits for them.
type Caps struct {
	Connections int     // at the same time, at least 1
	Rate        float64 // messages a second; 0: no cap
	Daily       int     // messages in any 24 hours; 0: no cap
}

// counted says whether there is a cap on messages.
func (c Caps) counted() bool { return c.Rate > 0 || c.Daily > 0 }

// Config is how budgets are kept. Zero members have the defaults that are
// named.
type Config struct {
	// Owner names this start of this task: a new UUID.
	Owner string
	// LeaseTime is how long a part holds without a write: 10 s. It has to be
	// the same in all tasks.
	LeaseTime time.Duration
	// PollEvery is how often the cell is read while parts are in flux: a
	// twentieth of LeaseTime.
	PollEvery time.Duration
	// Exclusive: no other process can use the store, so other owners are dead.
	Exclusive bool
	// Now is the wall clock, read for the daily cap only: time.Now.
	Now func() time.Time
	Log zerolog.Logger
}

func (c Config) withDefaults() Config {
	if c.Owner == "" {
		c.Owner = uuid.NewString()
	}
	if c.LeaseTime == 0 {
		c.LeaseTime = 10 * time.Second
	}
	if c.PollEvery == 0 {
		c.PollEvery = c.LeaseTime / 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Budgets keeps a Share for each account that is open.
type Budgets struct {
	cells store.Cells
	cfg   Config

	mu     sync.Mutex
	open   map[Account]*sharedShare
	opened int // shares so far
}

type sharedShare struct {
	refs  int
	share *Share
}

// New makes Budgets without a Share.
func New(cells store.Cells, cfg Config) *Budgets {
	return &Budgets{cells: cells, cfg: cfg.withDefaults(), open: map[Account]*sharedShare{}}
}

// Open gives the account's Share, the same one until each Open has had its
// Close; the caps are those of the first. It reads and writes nothing: that
// begins when something is wanted.
func (b *Budgets) Open(a Account, c Caps) *Share {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, found := b.open[a]
	if !found {
		b.opened++
		o = &sharedShare{share: b.newShare(a, c)}
		b.open[a] = o
	}
	o.refs++
	return o.share
}

// Watch has the account's book read until stop, although this task wants
// nothing of it: for one that may have to take over a dead task's work, and
// whose time for that task's part would else begin only then.
func (b *Budgets) Watch(a Account, c Caps) (stop func()) {
	s := b.Open(a, c)
	s.watch(+1)
	return sync.OnceFunc(func() {
		s.watch(-1)
		s.Close(context.Background()) // a task that wants something keeps it open
	})
}

// watch counts who has the book read.
func (s *Share) watch(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers += n
	s.wakeUp()
}

func (b *Budgets) newShare(a Account, c Caps) *Share {
	c.Connections = max(1, c.Connections)
	owner := b.cfg.Owner + "."
	keeping, stop := context.WithCancel(context.Background())
	s := &Share{
		budgets: b,
		account: a,
		cells:   b.cells,
		cfg:     b.cfg,
		log:     b.cfg.Log.With().Str("relay", a.Host+":"+strconv.Itoa(a.Port)).Logger(),
		wake:    make(chan struct{}, 1),
		stop:    stop,
		stopped: make(chan struct{}),
		front:   make(chan struct{}, 1),
		claim:   claim{id: owner + strconv.Itoa(b.opened), owner: owner, caps: c, cfg: b.cfg},
		meter:   newMeter(c.Rate),
		changed: make(chan struct{}),
	}
	s.until.Store(&time.Time{})
	go s.keep(keeping)
	return s
}

// leave takes a reference back and says whether it was the last.
func (b *Budgets) leave(a Account) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.open[a]
	o.refs--
	if o.refs > 0 {
		return false
	}
	delete(b.open, a)
	return true
}
