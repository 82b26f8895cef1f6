package smtptest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// Server is a scripted relay that listens. Its Ledger is the truth about what
// it took.
type Server struct {
	*Ledger

	cfg      Config
	listener net.Listener
	hook     atomic.Pointer[Hook]
	done     chan struct{} // closed by Close
	once     sync.Once
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// Start listens and serves until Close. The error is that of listening or of
// making a certificate.
func Start(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{
		Ledger:   cfg.Ledger,
		cfg:      cfg,
		listener: listener,
		done:     make(chan struct{}),
		conns:    make(map[net.Conn]struct{}),
	}
	s.SetHook(cfg.Hook)
	s.wg.Go(s.serve)
	return s, nil
}

// Addr is the address on which the relay listens, as host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Host is the host of Addr.
func (s *Server) Host() string { return s.listener.Addr().(*net.TCPAddr).IP.String() }

// Port is the port of Addr.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// RootCAs is a pool with the authority that signed the relay's certificate;
// nil for a relay without TLS.
func (s *Server) RootCAs() *x509.CertPool {
	if s.cfg.Certificate == nil {
		return nil
	}
	return s.cfg.Certificate.RootCAs()
}

// CertificatePEM is the authority's certificate as PEM; nil for a relay
// without TLS.
func (s *Server) CertificatePEM() []byte {
	if s.cfg.Certificate == nil {
		return nil
	}
	return s.cfg.Certificate.PEM()
}

// SetHook changes the script from the next event on; nil for none.
func (s *Server) SetHook(h Hook) { s.hook.Store(&h) }

// DropConnections closes all connections without a word, as a relay that
// restarts does.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc := range s.conns {
		_ = nc.Close()
	}
}

// Close stops listening, closes all connections and waits until they have
// ended.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.done)
		_ = s.listener.Close()
		s.DropConnections()
	})
	s.wg.Wait()
}

func (s *Server) serve() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.register(nc) {
			_ = nc.Close()
			return
		}
		s.wg.Go(func() {
			defer s.unregister(nc)
			newConn(s, nc).serve()
		})
	}
}

// register notes a connection for Close; it says no once that was called.
func (s *Server) register(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return false
	default:
		s.conns[nc] = struct{}{}
		return true
	}
}

func (s *Server) unregister(nc net.Conn) {
	_ = nc.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, nc)
}

func (s *Server) tlsConfig() *tls.Config {
	cfg := &tls.Config{Certificates: []tls.Certificate{s.cfg.Certificate.server}, MinVersion: tls.VersionTLS12}
	if s.cfg.TLSConfig != nil {
		s.cfg.TLSConfig(cfg)
	}
	return cfg
}
