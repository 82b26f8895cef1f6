package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/campaign"
	"postern/internal/lane"
	"postern/internal/mailer"
)

// errCampaignOver is the cause of a run's end when the campaign is not to be
// worked on, or not in this way: it is paused, has ended, or has another relay.
var errCampaignOver = errors.New("the campaign is not to be worked on")

// run is a campaign at work on this task: its letter and its lane.
// All leases of the campaign that the task holds share one.
type run struct {
	campaign campaign.Campaign // as it was when the run was opened
	letter   sharedLetter
	password string // the relay's
	// messageIDs are the same on every task, as long as the sealing key is.
	messageIDs *mailer.MessageIDs
	lane       *lane.Lane
	group      *lane.Group
	// ctx ends when nothing more of the campaign must be started here.
	ctx  context.Context //nolint:containedctx // a lifetime, not a call's
	over context.CancelCauseFunc
	// stopping makes the first reason for a stop the campaign's.
	stopping sync.Once
	// renewing has a password that is refused read again, once.
	renewing sync.Once

	// told is the Signal as of the last reading, heeded the one up to which
	// the campaign was looked at.
	told, heeded atomic.Int64
	look         chan struct{}
	stall        stall // watchRun's own
}

// runs keeps the campaigns at work, one run each, for as long as a lease of
// theirs is held.
type runs struct {
	mu   sync.Mutex
	byID map[string]*sharedRun
	// stops are runs whose stop is being made durable; each channel is closed
	// when that is done.
	stops  map[*run]chan struct{}
	opened chan struct{} // a run has been opened
}

type sharedRun struct {
	refs  int
	ready chan struct{} // closed when run or err is set
	run   *run
	err   error
}

func newRuns() runs {
	return runs{byID: map[string]*sharedRun{}, stops: map[*run]chan struct{}{}, opened: make(chan struct{}, 1)}
}

// loaded gives the run, nil while it is being loaded or when it could not be.
func (s *sharedRun) loaded() *run {
	select {
	case <-s.ready:
		return s.run
	default:
		return nil
	}
}

// join gives the campaign's run to take part in; first says that it is for the
// caller to load. A run that is over is left to those who still hold it.
func (rs *runs) join(id string) (s *sharedRun, first bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	s, found := rs.byID[id]
	if found {
		r := s.loaded()
		found = r == nil || !r.isOver()
	}
	if !found {
		s = &sharedRun{ready: make(chan struct{})}
		rs.byID[id] = s
	}
	s.refs++
	return s, !found
}

// leave takes a reference back and says whether it was the last.
func (rs *runs) leave(id string, s *sharedRun) (last bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	s.refs--
	if s.refs == 0 && rs.byID[id] == s {
		delete(rs.byID, id)
	}
	return s.refs == 0
}

// atWork lists the runs that are open.
func (rs *runs) atWork() (open []*run) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, s := range rs.byID {
		if r := s.loaded(); r != nil && r.ctx.Err() == nil {
			open = append(open, r)
		}
	}
	return open
}

// of gives the open run of a campaign, nil when there is none.
func (rs *runs) of(id string) *run {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if s, found := rs.byID[id]; found {
		return s.loaded()
	}
	return nil
}

// openRun gives the campaign's run, which release lets go. The first caller
// loads it, the others wait. errCampaignOver; the error of a letter or
// password that cannot be used is a *campaign.Error of another code than
// CodeUnavailable.
func (e *Engine) openRun(ctx context.Context, id string) (r *run, release func(), err error) {
	if err := e.runs.awaitStop(ctx, id); err != nil {
		return nil, nil, err
	}
	s, first := e.runs.join(id)
	release = func() { e.closeRun(id, s) }
	if first {
		// For all who wait, so not by the caller's context.
		s.run, s.err = e.loadRun(e.feeding, id)
		close(s.ready)
		e.runs.announce()
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		release()
		return nil, nil, context.Cause(ctx)
	}
	if s.err != nil {
		release()
		return nil, nil, s.err
	}
	return s.run, release, nil
}

