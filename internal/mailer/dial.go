package mailer

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// portImplicitTLS is the port of submission over TLS from the first octet
// (RFC 8314 7.3).
const portImplicitTLS = 465

// Dial opens a session: TCP under the Rules, greeting, EHLO, TLS as the relay
// asks for, AUTH when it has a user name. Errors are *Error; once ctx ends
// they wrap its error.
func Dial(ctx context.Context, relay Relay, opts Options) (*Session, error) {
	conn, failure := connect(ctx, relay, &opts)
	if failure != nil {
		if opts.Observer != nil {
			opts.Observer.Failed(failure)
		}
		return nil, failure
	}
	s := newSession(relay, opts, conn)
	s.line.begin(ctx)
	if err := s.settle(ctx, s.open(opts)); err != nil {
		s.Close()
		return nil, err
	}
	if opts.StepByStep {
		s.ext.pipelining = false
	}
	if s.broken { // interrupted at the last moment
		return nil, s.lost(StageDial, ctx.Err())
	}
	if s.observer != nil {
		s.observer.ConnectionOpened()
	}
	return s, nil
}

func newSession(relay Relay, opts Options, conn net.Conn) *Session {
	from := &arrival{Conn: conn}
	br := bufio.NewReaderSize(from, readBuffer)
	replies := newReplyReader(br)
	secrets := []Relay{relay}
	if opts.Guarded != nil {
		secrets = append(secrets, opts.Guarded())
	}
	replies.guard = newGuard(secrets...)
	return &Session{
		relay:    relay,
		timeouts: opts.Timeouts.withDefaults(),
		observer: opts.Observer,
		line:     &line{conn: conn},
		raw:      conn,
		conn:     conn,
		br:       br,
		arrival:  from,
		replies:  replies,
		asked:    time.Now(),
	}
}

// connect makes the TCP connection. The Rules are applied to the host as it
// is written, and to the address that each dial ends at, whatever the name
// resolved to.
func connect(ctx context.Context, relay Relay, opts *Options) (net.Conn, *Error) {
	if err := opts.Rules.CheckRelay(relay); err != nil {
		return nil, dialFailure(relay, err)
	}
	dialer := net.Dialer{
		Timeout:  opts.Timeouts.withDefaults().Connect,
		Resolver: opts.Resolver,
		Control: func(_, address string, _ syscall.RawConn) error {
			final, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return opts.Rules.checkAddr(relay.Host, final.Addr())
		},
	}
	conn, err := dialer.DialContext(ctx, "tcp", relay.Addr())
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, interrupted(ctx, &Error{Stage: StageDial, Scope: ScopeSession, Temporary: true})
	default:
		return nil, dialFailure(relay, err)
	}
}

// dialFailure: a relay that is not allowed is the campaign's mistake; one that
// cannot be reached may come back, as may one whose name is not known now.
func dialFailure(relay Relay, cause error) *Error {
	e := &Error{Stage: StageDial, Scope: ScopeRelay, Temporary: true, Err: cause}
	if refused, ok := errors.AsType[*ruleError](cause); ok {
		e.Scope, e.Temporary, e.Text = ScopeCampaign, false, refused.Error()
		return e
	}
	dns, isDNS := errors.AsType[*net.DNSError](cause)
	timeout, ok := errors.AsType[net.Error](cause)
	switch {
	case isDNS && dns.IsNotFound:
		e.Text = "there is no host " + relay.Host
	case ok && timeout.Timeout():
		e.Text = "no connection to " + relay.Addr() + " in time"
	case errors.Is(cause, syscall.ECONNREFUSED):
		e.Text = relay.Addr() + " refuses connections"
	default:
		e.Text = "cannot connect to " + relay.Addr() + ": " + cause.Error()
	}
	return e
}

// open brings the connection to where a message can be sent.
func (s *Session) open(opts Options) *Error {
	implicit := s.relay.ImplicitTLS()
	if implicit {
		if err := s.handshake(opts.RootCAs); err != nil {
			return err
		}
	}
	if _, err := s.expect(StageGreeting, 2); err != nil {
		return err
	}
	needsExtensions := s.relay.Username != "" || s.relay.UseTLS && !implicit
	if err := s.hello(opts.LocalName, needsExtensions); err != nil {
		return err
	}
	if s.relay.UseTLS && !implicit {
		if err := s.startTLS(opts); err != nil {
			return err
		}
	}
	if s.relay.Username == "" {
		return nil
	}
	return s.authenticate()
}
