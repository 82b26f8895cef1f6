package mailer

import (
	"context"
	"net"
	"sync"
	"time"
)

// line is a connection's deadlines. The end of a call's context interrupts
// whatever the session waits for, and a deadline set at the same moment must
// not undo that: hence the lock.
type line struct {
	conn net.Conn // below TLS

	// done is that of the context which is watched, and unwatch ends the watch.
	// A session mostly sees one context all its life, and watching anew for
	// each message would cost more than its envelope does.
	done    <-chan struct{}
	unwatch func() bool

	mu sync.Mutex
	// watch numbers the watches: one that was ended may still fire.
	watch int
	// ended: the context that is watched has ended.
	ended bool
	// calling: a call is under way, and may be interrupted.
	calling     bool
	read, write time.Time // the deadlines that stand
}

// begin starts a call, which the end of ctx interrupts. A context that ends
// between calls does the session no harm.
func (l *line) begin(ctx context.Context) {
	if ctx.Done() != l.done {
		l.follow(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calling = true
	if l.ended {
		l.cut()
	}
}

// end ends a call and says whether it was interrupted: the deadlines of such a
// connection are spoilt.
func (l *line) end() (interrupted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calling = false
	return l.ended
}

// follow watches ctx in place of the context before.
func (l *line) follow(ctx context.Context) {
	l.release()
	l.mu.Lock()
	l.watch++
	l.ended = false
	watch := l.watch
	l.mu.Unlock()
	l.done = ctx.Done()
	l.unwatch = context.AfterFunc(ctx, func() { l.contextEnded(watch) })
}

// release ends the watch, so that the context does not hold the session.
func (l *line) release() {
	if l.unwatch != nil {
		l.unwatch()
	}
	l.done, l.unwatch = nil, nil
}

func (l *line) contextEnded(watch int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if watch != l.watch {
		return
	}
	l.ended = true
	if l.calling {
		l.cut()
	}
}

// cut ends what is being read or written; with the lock held.
func (l *line) cut() { _ = l.conn.SetDeadline(time.Unix(1, 0)) }

// slack is the part of a time-out by which a deadline that stands may be too
// early: setting one costs as much as reading a reply does.
const slack = 16

// near says whether a deadline stands that gives what begins now the time d,
// or hardly less.
func near(deadline, now time.Time, d time.Duration) bool {
	left := deadline.Sub(now)
	return left <= d && left >= d-d/slack
}

// armRead gives what is read next the time d.
func (l *line) armRead(d time.Duration) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if near(l.read, now, d) || l.calling && l.ended {
		return
	}
	l.read = now.Add(d)
	_ = l.conn.SetReadDeadline(l.read)
}

// armWrite gives what is written next the time d, and says what time it is.
func (l *line) armWrite(d time.Duration) time.Time {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if near(l.write, now, d) || l.calling && l.ended {
		return now
	}
	l.write = now.Add(d)
	_ = l.conn.SetWriteDeadline(l.write)
	return now
}
