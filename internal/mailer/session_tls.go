package mailer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
)

// startTLS upgrades the connection (RFC 3207) and says EHLO again, since what
// was offered before may have been changed by anybody.
func (s *Session) startTLS(opts Options) *Error {
	if !s.ext.startTLS {
		return s.refuse(StageTLS, fmt.Sprintf("relay %s does not offer STARTTLS, and the campaign asks for TLS: "+
			"nothing was sent in clear; use its port for TLS, or turn TLS off for a relay in a trusted network", s.relay.Addr()))
	}
	if _, err := s.command(StageTLS, 2, "STARTTLS"); err != nil {
		return err
	}
	if s.br.Buffered() > 0 {
		return s.refuse(StageTLS, "the relay, or somebody in between, sent plain text behind its answer to STARTTLS")
	}
	if err := s.handshake(opts.RootCAs); err != nil {
		return err
	}
	return s.hello(opts.LocalName, true)
}

// handshake makes the rest of the connection TLS, the relay's name verified.
func (s *Session) handshake(roots *x509.CertPool) *Error {
	conn := tls.Client(s.raw, &tls.Config{
		ServerName: s.relay.Host,
		RootCAs:    roots,
		MinVersion: tls.VersionTLS12,
		// A message is to be one record from the first on.
		DynamicRecordSizingDisabled: true,
	})
	s.line.armRead(s.timeouts.TLS)
	s.line.armWrite(s.timeouts.TLS)
	if err := conn.Handshake(); err != nil { //nolint:noctx // watch interrupts the connection when the context ends
		return s.tlsFailure(err)
	}
	s.tls = true
	s.conn = conn
	s.arrival.Conn = conn
	return nil
}

// tlsFailure: a certificate that does not hold, or a relay that speaks no TLS
// that is safe, needs a person; a connection that breaks does not.
func (s *Session) tlsFailure(cause error) *Error {
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](cause); ok {
		e := s.refuse(StageTLS, certificateText(s.relay.Host, bad.Err))
		e.Err = cause
		return e
	}
	e := s.lost(StageTLS, cause)
	if _, isNetwork := errors.AsType[net.Error](cause); !isNetwork && !isEnd(cause) {
		e.Scope, e.Temporary = ScopeCampaign, false
		e.Text = "no TLS 1.2 or later with the relay: " + cause.Error()
	}
	return e
}

// certificateText says what is wrong with a certificate, and what to do.
func certificateText(host string, cause error) string {
	text := fmt.Sprintf("the certificate of %s is not valid: %s", host, cause)
	if _, ok := errors.AsType[x509.UnknownAuthorityError](cause); ok {
		text += "; to trust a private authority, give its certificate in RELAY_CA_FILE or RELAY_CA"
	}
	return text
}

// isEnd: the connection ended without an error of the network.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
