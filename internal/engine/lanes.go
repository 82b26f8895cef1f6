package engine

import (
	"sync"

	"golang.org/x/time/rate"

	"postern/internal/mailer"
)

// lanes keeps one lane for each relay that a campaign at work uses.
type lanes struct {
	mu   sync.Mutex
	open map[mailer.Relay]*sharedLane
}

type sharedLane struct {
	refs int
	lane *lane
}

func (e *Engine) openLane(r mailer.Relay) *lane {
	e.lanes.mu.Lock()
	defer e.lanes.mu.Unlock()
	s, found := e.lanes.open[r]
	if !found {
		s = &sharedLane{lane: e.newLane(r)}
		e.lanes.open[r] = s
	}
	s.refs++
	return s.lane
}

func (e *Engine) newLane(r mailer.Relay) *lane {
	limit := rate.Inf
	if e.cfg.Rate > 0 {
		limit = rate.Limit(e.cfg.Rate)
	}
	pool := e.cfg.Pool
	label := e.metrics.relayLabel(r)
	pool.Observer = e.metrics.observer(label)
	l := &lane{
		relay:       r,
		pool:        mailer.NewPool(r, pool),
		log:         e.log,
		connections: pool.MaxConnections,
		gate:        newGate(),
		limiter:     rate.NewLimiter(limit, 1),
		giveUp:      e.cfg.Retry.For,
		metrics:     e.metrics,
		label:       label,
		now:         e.cfg.Now,
		jobs:        make(chan job),
	}
	l.start(e.working)
	return l
}

// closeLane takes a reference back; the last one closes the sessions.
func (e *Engine) closeLane(l *lane) {
	e.lanes.mu.Lock()
	s := e.lanes.open[l.relay]
	s.refs--
	last := s.refs == 0
	if last {
		delete(e.lanes.open, l.relay)
	}
	e.lanes.mu.Unlock()
	if last {
		l.close()
	}
}
