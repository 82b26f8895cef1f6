package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"postern/internal/config"
)

// HealthCheck says how this machine's health check reaches the listener that
// the configuration describes: the URL of a path, and the dial function for
// HTTPS, nil where the listener speaks plain HTTP.
func HealthCheck(cfg config.Config, path string) (string, DialTLS, error) {
	host, port, err := net.SplitHostPort(cfg.ListenAddr)
	if err != nil {
		return "", nil, fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: path}
	if cfg.TLS.Mode == config.TLSOff {
		return u.String(), nil, nil
	}
	u.Scheme = "https"
	return u.String(), dialOwn(cfg.TLS), nil
}

// DialTLS is the member DialTLSContext of http.Transport.
type DialTLS func(ctx context.Context, network, addr string) (net.Conn, error)

var (
	errElsewhere  = errors.New("LISTEN_ADDR leads to another machine, whose certificate a health check cannot verify")
	errNotTheFile = errors.New("the listener's certificate is not that of TLS_CERT_FILE")
)

// dialOwn connects to a listener of this machine. Its certificate is none that
// a client's usual check could pass: it names the service and not 127.0.0.1, or
// it is self-signed with a key that exists in the server's memory alone. What
// is checked in its place: the connection does not leave this machine, and with
// TLSFiles the certificate is the very one in the file. Files that hold no
// certificate that can be used are no reason to call the server dead: it goes
// on with the former one and logs the trouble, and a restart would end it.
func dialOwn(t config.TLS) DialTLS {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(conn, &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, //nolint:gosec // G402: verified as said above
			VerifyConnection:   func(s tls.ConnectionState) error { return verifyOwn(t, s) },
		})
		err = errElsewhere
		if local(conn) {
			err = secure.HandshakeContext(ctx)
		}
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secure, nil
	}
}

// local says whether both ends of a connection are this machine's: to reach
// itself, a machine takes the same address for both.
func local(conn net.Conn) bool {
	here, okHere := conn.LocalAddr().(*net.TCPAddr)
	there, okThere := conn.RemoteAddr().(*net.TCPAddr)
	return okHere && okThere && (there.IP.IsLoopback() || here.IP.Equal(there.IP))
}

func verifyOwn(t config.TLS, s tls.ConnectionState) error {
	if t.Mode != config.TLSFiles {
		return nil
	}
	p := pair{t.CertFile, t.KeyFile}
	c, err := p.read()
	if err != nil {
		return nil //nolint:nilerr // dialOwn says why
	}
	made, err := p.parse(c, time.Now())
	if err != nil {
		return nil //nolint:nilerr // dialOwn says why
	}
	if !bytes.Equal(s.PeerCertificates[0].Raw, made.Leaf.Raw) {
		return errNotTheFile
	}
	return nil
}
