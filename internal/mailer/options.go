package mailer

import (
	"crypto/x509"
	"net"
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
	// StepByStep leaves PIPELINING unused although the relay offers it: for a
	// relay whose sessions ended OutOfStep.
	StepByStep bool
	// Guarded gives one more relay whose password is looked for in what this one
	// says, so that it is not repeated; nil for none. It is asked for each session.
	Guarded func() Relay
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
	// write that asked for it to the read that brought it.
	Replied(Stage, time.Duration)
}

// Timeouts bound how long each step may take. Zero members have the defaults
// named, which are the least that RFC 5321 4.5.3.2 wants a client to wait. A
// step that follows closely on another one may have up to a sixteenth less.
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
