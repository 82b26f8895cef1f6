package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"postern/internal/budget"
	"postern/internal/lane"
	"postern/internal/mailer"
	"postern/internal/store"
)

// Window is how many messages a task may have under way or acknowledged and
// unrecorded, besides one for each connection that a relay allows: so many a
// crash repeats at most.
const Window = 256

// Sealer encrypts what must not be read from the store. The context binds a
// ciphertext to its place. SealOver and OpenOver use their argument's memory
// for the result.
type Sealer interface {
	Seal(plain []byte, context string) []byte
	SealOver(plain []byte, context string) []byte
	Open(sealed []byte, context string) ([]byte, error)
	OpenOver(sealed []byte, context string) ([]byte, error)

	Keys
}

// Config is how an engine works. Zero members have the defaults that are
// named.
type Config struct {
	// DefaultRelay serves campaigns that name no relay. Its Host is "" when
	// there is none.
	DefaultRelay mailer.Relay
	// DefaultPassword is the default relay's password where it may change;
	// nil where it is the one in DefaultRelay for good.
	DefaultPassword Password
	// Session is how relays are connected to.
	Session mailer.Options
	// MessagesPerConnection is how many messages a connection carries before
	// it is ended; 0 for no limit.
	MessagesPerConnection int
	// Caps hold for each relay, of all tasks together; its Connections: 10.
	Caps  budget.Caps
	Retry RetryPolicy
	// TimeLimit is how long a campaign may be in progress; 0 for no limit.
	TimeLimit time.Duration
	// ScheduleGrace is how late a scheduled campaign may start without being
	// asked about again: 1 h.
	ScheduleGrace time.Duration

	// Retention is how long behind a campaign's end its recipients are known; 0
	// for ever.
	Retention time.Duration

	// Policy limits who may be sent to, as whom, and how many.
	Policy Policy

	// MaxAttachmentBytes bounds the sum of a campaign's attachments, in octets
	// before base64.
	MaxAttachmentBytes int64
	// MaxLetterBytes bounds the memory that the letters at work take together,
	// in octets, attachments in base64 included: 128 MiB. A larger one is at
	// work alone.
	MaxLetterBytes int64

	// ExclusiveStore: no other process can use the store, so leases of other
	// owners belong to dead ones.
	ExclusiveStore bool
	// LeaseTime is how long a lease holds without renewal: 10 s.
	LeaseTime time.Duration
	// PollEvery is how often the store is asked for due work: 1 s.
	PollEvery time.Duration
	// StopTimeout is how long Run may take to finish what is in flight: 25 s.
	StopTimeout time.Duration

	// Owner names this start of this task: a new UUID.
	Owner string
	// Now is the wall clock: time.Now. Durations are measured on the
	// monotonic clock in any case.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.LeaseTime == 0 {
		c.LeaseTime = 10 * time.Second
	}
	if c.PollEvery == 0 {
		c.PollEvery = time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 25 * time.Second
	}
	if c.Owner == "" {
		c.Owner = uuid.NewString()
	}
	if c.Caps.Connections <= 0 {
		c.Caps.Connections = 10
	}
	if c.MaxLetterBytes <= 0 {
		c.MaxLetterBytes = defaultLetterBytes
	}
	if c.ScheduleGrace == 0 {
		c.ScheduleGrace = time.Hour
	}
	if c.DefaultPassword == nil {
		c.DefaultPassword = fixedPassword(c.DefaultRelay.Password)
	}
	if c.Now == nil {
		c.Now = func() time.Time { return time.Now().UTC() }
	}
	return c
}

// Engine is one task's share of the sending, and the service behind the API.
type Engine struct {
	store   store.Store
	cfg     Config
	sealer  Sealer
	log     zerolog.Logger
	metrics *metrics

	// The engine's two lifetimes. feeding: new work may be claimed and new
	// messages started. working: what has been started may go on.
	feeding     context.Context //nolint:containedctx // a lifetime, not a call's
	stopFeeding context.CancelFunc
	working     context.Context //nolint:containedctx // a lifetime, not a call's
	stopWorking context.CancelFunc

	window     *window // of acknowledged messages
	recorder   *recorder
	intents    *window // of recipients of at-most-once campaigns under way
	claims     claims
	rooms      *rooms
	runs       runs
	budgets    *budget.Budgets
	lanes      *lane.Lanes
	wakeup     chan struct{}
	backlog    atomic.Uint64 // the bits of a float64
	background sync.WaitGroup
}

// New makes an engine that sends nothing until Run.
func New(s store.Store, cfg Config, sealer Sealer, log zerolog.Logger, reg prometheus.Registerer) *Engine {
	cfg = cfg.withDefaults()
	w := newWindow(Window + cfg.Caps.Connections)
	e := &Engine{
		store: s, cfg: cfg, sealer: sealer, log: log,
		window: w, intents: newWindow(intentWindow),
		recorder: newRecorder(w.limit),
		claims:   newClaims(),
		runs:     newRuns(),
		wakeup:   make(chan struct{}, 1),
	}
	e.rooms = newRooms(cfg.MaxLetterBytes, e.wakeTo)
	e.metrics = newMetrics(reg, w, e.rooms)
	e.working, e.stopWorking = context.WithCancel(context.Background())
	e.feeding, e.stopFeeding = context.WithCancel(e.working)
	e.budgets = budget.New(e.store, budget.Config{
		Owner: e.cfg.Owner, LeaseTime: e.cfg.LeaseTime, Exclusive: e.cfg.ExclusiveStore, Now: e.cfg.Now, Log: e.log,
	})
	e.lanes = lane.NewLanes(e.working, lane.Config{
		Session: e.session(), MessagesPerConnection: e.cfg.MessagesPerConnection,
		Budgets: e.budgets, Caps: e.cfg.Caps, Registerer: reg, Log: e.log, Now: e.cfg.Now,
	})
	return e
}

// session are the options of sessions. A relay that a caller names may be told
// the default relay's password by mistake: it is not to be in what is kept of
// that relay's replies either.
func (e *Engine) session() mailer.Options {
	o := e.cfg.Session
	o.Guarded = func() mailer.Relay {
		r := e.cfg.DefaultRelay
		r.Password = e.cfg.DefaultPassword.Current()
		return r
	}
	return o
}

// Run works on what is due until the context ends, then stops cleanly: it
// claims nothing more, starts no more messages, finishes and records those in
// flight, and releases its leases, all within StopTimeout; what is not done by
// then is cut off. It says whether the stop was clean. Run is called once.
func (e *Engine) Run(ctx context.Context) (clean bool) {
	claiming := make(chan struct{})
	go func() {
		defer close(claiming)
		e.claimLoop(e.feeding)
	}()
	e.background.Go(func() { e.watchSignal(e.feeding) })
	e.background.Go(func() { e.watchBacklog(e.feeding) })
	e.background.Go(func() { e.watchRetention(e.feeding) })
	<-ctx.Done()
	e.stopFeeding()
	<-claiming

	done := make(chan struct{})
	go func() {
		defer close(done)
		e.background.Wait()
	}()
	timeout := time.NewTimer(e.cfg.StopTimeout)
	defer timeout.Stop()
	select {
	case <-done:
		clean = true
	case <-timeout.C:
	}
	e.stopWorking()
	<-done
	return clean
}
