package lane

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"postern/internal/budget"
	"postern/internal/mailer"
)

// Config is how lanes work.
type Config struct {
	// Session is how relays are connected to. The lanes set its Observer.
	Session mailer.Options
	// IdleTimeout is how long a session is kept without work: 5 s, so that
	// what it takes of the relay's budget soon serves other tasks.
	IdleTimeout time.Duration
	// MessagesPerConnection is how many messages a session carries before it
	// is ended; 0 for no limit.
	MessagesPerConnection int
	// Budgets shares the Caps of each relay's account among the tasks. At
	// least one connection is assumed.
	Budgets *budget.Budgets
	Caps    budget.Caps
	// Registerer takes the metrics; nil for none.
	Registerer prometheus.Registerer
	Log        zerolog.Logger
	// Now is the wall clock, for the times of outcomes and for the relay's
	// day: time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = 5 * time.Second
	}
	c.Caps.Connections = max(c.Caps.Connections, 1)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Lanes keeps one lane for each relay that a campaign at work uses.
type Lanes struct {
	// sending is for messages under way: its end cuts them off.
	sending context.Context //nolint:containedctx // a lifetime, not a call's
	cfg     Config
	metrics *metrics

	mu   sync.Mutex
	open map[mailer.Relay]*Lane
}

// NewLanes makes an empty set of lanes. The end of the context cuts off what
// is being sent, as a crash would.
func NewLanes(ctx context.Context, cfg Config) *Lanes {
	ls := &Lanes{sending: ctx, cfg: cfg.withDefaults(), open: map[mailer.Relay]*Lane{}}
	ls.metrics = newMetrics(ls)
	return ls
}

// Open gives the relay's lane. The relay is the whole of it, password
// included: campaigns with different credentials do not share sessions, but
// they share the account's budget. Each lane is given back by Close.
func (ls *Lanes) Open(r mailer.Relay) *Lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l, found := ls.open[r]
	if !found {
		l = newLane(ls, r)
		ls.open[r] = l
	}
	l.refs++
	return l
}

// release takes a reference back and says whether it was the last one.
func (ls *Lanes) release(l *Lane) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l.refs--
	if l.refs > 0 {
		return false
	}
	delete(ls.open, l.relay)
	return true
}

// all lists the lanes that are open.
func (ls *Lanes) all() []*Lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	all := make([]*Lane, 0, len(ls.open))
	for _, l := range ls.open {
		all = append(all, l)
	}
	return all
}
