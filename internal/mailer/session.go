package mailer

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Options are how sessions are opened and bounded. The zero value is usable.
type Options struct {
	Rules Rules
	// LocalName is what EHLO says: a domain or an address literal. When empty
	// it is the system's host name where that is a full domain, and else the
	// connection's own address as a literal (RFC 5321 4.1.4).
	LocalName string
	// RootCAs are the authorities that may sign a relay's certificate; the
	// system's when nil.
	RootCAs  *x509.CertPool
	Timeouts Timeouts
	// Resolver finds a relay's addresses; net.DefaultResolver when nil.
	Resolver *net.Resolver
	// Observer is told what happens, for metrics; nil for nobody.
	Observer Observer
}

// Observer is told what happens in sessions, from several goroutines.
type Observer interface {
	// ConnectionOpened: a session stands, TLS and AUTH included.
	ConnectionOpened()
	// Failed: a dial, a stage of opening, or a message failed. A failure at
	// StageAuth is one of authentication.
	Failed(*Error)
	// Replied: a reply of the stage took so long to come, counted from the
	// write that asked for it.
	Replied(Stage, time.Duration)
}

// Timeouts bound how long each step may take. Zero members have the defaults
// named, which are the least that RFC 5321 4.5.3.2 wants a client to wait.
type Timeouts struct {
	Connect  time.Duration // name resolution and TCP: 30 s
	Greeting time.Duration // 5 min
	Hello    time.Duration // 5 min
	TLS      time.Duration // STARTTLS, and the handshake: 2 min each
	Auth     time.Duration // each step of AUTH: 2 min
	Mail     time.Duration // 5 min
	Rcpt     time.Duration // 5 min
	Data     time.Duration // DATA to its 354: 2 min
	Block    time.Duration // writing 256 KB of a message: 3 min
	Dot      time.Duration // the final dot to its reply: 10 min
	Quit     time.Duration // QUIT to the end of the connection: 1 s
	Longest  time.Duration // bounds all of them; 0 for no further bound
}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		timeout *time.Duration
		value   time.Duration
	}{
		{&t.Connect, 30 * time.Second},
		{&t.Greeting, 5 * time.Minute},
		{&t.Hello, 5 * time.Minute},
		{&t.TLS, 2 * time.Minute},
		{&t.Auth, 2 * time.Minute},
		{&t.Mail, 5 * time.Minute},
		{&t.Rcpt, 5 * time.Minute},
		{&t.Data, 2 * time.Minute},
		{&t.Block, 3 * time.Minute},
		{&t.Dot, 10 * time.Minute},
		{&t.Quit, time.Second},
	} {
		if *d.timeout <= 0 {
			*d.timeout = d.value
		}
		if t.Longest > 0 {
			*d.timeout = min(*d.timeout, t.Longest)
		}
	}
	return t
}

// of is the time-out of waiting for a stage's reply.
func (t *Timeouts) of(stage Stage) time.Duration {
	switch stage {
	case StageGreeting:
		return t.Greeting
	case StageHello:
		return t.Hello
	case StageTLS:
		return t.TLS
	case StageAuth:
		return t.Auth
	case StageRcpt:
		return t.Rcpt
	case StageData:
		return t.Data
	case StageContent:
		return t.Block
	case StageDot:
		return t.Dot
	default:
		return t.Mail
	}
}

// Sizes of a session's buffers. A message up to writeBuffer goes out in one
// write; a larger one in blocks.
const (
	writeBuffer  = 16 << 10
	readBuffer   = 4 << 10
	contentBlock = 256 << 10
)

// Session is one SMTP connection to a relay, ready to send. One goroutine at
// a time uses it.
type Session struct {
	relay    Relay
	timeouts Timeouts
	observer Observer
	line     *line
	// interrupt is line.interrupt, kept so as not to make it for each message.
	interrupt func()
	raw       net.Conn // below TLS
	tls       bool
	ext       extensions
	bw        *bufio.Writer
	br        *bufio.Reader
	replies   *replyReader
	// asked is when the command was written whose reply is awaited (the
	// connection made, for the greeting); kept for
	// the observer only.
	asked time.Time
	// dirty: a transaction was begun and neither sent nor reset.
	dirty bool
	// broken: the connection cannot be used any more and is closed.
	broken bool
	// sent counts the messages that the relay took.
	sent int
	// vector and blocks are used for writing large messages.
	vector []([]byte)
	blocks net.Buffers
}

