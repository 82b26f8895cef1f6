package smtptest

import (
	"crypto/tls"
	"time"
)

// TLSMode is how a Server offers TLS.
type TLSMode int

// The ways to offer TLS.
const (
	NoTLS       TLSMode = iota // plain text only
	StartTLS                   // the STARTTLS command (RFC 3207)
	ImplicitTLS                // TLS from the first octet, as on port 465 (RFC 8314)
)

// Config is what a Server is like. The zero value is a friendly relay without
// TLS and AUTH on a port of the system's choice.
type Config struct {
	// Addr is the address to listen on; "127.0.0.1:0" when empty.
	Addr string
	// Hostname is the relay's name in its greeting; "relay.test" when empty.
	Hostname string
	// Extensions are the keywords offered to EHLO besides SIZE, STARTTLS and
	// AUTH, which follow from the members below; DefaultExtensions when nil.
	Extensions []string
	// NoEHLO answers EHLO with 502, as a relay of RFC 821 does.
	NoEHLO bool
	// MaxSize is the largest message in octets, offered as SIZE (RFC 1870)
	// and enforced; 0 offers no SIZE and takes any message.
	MaxSize int64

	// TLS says whether and how TLS is offered. Certificate is used for it;
	// one for localhost and 127.0.0.1 is made when nil.
	TLS         TLSMode
	Certificate *Certificate
	// TLSConfig, when set, may change the server's TLS configuration.
	TLSConfig func(*tls.Config)

	// Users maps user names to passwords. When there are some, AUTH is
	// offered, and MAIL without it is refused with 530.
	Users map[string]string
	// Mechanisms are what AUTH offers; PLAIN, LOGIN and CRAM-MD5 when nil.
	Mechanisms []string
	// ClearAuth offers AUTH also before STARTTLS. Without it a relay with
	// StartTLS offers AUTH once TLS stands.
	ClearAuth bool

	// IdleTimeout closes a connection, with a 421, that sends no command for
	// so long; 0 for never.
	IdleTimeout time.Duration
	// MaxMessages is how many messages a connection may carry before the next
	// MAIL is answered with 421; 0 for no limit.
	MaxMessages int
	// MaxConnections is how many connections may be open before the next one
	// is greeted with 421; 0 for no limit.
	MaxConnections int

	// Ledger takes the record; a new one is made when nil. A relay that is
	// started again with the Ledger of an earlier one goes on with it.
	Ledger *Ledger
	// DigestOnly keeps of each message the SHA-256 and not the octets.
	DigestOnly bool
	// OnMessage, when set, sees each message right before it is taken, octets
	// included; it must not keep them. It is called from several connections
	// at once.
	OnMessage func(Message)
	// Hook is the script; nil for none.
	Hook Hook
}

// DefaultExtensions is what a Server offers unless told otherwise.
func DefaultExtensions() []string {
	return []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"}
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Hostname == "" {
		cfg.Hostname = "relay.test"
	}
	if cfg.Extensions == nil {
		cfg.Extensions = DefaultExtensions()
	}
	if cfg.Mechanisms == nil {
		cfg.Mechanisms = []string{"PLAIN", "LOGIN", "CRAM-MD5"}
	}
	if cfg.Ledger == nil {
		cfg.Ledger = &Ledger{}
	}
	if cfg.TLS == NoTLS || cfg.Certificate != nil {
		return cfg, nil
	}
	cert, err := NewCertificate(CertificateOptions{})
	cfg.Certificate = cert
	return cfg, err
}
