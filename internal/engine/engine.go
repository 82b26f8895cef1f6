package engine

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"postern/internal/mailer"
	"postern/internal/store"
)

// Window is how many acknowledged messages a task may leave unrecorded before
// it stops sending new ones. Those in flight at that moment come on top: at
// most one for each connection.
const Window = 256

// Sealer encrypts what must not be read from the store. The context binds a
// ciphertext to its place.
type Sealer interface {
	Seal(plain []byte, context string) []byte
	Open(sealed []byte, context string) ([]byte, error)
}

// Config is how an engine works. Zero members have the defaults that are
// named.
type Config struct {
	// DefaultRelay serves campaigns that name no relay. Its Host is "" when
	// there is none.
	DefaultRelay mailer.Relay
	// Pool is how relays are connected to; its MaxConnections, 10, is the
	// number of workers for each relay.
	Pool mailer.PoolOptions
	// Rate is the highest number of messages a second for each relay; 0 means
	// no cap.
	Rate  float64
	Retry RetryPolicy

	// MaxAttachmentBytes bounds the sum of a campaign's attachments, in octets
	// before base64.
	MaxAttachmentBytes int64

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
	if c.Pool.MaxConnections <= 0 {
		c.Pool.MaxConnections = 10
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

	window     *window
	claims     claims
	runs       runs
	lanes      lanes
	wakeup     chan struct{}
	background sync.WaitGroup
}

// New makes an engine that sends nothing until Run.
func New(s store.Store, cfg Config, sealer Sealer, log zerolog.Logger, reg prometheus.Registerer) *Engine {
	w := newWindow(Window)
	e := &Engine{
		store: s, cfg: cfg.withDefaults(), sealer: sealer, log: log,
		metrics: newMetrics(reg, w), window: w,
		claims: claims{
			held:   map[store.LeaseKey]struct{}{},
			chunks: map[string]int{},
			seen:   map[store.LeaseKey]sighting{},
		},
		runs:   runs{byID: map[string]*sharedRun{}},
		lanes:  lanes{open: map[mailer.Relay]*sharedLane{}},
		wakeup: make(chan struct{}, 1),
	}
	e.working, e.stopWorking = context.WithCancel(context.Background())
	e.feeding, e.stopFeeding = context.WithCancel(e.working)
	return e
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
