package mailer

import (
	"net"
	"sync"
	"time"
)

// line is a connection's deadlines. The end of a context interrupts whatever
// the session waits for, and a deadline set at the same moment must not undo
// that: hence the lock.
type line struct {
	mu          sync.Mutex
	conn        net.Conn
	interrupted bool
}

// arm gives what is read and written next the time d.
func (l *line) arm(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.interrupted {
		_ = l.conn.SetDeadline(time.Now().Add(d))
	}
}

// interrupt ends what is being read or written, for good.
func (l *line) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interrupted = true
	_ = l.conn.SetDeadline(time.Unix(1, 0))
}
