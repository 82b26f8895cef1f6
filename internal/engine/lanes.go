package engine

import (
	"context"
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
		relay:   r,
		pool:    mailer.NewPool(r, pool),
		gate:    newGate(),
		limiter: rate.NewLimiter(limit, 1),
		giveUp:  e.cfg.Retry.For,
		metrics: e.metrics,
		label:   label,
		now:     e.cfg.Now,
		jobs:    make(chan job),
	}
	l.trouble = func(notice string) { e.background.Go(func() { e.notify(l, notice) }) }
	l.start(e.working, pool.MaxConnections)
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

// notify stores a relay's trouble, or its end, with the campaigns at work on
// its lane.
func (e *Engine) notify(l *lane, notice string) {
	if notice == "" {
		e.log.Info().Str("relay", l.relay.Addr()).Msg("the relay works again")
	} else {
		e.log.Warn().Str("relay", l.relay.Addr()).Msg(withoutAddresses(notice))
	}
	for _, id := range e.campaignsOf(l) {
		err := e.untilDone(e.feeding, func(ctx context.Context) error {
			return e.store.SetNotice(ctx, id, notice, e.cfg.Now())
		})
		if err != nil {
			e.log.Warn().Err(err).Str("campaign", id).Msg("the relay's state could not be noted with the campaign")
		}
	}
}

func (e *Engine) campaignsOf(l *lane) []string {
	e.runs.mu.Lock()
	defer e.runs.mu.Unlock()
	var ids []string
	for id, s := range e.runs.byID {
		select {
		case <-s.ready:
			if s.run != nil && s.run.lane == l {
				ids = append(ids, id)
			}
		default: // still loading: it will meet the gate itself
		}
	}
	return ids
}
