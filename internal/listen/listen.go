package listen

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"postern/internal/config"
)

// Listener is the API's listener, or that of the metrics. It has at most so many
// connections open (MAX_CONNECTIONS, MetricsConnections); the next one waits, or
// takes the place of a slow one: see limit. The server must call ConnState with
// each change of a connection's state.
type Listener struct {
	net.Listener

	limit *limit
}

// Open listens on LISTEN_ADDR. Errors name the variable that they come from.
func Open(ctx context.Context, cfg config.Config, log zerolog.Logger) (*Listener, error) {
	l, err := open(ctx, cfg.ListenAddr, cfg.MaxConnections)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	if cfg.TLS.Mode == config.TLSOff {
		return l, nil
	}
	certificate, err := certificates(cfg, log)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	l.Listener = tls.NewListener(l.limit, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // the package comment says why
		GetCertificate: certificate,
	})
	return l, nil
}

// MetricsConnections is how many connections the metrics' listener has open at
// most: those who scrape it are few.
const MetricsConnections = 32

// OpenMetrics listens on METRICS_ADDR, without TLS.
func OpenMetrics(ctx context.Context, cfg config.Config) (*Listener, error) {
	l, err := open(ctx, cfg.MetricsAddr, MetricsConnections)
	if err != nil {
		return nil, fmt.Errorf("METRICS_ADDR: %w", err)
	}
	return l, nil
}

func open(ctx context.Context, addr string, most int) (*Listener, error) {
	var lc net.ListenConfig
	inner, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l := newLimit(inner, most)
	return &Listener{Listener: l, limit: l}, nil
}

// certificates is where a TLS listener's certificate comes from.
func certificates(cfg config.Config, log zerolog.Logger) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	if cfg.TLS.Mode == config.TLSFiles {
		f, err := newFiled(cfg.TLS, time.Now, log)
		if err != nil {
			return nil, err
		}
		return f.certificate, nil
	}
	s, err := newSelfSigned(cfg.ListenAddr, cfg.TLS.Names, time.Now)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_TLS: %w", err)
	}
	return s.certificate, nil
}

// ConnState is for http.Server.
func (l *Listener) ConnState(conn net.Conn, state http.ConnState) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if p, ok := conn.(*placed); ok {
		// A connection is StateNew or StateIdle until the headers of a request
		// are whole. Its end comes by Close.
		l.limit.mark(p, state == http.StateNew || state == http.StateIdle)
	}
}
