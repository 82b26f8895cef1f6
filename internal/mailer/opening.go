package mailer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
)

// Opening is the way that Dial goes, taken one step at a time, for whoever
// wants to know how far it leads: the same rules at each dial, the same
// handshake, the same AUTH. Behind the steps it may ask the relay about an
// envelope; there is no way to send a message over it.
//
// The steps are called in the order in which they stand here, each once, and
// none behind one that failed. Their errors are *Error, or wrap the context's.
// Close ends it.
type Opening struct {
	s    *Session
	opts Options
}

// Offer is what a relay offers in its answer to EHLO.
type Offer struct {
	StartTLS   bool
	Pipelining bool
	SMTPUTF8   bool
	Size       bool     // SIZE is offered
	MaxSize    int64    // octets of a message; 0 where no limit is stated
	Auth       []string // mechanisms, in upper case
}

// ImplicitTLS says whether the relay speaks TLS from the first octet.
func (r Relay) ImplicitTLS() bool { return r.UseTLS && r.Port == portImplicitTLS }

// CheckAddress says whether a relay that was asked for as host may be at addr.
// It is the check that each dial makes of the address that it ends at.
func (r Rules) CheckAddress(host string, addr netip.Addr) error { return r.checkAddr(host, addr) }

// IsRefusal says whether err is one of the Rules'.
func IsRefusal(err error) bool {
	_, is := errors.AsType[*ruleError](err)
	return is
}

// Open makes the TCP connection, under the Rules.
func Open(ctx context.Context, relay Relay, opts Options) (*Opening, error) {
	conn, failure := connect(ctx, relay, &opts)
	if failure != nil {
		return nil, failure
	}
	opts.Observer = nil
	return &Opening{s: newSession(relay, opts, conn), opts: opts}, nil
}

// RemoteAddr is where the connection leads.
func (o *Opening) RemoteAddr() net.Addr { return o.s.raw.RemoteAddr() }

// Handshake is the TLS handshake that comes first where the relay has implicit
// TLS.
func (o *Opening) Handshake(ctx context.Context) error {
	return o.step(ctx, func() *Error { return o.s.handshake(o.opts.RootCAs) })
}

// Greet awaits the relay's greeting.
func (o *Opening) Greet(ctx context.Context) (greeting Reply, err error) {
	err = o.step(ctx, func() *Error {
		r, failure := o.s.expect(StageGreeting, 2)
		greeting = r.reply()
		return failure
	})
	return greeting, err
}

// Hello says EHLO. A relay that knows HELO only offers nothing, which is an
// error where TLS or AUTH is needed.
func (o *Opening) Hello(ctx context.Context) error {
	r := o.s.relay
	return o.step(ctx, func() *Error {
		return o.s.hello(o.opts.LocalName, r.Username != "" || r.UseTLS && !r.ImplicitTLS())
	})
}

// StartTLS upgrades the connection and says EHLO again.
func (o *Opening) StartTLS(ctx context.Context) error {
	return o.step(ctx, func() *Error { return o.s.startTLS(o.opts) })
}

// Authenticate proves the relay's user name and password, by the mechanism
// that is named; "" where none can be used.
func (o *Opening) Authenticate(ctx context.Context) (mechanism string, err error) {
	err = o.step(ctx, o.s.authenticate)
	return o.s.mechanism(), err
}

// Offer is what the last EHLO's answer offers.
func (o *Opening) Offer() Offer {
	ext := o.s.ext
	return Offer{
		StartTLS: ext.startTLS, Pipelining: ext.pipelining, SMTPUTF8: ext.smtpUTF8,
		Size: ext.size, MaxSize: ext.maxSize, Auth: slices.Clone(ext.auth),
	}
}

// MailFrom asks the relay whether it takes a message of size octets from an
// address.
func (o *Opening) MailFrom(ctx context.Context, from string, size int64) (Reply, error) {
	return o.ask(ctx, StageMail, envelope{from: from, size: size})
}

// RcptTo asks, behind MailFrom, whether it takes one to an address.
func (o *Opening) RcptTo(ctx context.Context, to string) (Reply, error) {
	return o.ask(ctx, StageRcpt, envelope{to: to})
}

// ask makes the envelope's address ready for the wire, and waits for the reply.
func (o *Opening) ask(ctx context.Context, stage Stage, e envelope) (answer Reply, err error) {
	err = o.step(ctx, func() (failure *Error) {
		if stage == StageMail {
			e.from, e.smtpUTF8, failure = o.s.path("sender", e.from)
		} else {
			e.to, _, failure = o.s.path("recipient", e.to)
		}
		if failure != nil {
			return failure
		}
		o.s.queue(stage, &e)
		if failure = o.s.flush(stage); failure != nil {
			return failure
		}
		r, failure := o.s.expect(stage, 2)
		answer = r.reply()
		return failure
	})
	return answer, err
}

// Reset calls the envelope off (RSET).
func (o *Opening) Reset(ctx context.Context) error {
	return o.step(ctx, func() *Error {
		_, failure := o.s.command(StageMail, 2, "RSET")
		return failure
	})
}

// TLS describes the connection's encryption; false where there is none.
func (o *Opening) TLS() (tls.ConnectionState, bool) { return o.s.TLS() }

// Close ends the session with QUIT, where it still can.
func (o *Opening) Close() { o.s.Quit() }

// step makes one step within the context.
func (o *Opening) step(ctx context.Context, do func() *Error) error {
	o.s.line.begin(ctx)
	return o.s.settle(ctx, do())
}

// TLS describes the session's encryption; false where there is none.
func (s *Session) TLS() (tls.ConnectionState, bool) {
	conn, is := s.conn.(*tls.Conn)
	if !is {
		return tls.ConnectionState{}, false
	}
	return conn.ConnectionState(), true
}
