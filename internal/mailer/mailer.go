// Package mailer is what goes over the wire: letters compiled once per
// campaign and spliced per recipient, relays and where they may be, pipelined
// SMTP sessions, and what a relay's replies mean.
//
// It speaks SMTP (RFC 5321) with STARTTLS (RFC 3207), AUTH (RFC 4954, with
// PLAIN of RFC 4616, LOGIN, and CRAM-MD5 of RFC 2195), PIPELINING (RFC 2920),
// SIZE (RFC 1870), enhanced status codes (RFC 3463, RFC 2034) and SMTPUTF8
// (RFC 6531), and writes MIME (RFC 2045 to 2047, RFC 2231) and RFC 5322
// messages that are 7-bit throughout.
//
// Whether and when to send is the engine's to say, not this package's.
package mailer

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Relay is an SMTP server that takes messages from Postern. Host, Port and
// Username together identify it.
type Relay struct {
	Host string
	Port int
	// UseTLS: implicit TLS on port 465, STARTTLS elsewhere, and no message
	// without it. False: plain text on any port.
	UseTLS   bool
	Username string // "" for no AUTH
	Password string
}

// Addr is host:port.
func (r Relay) Addr() string { return net.JoinHostPort(r.Host, strconv.Itoa(r.Port)) }

// String names the relay without its password.
func (r Relay) String() string {
	if r.Username == "" {
		return r.Addr()
	}
	return r.Username + " at " + r.Addr()
}

// GoString keeps the password out of %#v.
func (r Relay) GoString() string { return "mailer.Relay{" + r.String() + "}" }

// Envelope is the SMTP envelope of one message to one recipient: addresses
// that passed campaign.CheckAddress, without angle brackets.
type Envelope struct {
	From string
	To   string
	// MayBegin, when set, is asked right before MAIL is written. Its error keeps
	// the message from being begun and comes back as the cause of a ScopeSession
	// failure.
	MayBegin func() error
	// MayCommit, when set, is asked before MAIL and once more right before the
	// final dot. Its error keeps the message from being handed over and comes
	// back as the cause of a ScopeSession failure.
	MayCommit func() error
}

// Mail is a message with its envelope.
type Mail struct {
	Envelope
	Message *Message
	// Meanwhile, when set, is called once for each reply to a final dot, between
	// the write of the dot and the reading of the reply: what it does costs no
	// time of its own while the relay takes as long. It must not use the session.
	Meanwhile func()
}

// Stage is where in a session something happened.
type Stage string

// The stages of a session, in order.
const (
	StageDial     Stage = "dial"     // name resolution, relay rules, TCP
	StageGreeting Stage = "greeting" // the 220 that opens the session
	StageHello    Stage = "hello"    // EHLO
	StageTLS      Stage = "tls"      // STARTTLS and the TLS handshake
	StageAuth     Stage = "auth"     // AUTH
	StageMail     Stage = "mail"     // MAIL FROM
	StageRcpt     Stage = "rcpt"     // RCPT TO
	StageData     Stage = "data"     // DATA up to its 354
	StageContent  Stage = "content"  // writing the message
	StageDot      Stage = "dot"      // from the final dot to its reply
	StageLetter   Stage = "letter"   // making the message, before any SMTP
)

// Scope is what a failure concerns, and so who must bear it.
type Scope string

// The scopes of a failure.
const (
	// ScopeRecipient: this recipient or this message; the session and the
	// other recipients are not concerned.
	ScopeRecipient Scope = "recipient"
	// ScopeSession: this connection only (closed, 421, time-out). Nothing is
	// known against the recipient: try on another connection.
	ScopeSession Scope = "session"
	// ScopeRelay: the relay as a whole, for every campaign: out of reach, TLS
	// down, too many connections or messages. Wait and try again; recipients
	// bear nothing.
	ScopeRelay Scope = "relay"
	// ScopeCampaign: every message of the campaign would fail likewise:
	// credentials refused, TLS not to be had, relay not allowed. Stop.
	ScopeCampaign Scope = "campaign"
)

// Error is a failure to deliver.
type Error struct {
	Stage Stage
	Scope Scope
	// Code is the relay's reply code, 0 when there was no reply.
	Code int
	// Enhanced is the enhanced status code such as "5.1.1" (RFC 3463); "" when
	// there is none.
	Enhanced string
	// Text is the reply's text, cut to a readable length, control characters
	// replaced; or, without a reply, what went wrong.
	Text string
	// Temporary: the same may succeed later.
	Temporary bool
	// Ambiguous: the final dot may have reached the relay and no reply came,
	// so the relay may hold the message (RFC 1047).
	Ambiguous bool
	// Err is the cause without a reply, such as a net.Error.
	Err error
}

// Error says what a person needs: stage, reply or cause.
func (e *Error) Error() string { return string(e.Stage) + ": " + e.Reply() }

// Reply is the relay's reply as one line, or what went wrong without one.
func (e *Error) Reply() string {
	if e.Code == 0 {
		return e.Text
	}
	parts := []string{strconv.Itoa(e.Code)}
	if e.Enhanced != "" {
		parts = append(parts, e.Enhanced)
	}
	if e.Text != "" {
		parts = append(parts, e.Text)
	}
	return strings.Join(parts, " ")
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Reply is a relay's positive answer to a message.
type Reply struct {
	Code     int
	Enhanced string
	Text     string
}

// String is the reply as one line.
func (r Reply) String() string {
	if r.Enhanced == "" {
		return fmt.Sprintf("%d %s", r.Code, r.Text)
	}
	return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
}

// Message is a letter rendered for one recipient: what goes between DATA's
// 354 and the final dot. It is 7-bit, but see SMTPUTF8; every line ends in
// CRLF, is at most 998 octets long and does not start with a dot, so it goes
// out as it is. A Message is reused: Letter.Render overwrites it, and one
// goroutine at a time uses it.
type Message struct {
	// ID is the Message-ID without its angle brackets.
	ID string
	// segments are shared ones of the letter and personal ones in scratch.
	segments net.Buffers
	// files are those of the segments that are attachments' bodies, in order.
	files    []fileSegment
	digester digester
	scratch  []byte
	size     int64
	shared   int64 // octets of size that every message of the letter has
	to       soundAddress
	smtputf8 bool
	// marks and text are Render's, kept for their memory.
	marks []mark
	text  []byte
}

// Segments are the message's octets in order. They must not be changed and
// hold until the next Render.
func (m *Message) Segments() net.Buffers { return m.segments }

// SMTPUTF8 says that an address in the header has a local part that is not
// ASCII. Only a relay that offers SMTPUTF8 (RFC 6531) may be given such a
// message; the addresses are the only thing in it that is not 7-bit.
func (m *Message) SMTPUTF8() bool { return m.smtputf8 }

// Size is the number of octets, as the SIZE parameter of MAIL counts them
// (RFC 1870).
func (m *Message) Size() int64 { return m.size }
