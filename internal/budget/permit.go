package budget

import (
	"errors"
	"sync/atomic"
	"time"
)

// What Permit.Err returns.
var (
	// ErrRevoked: the connection is wanted elsewhere, and nobody has it yet.
	// What was begun on it may be finished; then it is to be closed and the
	// permit released.
	ErrRevoked = errors.New("the relay's connection is wanted elsewhere")
	// ErrLapsed: the store has not confirmed the task's part for so long that
	// others may have it. No command may be issued. Unless Revoked is closed,
	// the permit may become good again.
	ErrLapsed = errors.New("the claim to the relay's connection has run out")
)

// Permit allows one connection.
type Permit struct {
	share   *Share
	party   any
	since   time.Time
	revoked chan struct{}
	lost    atomic.Bool // others may have the connection, for good
}

// Err is nil while the connection may issue commands; else ErrRevoked or
// ErrLapsed. It takes no lock.
func (p *Permit) Err() error {
	switch {
	case p.lost.Load() || !time.Now().Before(*p.share.until.Load()):
		return ErrLapsed
	case p.isRevoked():
		return ErrRevoked
	}
	return nil
}

// Revoked is closed when the permit will not be good again: Err says why.
func (p *Permit) Revoked() <-chan struct{} { return p.revoked }

func (p *Permit) isRevoked() bool {
	select {
	case <-p.revoked:
		return true
	default:
		return false
	}
}

// Release gives the permit back; the connection is closed by then. Further
// calls do nothing.
func (p *Permit) Release() { p.share.release(p) }
