package budget

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"postern/internal/campaign"
)

// maxConflicts is how often a round tries again when others write at the same
// time.
const maxConflicts = 8

// keep keeps the task's entry in the book until the context ends.
func (s *Share) keep(ctx context.Context) {
	defer close(s.stopped)
	var failing bool
	last := time.Now().Add(-s.cfg.LeaseTime)
	for s.pause(ctx, failing, last) == nil {
		last = time.Now()
		err := s.round(ctx)
		if ctx.Err() == nil {
			failing = s.note(err, failing)
		}
	}
}

// pause waits until the book is to be read again: by time, or because
// something is wanted, which has to wait until a tenth of PollEvery after the
// last reading, so that many wishes are one.
func (s *Share) pause(ctx context.Context, failing bool, last time.Time) error {
	every := s.interval(failing)
	every += rand.N(every/10 + 1) //nolint:gosec // spreads tasks, hides nothing
	if err := wait(ctx, every, s.wake); err != nil {
		return err
	}
	return sleep(ctx, time.Until(last.Add(s.cfg.PollEvery/10)))
}

// interval is the time between two readings.
func (s *Share) interval(failing bool) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case failing:
		return s.cfg.PollEvery
	case s.claim.idle() && len(s.waiting) == 0 && s.watchers == 0:
		return 0
	case s.claim.eager:
		return s.cfg.PollEvery
	}
	return s.cfg.LeaseTime / 10
}

// note logs when the store fails and when it is back.
func (s *Share) note(err error, failing bool) bool {
	switch {
	case err != nil && !failing:
		s.log.Warn().Err(err).Msg("the relay's budget cannot be kept in the store; trying again")
	case err == nil && failing:
		s.log.Info().Msg("the relay's budget is kept in the store again")
	}
	return err != nil
}

// round reads the book and writes what follows, again while others write.
func (s *Share) round(ctx context.Context) error {
	for conflicts := 1; ; conflicts++ {
		err := s.exchange(ctx)
		if campaign.CodeOf(err) != campaign.CodeConflict || conflicts == maxConflicts {
			return err
		}
		if err := sleep(ctx, rand.N(s.cfg.PollEvery/50*time.Duration(conflicts)+1)); err != nil { //nolint:gosec // spreads tasks
			return err
		}
	}
}

// giveBack takes the entry out of the book, and gives the day's messages back.
func (s *Share) giveBack(ctx context.Context) {
	for !s.isIdle() {
		err := s.round(ctx)
		if err == nil {
			continue
		}
		if sleep(ctx, s.cfg.PollEvery) != nil {
			s.log.Warn().Err(err).Msg("the relay's budget was not given back; other tasks have it after the lease time")
			return
		}
	}
}

func (s *Share) isIdle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claim.idle()
}

// exchange reads the book once and writes it at most once.
func (s *Share) exchange(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LeaseTime/3)
	defer cancel()
	cell, err := s.cells.GetCell(ctx, s.account.key())
	if err != nil {
		return err
	}
	b, err := readBook(cell)
	if err != nil {
		return err
	}
	next, due := s.plan(b, cell.Version)
	if !due {
		return nil
	}
	value, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if _, err = s.cells.SwapCell(ctx, s.account.key(), cell, value); err != nil {
		return err
	}
	s.wrote()
	return nil
}

// plan takes in what was read, lowers what is in use to what is planned, and
// gives what is to be written.
func (s *Share) plan(b book, version int64) (next book, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.claim.read(b, version, now) {
		s.drop()
	}
	inUse := len(s.permits)
	next, due = s.claim.plan(b, version, demand{
		wants:   inUse + len(s.waiting),
		inUse:   inUse,
		slot:    slotOf(s.cfg.Now()),
		leaving: s.closed,
	}, now)
	s.adjust()
	return next, due
}

// drop takes all permits back: others have dropped the task's entry.
func (s *Share) drop() {
	for _, p := range s.permits {
		p.lost.Store(true)
	}
	s.revoke(0)
	s.permits = nil
	s.log.Warn().Msg("other tasks took this task's part of the relay's budget: it was silent for too long")
}

// wrote notes that the planned write has succeeded.
func (s *Share) wrote() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claim.wrote()
	s.adjust()
}

// adjust makes use of the claim as it is now.
func (s *Share) adjust() {
	until := s.claim.until()
	s.until.Store(&until)
	s.revoke(s.claim.goal.Connections)
	s.meter.set(s.claim.usable().Rate, time.Now())
	s.grant()
	s.announce()
}

// sleep waits for d or the context's end, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	return wait(ctx, d, nil)
}
