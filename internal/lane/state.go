package lane

import (
	"crypto/tls"

	"postern/internal/mailer"
)

// State is what a lane's sessions tell of their relay.
type State struct {
	Host    string
	Port    int
	Trouble Trouble
	// TLS is how the session that was opened last is encrypted; nil where none
	// was, or it has no TLS.
	TLS *tls.ConnectionState
}

// States gives the state of every relay of which something has been heard, of
// the lanes that are open.
func (ls *Lanes) States() []State {
	var all []State
	for _, l := range ls.all() {
		if s := l.report(); s.Trouble.Known {
			all = append(all, s)
		}
	}
	return all
}

func (l *Lane) report() State {
	s := State{Host: l.relay.Host, Port: l.relay.Port, Trouble: l.Trouble()}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.TLS = l.encryption
	return s
}

// opened notes how a new session is encrypted.
func (l *Lane) opened(s *mailer.Session) {
	var encryption *tls.ConnectionState
	if state, is := s.TLS(); is {
		encryption = &state
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.encryption = encryption
}
