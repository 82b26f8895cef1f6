// Package network measures where a task stands in its network: its subnets and
// addresses, whether there is a way to the internet, where its store is and how
// fast it answers, and whether the relay can be reached and how it encrypts.
//
// Nothing is taken from the configuration that can be measured, and what is not
// known is null with the reason beside it. A measurement is made when somebody
// asks and the last one is too old, in the background: Latest never waits.
package network

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"postern/internal/doctor"
	"postern/internal/mailer"
)

// How old a measurement may be, and how long one may take.
const (
	taskEvery     = time.Hour // it does not change while the task lives
	taskAgain     = 30 * time.Second
	taskWithin    = 2 * time.Second
	internetEvery = time.Minute
	internetIn    = 3 * time.Second
	storeEvery    = 15 * time.Second
	storeWithin   = 4 * time.Second
	relayEvery    = 30 * time.Second
	relayWithin   = 8 * time.Second
)

// Config is what there is to be measured.
type Config struct {
	// TaskMetadata is the base URL of the ECS task metadata endpoint, version
	// 4; "" outside ECS.
	TaskMetadata string
	// InternetProbe is the host:port to try; "" for no try.
	InternetProbe string
	// StoreKind names the store; StoreURL is where its server is, nil where
	// there is none; ReadStore makes one small read.
	StoreKind string
	StoreURL  *url.URL
	ReadStore func(context.Context) error
	// Relay is the default relay; its Host is "" where there is none. It is
	// never logged in to.
	Relay   mailer.Relay
	Session mailer.Options
	// Sessions says what is known of relays from sessions with them. A relay
	// that is in it is not dialled.
	Sessions func() []RelayState
	// Now is the wall clock: time.Now.
	Now func() time.Time
}

// RelayState is what sessions tell of a relay.
type RelayState struct {
	Host string
	Port int
	// Reachable: the last message or connection went well. Trouble says what
	// is wrong where it is not.
	Reachable bool
	Trouble   string
	TLS       *doctor.TLS // nil where it is not known, or there is none
}

// Monitor measures and remembers.
type Monitor struct {
	cfg Config
	web *http.Client

	task     gauge[Task]
	internet gauge[Internet]
	store    gauge[Store]
	relay    gauge[Relay]

	// measuring ends with Close.
	measuring  context.Context //nolint:containedctx // a lifetime, not a call's
	stop       context.CancelFunc
	background sync.WaitGroup
}

// New makes a Monitor that has measured nothing yet. Close ends it.
func New(cfg Config) *Monitor {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := &Monitor{cfg: cfg, web: &http.Client{Transport: &http.Transport{
		Proxy: nil, DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext,
	}}}
	m.measuring, m.stop = context.WithCancel(context.Background())
	m.task = gauge[Task]{measure: m.measureTask, within: taskWithin, every: func(t Task) time.Duration {
		if t.Reason != nil {
			return taskAgain
		}
		return taskEvery
	}}
	m.internet = gauge[Internet]{measure: m.measureInternet, within: internetIn, every: always[Internet](internetEvery)}
	m.store = gauge[Store]{measure: m.measureStore, within: storeWithin, every: always[Store](storeEvery)}
	m.relay = gauge[Relay]{measure: m.measureRelay, within: relayWithin, every: always[Relay](relayEvery)}
	return m
}

// Close ends what is being measured.
func (m *Monitor) Close() {
	m.stop()
	m.background.Wait()
}

// Latest gives what was measured last, and has anew measured in the background
// what is too old. It does not wait, and leaves the relay alone: who follows a
// campaign is not to cost its relay connections beside those that are allowed.
func (m *Monitor) Latest() Snapshot {
	m.refresh(m.task.due, m.internet.due, m.store.due)
	return m.snapshot()
}

// Measure is Latest that waits, until the context ends, for what is too old, the
// relay included.
func (m *Monitor) Measure(ctx context.Context) Snapshot {
	for _, done := range m.refresh(m.task.due, m.internet.due, m.store.due, m.relay.due) {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	return m.snapshot()
}

// refresh starts the measurements that are due, and gives what is closed when
// each that is under way is done.
func (m *Monitor) refresh(gauges ...func(*Monitor) <-chan struct{}) (underWay []<-chan struct{}) {
	for _, due := range gauges {
		if done := due(m); done != nil {
			underWay = append(underWay, done)
		}
	}
	return underWay
}

func (m *Monitor) snapshot() Snapshot {
	s := Snapshot{Task: m.task.last(), Internet: m.internet.last(), Store: m.store.last(), Relay: m.relay.last()}
	s.Store.Kind = m.cfg.StoreKind
	s.Task.fill(s.Task.MeasuredAt == nil)
	s.Internet.fill(s.Internet.MeasuredAt == nil)
	s.Store.fill(s.Store.MeasuredAt == nil)
	s.Relay.fill(s.Relay.MeasuredAt == nil)
	s.Store.GatewayEndpoint, s.Store.GatewayReason = gatewayEndpoint(s.Store, s.Internet)
	return s
}

// gauge is a value that is measured now and then.
type gauge[T any] struct {
	measure func(context.Context) T
	within  time.Duration
	every   func(T) time.Duration

	mu    sync.Mutex
	value T
	at    time.Time     // monotonic; zero before the first
	busy  chan struct{} // closed when the one under way is done; nil for none
}

func always[T any](d time.Duration) func(T) time.Duration {
	return func(T) time.Duration { return d }
}

func (g *gauge[T]) last() T {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.value
}

// due starts a measurement where the last is too old. It gives what is closed
// when the one under way is done, nil where there is none.
func (g *gauge[T]) due(m *Monitor) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy != nil {
		return g.busy
	}
	if !g.at.IsZero() && time.Since(g.at) < g.every(g.value) || m.measuring.Err() != nil {
		return nil
	}
	g.busy = make(chan struct{})
	m.background.Go(func() { g.run(m.measuring) })
	return g.busy
}

func (g *gauge[T]) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.within)
	defer cancel()
	value := g.measure(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.value, g.at = value, time.Now()
	close(g.busy)
	g.busy = nil
}
