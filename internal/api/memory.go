package api

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// pressPatience is how long a transfer may have been at the same stretch or
// piece before it is cut off for others who need its memory.
const pressPatience = 4 * time.Second

// transfer is a body that comes or an answer that goes.
type transfer interface {
	// since is when the stretch or piece under way began; the zero time where
	// the client is not what is waited for.
	since() time.Time
	// cut ends the transfer.
	cut()
}

// memory bounds what transfers take together. Where it is used up, those that
// hardly move on lose theirs, so that slow clients cannot keep it.
type memory struct {
	octets *semaphore.Weighted

	mu    sync.Mutex
	parts map[*part]struct{}
}

func newMemory(octets int64) *memory {
	return &memory{octets: semaphore.NewWeighted(octets), parts: map[*part]struct{}{}}
}

// part is one transfer's part of the memory.
type part struct {
	of     *memory
	octets int64
	held   transfer
}

// has says whether so much is free now.
func (m *memory) has(octets int64) bool {
	if !m.octets.TryAcquire(octets) {
		m.press(octets)
		return false
	}
	m.octets.Release(octets)
	return true
}

// try gives a part at once or not at all.
func (m *memory) try(octets int64, t transfer) (*part, bool) {
	if !m.octets.TryAcquire(octets) {
		m.press(octets)
		return nil, false
	}
	return m.add(octets, t), true
}

// pressEvery is how often those who wait look for transfers to cut off.
const pressEvery = 200 * time.Millisecond

// wait gives a part when there is one, or the context's error.
func (m *memory) wait(ctx context.Context, octets int64, t transfer) (*part, error) {
	for {
		turn, cancel := context.WithTimeout(ctx, pressEvery)
		err := m.octets.Acquire(turn, octets)
		cancel()
		if err == nil {
			return m.add(octets, t), nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		m.press(octets)
	}
}

func (m *memory) add(octets int64, t transfer) *part {
	p := &part{of: m, octets: octets, held: t}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[p] = struct{}{}
	return p
}

// press cuts transfers off that hardly move on, as many as free so much.
func (m *memory) press(octets int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.parts {
		if octets <= 0 {
			return
		}
		if since := p.held.since(); !since.IsZero() && time.Since(since) >= pressPatience {
			p.held.cut()
			octets -= p.octets
		}
	}
}

// shrink gives back what is beyond so much.
func (p *part) shrink(octets int64) {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if octets < p.octets {
		p.of.octets.Release(p.octets - octets)
		p.octets = octets
	}
}

// release gives all of it back. No transfer is cut off after that.
func (p *part) release() {
	p.of.mu.Lock()
	delete(p.of.parts, p)
	p.of.mu.Unlock()
	p.of.octets.Release(p.octets)
}

// busySpread is over how many seconds those who are told to come again are
// spread, so that they do not come all at once.
const busySpread = 5

func busy(message string) error {
	return &httpError{
		answer:  answer{status: http.StatusServiceUnavailable, retryAfter: 1 + rand.IntN(busySpread)}, //nolint:gosec // G404: not a secret
		message: message,
	}
}
