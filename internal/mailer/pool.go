package mailer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Defaults of a pool.
const (
	defaultMaxConnections  = 8
	defaultIdleTimeout     = 30 * time.Second
	defaultMessagesPerConn = 1000
)

// errPoolClosed comes from Get after Close.
var errPoolClosed = errors.New("the pool of sessions is closed")

// PoolOptions are how a Pool behaves. The zero value is usable.
type PoolOptions struct {
	Options
	// MaxConnections is how many connections to the relay there may be at
	// once, idle ones included: 8.
	MaxConnections int
	// IdleTimeout is how long a session is kept idle before it is ended: 30 s,
	// which is less than relays wait.
	IdleTimeout time.Duration
	// MaxMessages is how many messages a session carries before it is ended:
	// 1000; negative for no limit.
	MaxMessages int
}

func (o PoolOptions) withDefaults() PoolOptions {
	if o.MaxConnections <= 0 {
		o.MaxConnections = defaultMaxConnections
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = defaultIdleTimeout
	}
	if o.MaxMessages == 0 {
		o.MaxMessages = defaultMessagesPerConn
	}
	return o
}

// Pool keeps sessions with one relay for reuse. It is safe for use by many
// goroutines.
type Pool struct {
	relay Relay
	opts  PoolOptions
	// places has one element for each session that is out or being opened or
	// ended. Together with the idle ones they are at most MaxConnections: a
	// session is opened only while none is idle.
	places chan struct{}
	ending sync.WaitGroup // sessions that the idle timer ends

	mu     sync.Mutex
	idle   []idleSession // by time; the last was used most recently
	inUse  int
	closed bool
	timer  *time.Timer // runs while there are idle sessions
}

type idleSession struct {
	*Session
	since time.Time
}

// PoolStats are how many connections a pool has.
type PoolStats struct {
	Open  int // all
	InUse int // handed out by Get
	Idle  int
}

// NewPool makes a pool; nothing is dialled before Get.
func NewPool(relay Relay, opts PoolOptions) *Pool {
	opts = opts.withDefaults()
	return &Pool{relay: relay, opts: opts, places: make(chan struct{}, opts.MaxConnections)}
}

// Get gives the session that was used last, or a new one where none is idle.
// While all connections are in use it waits. Errors are those of Dial, and
// the context's while it waits. Each session is given back by Put.
func (p *Pool) Get(ctx context.Context) (*Session, error) {
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, err := p.reuseOrDial(ctx)
	if err != nil {
		<-p.places
		return nil, err
	}
	return s, nil
}

func (p *Pool) reuseOrDial(ctx context.Context) (*Session, error) {
	for s := p.pop(); s != nil; s = p.pop() {
		if s.alive() {
			return s, nil
		}
		p.release()
		s.Close()
	}
	if p.isClosed() {
		return nil, errPoolClosed
	}
	s, err := Dial(ctx, p.relay, p.opts.Options)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inUse++
	return s, nil
}

// pop takes the session that was used last, as one in use; nil where there is
// none.
func (p *Pool) pop() *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	s := p.idle[last].Session
	p.idle = slices.Delete(p.idle, last, last+1)
	p.inUse++
	return s
}

func (p *Pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *Pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inUse--
}

// Put gives a session back. One that is broken, has carried its share of
// messages, or comes back after Close is ended.
func (p *Pool) Put(s *Session) {
	worn := p.opts.MaxMessages > 0 && s.Sent() >= p.opts.MaxMessages
	if !s.Usable() || worn || !p.push(s) {
		s.Quit()
		p.release()
	}
	<-p.places
}

// push makes a session idle; it says no once the pool is closed.
func (p *Pool) push(s *Session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.inUse--
	p.idle = append(p.idle, idleSession{s, time.Now()})
	if len(p.idle) == 1 {
		p.schedule(p.opts.IdleTimeout)
	}
	return true
}

// schedule sets the timer, with the lock held.
func (p *Pool) schedule(d time.Duration) {
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.endIdle)
		return
	}
	p.timer.Reset(d)
}

// endIdle ends the sessions that have been idle for too long.
func (p *Pool) endIdle() {
	expired := p.takeExpired(time.Now())
	for _, s := range expired {
		s.Quit()
		<-p.places
		p.ending.Done()
	}
}

// takeExpired takes the sessions out that have been idle for too long, each
// with a place, since the relay still counts it. A session without a place to
// be had is about to be taken by Get.
func (p *Pool) takeExpired(now time.Time) []*Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	var expired []*Session
	for len(p.idle) > 0 && now.Sub(p.idle[0].since) >= p.opts.IdleTimeout && p.tryPlace() {
		expired = append(expired, p.idle[0].Session)
		p.ending.Add(1)
		p.idle = slices.Delete(p.idle, 0, 1)
	}
	if len(p.idle) > 0 {
		p.schedule(max(p.opts.IdleTimeout-now.Sub(p.idle[0].since), time.Millisecond))
	}
	return expired
}

func (p *Pool) tryPlace() bool {
	select {
	case p.places <- struct{}{}:
		return true
	default:
		return false
	}
}

// Close ends the idle sessions, each with a QUIT, and lets Get fail from now
// on. Sessions in use are ended when they are put back.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	for _, s := range idle {
		p.ending.Go(s.Quit)
	}
	p.ending.Wait()
}

// Stats gives the numbers of the moment.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PoolStats{Open: p.inUse + len(p.idle), InUse: p.inUse, Idle: len(p.idle)}
}