func (rs *runs) announce() {
	select {
	case rs.opened <- struct{}{}:
	default: // it is known already
	}
}

// closeRun takes a reference back; the last one ends the run.
func (e *Engine) closeRun(id string, s *sharedRun) {
	if !e.runs.leave(id, s) || s.run == nil {
		return
	}
	s.run.over(nil)
	s.run.group.Leave()
	s.run.lane.Close()
}

func (e *Engine) loadRun(ctx context.Context, id string) (*run, error) {
	// The Signal first: what is changed after this shows in the next one.
	signal, err := e.store.Signal(ctx)
	if err != nil {
		return nil, err
	}
	c, err := e.store.GetCampaign(ctx, id)
	if err != nil {
		return nil, err
	}
	if !c.Status.Active() {
		return nil, errCampaignOver
	}
	relay, err := e.relayOf(ctx, c)
	if err != nil {
		return nil, err
	}
	messageIDs, err := e.messageIDs(c)
	if err != nil {
		return nil, err
	}
	r := &run{campaign: c, password: relay.Password, messageIDs: messageIDs, lane: e.lanes.Open(relay), look: make(chan struct{}, 1)}
	e.metrics.relayUsed(r.lane.Label())
	r.group = r.lane.Join(id)
	r.told.Store(signal)
	r.heeded.Store(signal)
	r.ctx, r.over = context.WithCancelCause(e.feeding)
	e.background.Go(func() { e.watchRun(r) })
	return r, nil
}

// messageIDPurpose is what the key of Message-IDs is for.
const messageIDPurpose = "postern message-id 1"

func (e *Engine) messageIDs(c campaign.Campaign) (*mailer.MessageIDs, error) {
	key, err := e.sealer.DeriveFor(e.sealer.KeyIDs()[0], messageIDPurpose)
	if err != nil {
		return nil, fmt.Errorf("derive the key of Message-IDs: %w", err)
	}
	return mailer.NewMessageIDs(key, c.ID, c.Letter.From.Address), nil
}

// watchRun looks at the campaign when it may have changed, and from time to
// time, until the run is over.
func (e *Engine) watchRun(r *run) {
	ticker := time.NewTicker(e.cfg.LeaseTime / 5)
	defer ticker.Stop()
	e.heedTrouble(r, r.campaign) // the run may be over before the first tick
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-ticker.C:
		case <-r.look:
		}
		e.review(r)
	}
}

// review compares the run with its campaign as it is now: a run that does not
// fit any more is over. One that does is stopped when its time is up, or the
// relay's.
func (e *Engine) review(r *run) {
	told := r.told.Load()
	c, err := e.store.GetCampaign(r.ctx, r.campaign.ID)
	switch {
	case err != nil && campaign.CodeOf(err) == campaign.CodeNotFound, err == nil && !r.fits(c):
		r.over(errCampaignOver)
	case err == nil:
		r.heeded.Store(told)
		e.heedTime(r, c)
		e.heedTrouble(r, c)
	}
}

// fits says whether the run may go on with the campaign as it is now. One that
// was stopped and taken up again meanwhile is another period of running.
func (r *run) fits(now campaign.Campaign) bool {
	return now.Status.Active() && now.RunningSince.Equal(r.campaign.RunningSince) && sameRelay(now.Relay, r.campaign.Relay)
}

// sameRelay compares relays by value. Where there is no password, the store
// may give nil or an empty slice.
func sameRelay(a, b campaign.Relay) bool {
	password := bytes.Equal(a.SealedPassword, b.SealedPassword)
	a.SealedPassword, b.SealedPassword = nil, nil
	return password && reflect.DeepEqual(a, b)
}

// isOver says whether the campaign is not to be worked on in this way, as
// against this task's stop.
func (r *run) isOver() bool { return errors.Is(context.Cause(r.ctx), errCampaignOver) }

// endRun ends the campaign's run on this task, if there is one, when the
// campaign as it is now says so.
func (e *Engine) endRun(now campaign.Campaign) {
	if r := e.runs.of(now.ID); r != nil && !r.fits(now) {
		r.over(errCampaignOver)
	}
}
