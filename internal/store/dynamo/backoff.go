package dynamo

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// errUnprocessed is why a batch could not be read whole.
var errUnprocessed = errors.New("dynamo: keys left unprocessed")

// Bounds of waiting between attempts: about 2 s in all for seven waits.
const (
	firstWait   = 50 * time.Millisecond
	longestWait = time.Second
	mostWaits   = attempts - 1
)

// jitter gives the wait before the attempt'th retry, from 0 or 1 on: anything
// up to a ceiling that doubles, so that tasks that collided do not collide
// again.
func jitter(attempt int) time.Duration {
	const doublings = 10                                                // beyond which the ceiling is longestWait anyway
	return rand.N(min(firstWait<<min(attempt, doublings), longestWait)) //nolint:gosec // a wait need not be unguessable
}

// backoff spaces out attempts that the SDK does not make by itself.
type backoff struct{ attempt int }

func newBackoff() *backoff { return &backoff{} }

// next waits for the next attempt. It returns cause when there have been
// enough, and the context's error when that ends first.
func (b *backoff) next(ctx context.Context, cause error) error {
	if b.attempt == mostWaits {
		return cause
	}
	timer := time.NewTimer(jitter(b.attempt))
	defer timer.Stop()
	b.attempt++
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