// Usable says whether another message can be sent.
func (s *Session) Usable() bool { return !s.broken }

// Sent is the number of messages that the relay took on this session.
func (s *Session) Sent() int { return s.sent }

// Close ends the connection at once, without QUIT.
func (s *Session) Close() {
	s.broken = true
	_ = s.raw.Close()
}

// Quit ends the session politely: QUIT, then waiting, within Timeouts.Quit,
// until the relay has closed the connection, so that the relay does not count
// it any more.
func (s *Session) Quit() {
	defer s.Close()
	if s.broken {
		return
	}
	s.line.arm(s.timeouts.Quit)
	_, _ = s.bw.WriteString("QUIT\r\n")
	if s.bw.Flush() == nil {
		_, _ = io.Copy(io.Discard, s.br)
	}
}

// flush writes what was queued, for the stage.
func (s *Session) flush(stage Stage) *Error {
	s.line.arm(s.timeouts.of(stage))
	if s.observer != nil {
		s.asked = time.Now()
	}
	if err := s.bw.Flush(); err != nil {
		return s.lost(stage, err)
	}
	return nil
}

// expect reads the reply of a stage, which must be of the class (2 for 2yz).
func (s *Session) expect(stage Stage, class int) (rawReply, *Error) {
	if s.br.Buffered() == 0 {
		s.line.arm(s.timeouts.of(stage))
	}
	r, err := s.replies.read()
	if err != nil {
		return rawReply{}, s.lost(stage, err)
	}
	if s.observer != nil {
		s.observer.Replied(stage, time.Since(s.asked))
	}
	if r.class() == class {
		return r, nil
	}
	refusal := classify(stage, r.reply())
	if refusal.Scope == ScopeSession {
		s.Close()
	}
	return r, refusal
}

// command writes one command and reads its reply.
func (s *Session) command(stage Stage, class int, text string) (rawReply, *Error) {
	_, _ = s.bw.WriteString(text)
	_, _ = s.bw.WriteString("\r\n") // a failure shows at the flush
	if err := s.flush(stage); err != nil {
		return rawReply{}, err
	}
	return s.expect(stage, class)
}

// lost makes an Error of a failure of the connection, which is over with it.
func (s *Session) lost(stage Stage, cause error) *Error {
	s.Close()
	e := &Error{
		Stage: stage, Scope: ScopeSession, Temporary: true, Err: cause,
		Ambiguous: stage == StageDot,
	}
	switch {
	case errors.Is(cause, os.ErrDeadlineExceeded) && stage == StageContent:
		e.Text = fmt.Sprintf("the relay did not take the message's octets within %s", s.timeouts.Block)
	case errors.Is(cause, os.ErrDeadlineExceeded):
		e.Text = fmt.Sprintf("the relay did not answer within %s", s.timeouts.of(stage))
	case errors.Is(cause, io.EOF):
		e.Text = "the relay closed the connection"
	case errors.Is(cause, errReplyMalformed), errors.Is(cause, errReplyTooLong):
		e.Text = cause.Error()
	default:
		e.Text = "the connection broke: " + cause.Error()
	}
	return e
}

// watch interrupts the session when the context ends, until stop is called.
func (s *Session) watch(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, s.interrupt)
}

// settle ends a watch and gives the Error as it is to be returned.
func (s *Session) settle(ctx context.Context, stop func() bool, e *Error) error {
	if !stop() {
		s.Close()
		if e != nil && e.Code == 0 {
			e = interrupted(ctx, e)
		}
	}
	if e == nil {
		return nil
	}
	return s.failed(e)
}

// failed tells the observer.
func (s *Session) failed(e *Error) *Error {
	if s.observer != nil {
		s.observer.Failed(e)
	}
	return e
}

// interrupted says of a failure that it came from the end of the context.
func interrupted(ctx context.Context, e *Error) *Error {
	e.Text = "interrupted: " + context.Cause(ctx).Error()
	e.Err = ctx.Err()
	return e
}
