package listen

import (
	"container/list"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// patience is how long a connection may wait for its client, for a handshake,
// for the headers of a request or between two requests, before another one may
// take its place where all are taken.
const patience = time.Second

// sendBuffer is a connection's buffer for sending in the kernel, in octets. Left
// to itself, the kernel lets it grow to megabytes for clients that do not read,
// which counts as this process's memory.
const sendBuffer = 128 << 10

// limit bounds the connections of a listener. Where all places are taken, a new
// connection gets that of the one that has waited longest for its client, if
// that is patience at least, so that clients who open connections and say
// nothing keep nobody out. Where all are at work, it waits. Where the process's
// file descriptors are used up before the places are, it is the same.
type limit struct {
	net.Listener

	max int

	mu      sync.Mutex
	open    int
	waiting list.List     // of *placed, that which waits longest in front
	changed chan struct{} // has a value when a place may be free

	closing sync.Once
	closed  chan struct{}
}

func newLimit(inner net.Listener, most int) *limit {
	return &limit{Listener: inner, max: most, changed: make(chan struct{}, 1), closed: make(chan struct{})}
}

// placed is a connection that has a place.
type placed struct {
	net.Conn

	limit *limit
	// Under the limit's mutex:
	element *list.Element // among the waiting; nil where it is at work or gone
	since   time.Time
	gone    bool
}

// Accept waits for a connection, and for a place for it.
func (l *limit) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		l.relieve() // the server tries again in a moment
	}
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // a wish; the connection works without
	}
	for {
		p, wait := l.place(conn)
		if p != nil {
			return p, nil
		}
		if !l.sleep(wait) {
			_ = conn.Close()
			return nil, net.ErrClosed
		}
	}
}

// place gives the connection a place, or says when it should be tried again at
// the latest.
func (l *limit) place(conn net.Conn) (*placed, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.max {
		front := l.waiting.Front()
		if front == nil {
			return nil, patience
		}
		if wait := l.replace(front); wait > 0 {
			return nil, wait
		}
	}
	p := &placed{Conn: conn, limit: l}
	l.open++
	l.wait(p)
	return p, 0
}

// replace ends a connection that has waited for its client long enough, or says
// how long it may still wait.
func (l *limit) replace(waiting *list.Element) (wait time.Duration) {
	p, _ := waiting.Value.(*placed)
	if waited := time.Since(p.since); waited < patience {
		return patience - waited
	}
	l.leave(p)
	_ = p.Conn.Close() // its server finds it closed
	return 0
}

// relieve ends the connection that has waited longest for its client, where
// one has waited long enough.
func (l *limit) relieve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if front := l.waiting.Front(); front != nil {
		l.replace(front)
	}
}

// sleep ends with false when the listener is closed.
func (l *limit) sleep(most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-l.changed:
	case <-timer.C:
	case <-l.closed:
		return false
	}
	return true
}

// Close closes the listener, and not its connections.
func (l *limit) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// mark notes whether a connection waits for its client.
func (l *limit) mark(p *placed, waits bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case p.gone || waits == (p.element != nil):
	case waits:
		l.wait(p)
		l.signal() // its turn to be replaced may come
	default:
		l.waiting.Remove(p.element)
		p.element = nil
	}
}

func (l *limit) wait(p *placed) {
	p.since = time.Now()
	p.element = l.waiting.PushBack(p)
}

// leave gives the connection's place back, once.
func (l *limit) leave(p *placed) {
	if p.gone {
		return
	}
	p.gone = true
	l.open--
	if p.element != nil {
		l.waiting.Remove(p.element)
		p.element = nil
	}
	l.signal()
}

func (l *limit) signal() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// Close gives the place back and closes the connection.
func (p *placed) Close() error {
	p.limit.mu.Lock()
	p.limit.leave(p)
	p.limit.mu.Unlock()
	return p.Conn.Close()
}

// CloseWrite lets net/http end an answer whose request it does not read to the
// end, without the client finding its connection reset.
func (p *placed) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return p.Close()
}
