package mailer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Sizes of a session's buffers. What is left of a message up to maxTail goes
// out in one write with the final dot and the next envelope, which makes one
// TLS record; what a larger one has before that goes out in blocks.
const (
	writeBuffer  = 16 << 10
	readBuffer   = 4 << 10
	maxTail      = 15 << 10
	contentBlock = 256 << 10
)

// Session is one SMTP connection to a relay, ready to send. One goroutine at
// a time uses it, and ends it by Quit or Close.
type Session struct {
	relay    Relay
	timeouts Timeouts
	observer Observer
	line     *line
	raw      net.Conn // below TLS
	conn     net.Conn // the TLS connection where there is one
	tls      bool
	ext      extensions
	// out gathers what the next write takes.
	out     []byte
	br      *bufio.Reader
	arrival *arrival
	replies *replyReader
	// asked is when the command was written whose reply is awaited (the
	// connection made, for the greeting).
	asked time.Time
	// ahead is the message whose envelope the relay has and whose replies have
	// not been read; nil for none.
	ahead *Mail
	// dirty: a transaction was begun and neither sent nor reset.
	dirty bool
	// ending: nothing can be written any more, and one reply may still come.
	ending bool
	// broken: the connection cannot be used any more and is closed.
	broken    bool
	outOfStep bool
	// sent counts the messages that the relay took.
	sent int
	// sender is the From of the last envelope that was sound, and last the
	// reply to the last message with its text as it came: both are mostly the
	// same for the next.
	sender   soundAddress
	last     Reply
	lastText []byte
	// vector and blocks are used for writing large messages.
	vector []([]byte)
	blocks net.Buffers
}

// Usable says whether another message can be sent.
func (s *Session) Usable() bool { return !s.broken }

// Sent is the number of messages that the relay took on this session.
func (s *Session) Sent() int { return s.sent }

// OutOfStep says that the relay, which offers PIPELINING, lost step with what
// was pipelined: it answered more or other than was asked, or not at all. The
// session is over. The next one to this relay does better with
// Options.StepByStep.
func (s *Session) OutOfStep() bool { return s.outOfStep }

// Close ends the connection at once, without QUIT.
func (s *Session) Close() {
	s.broken = true
	s.ahead = nil
	s.line.release()
	_ = s.raw.Close()
}

// Quit ends the session politely: QUIT, then waiting, within Timeouts.Quit,
// until the relay has closed the connection, so that the relay does not count
// it any more. Behind an envelope that is ahead, QUIT would be content: the
// connection is closed.
func (s *Session) Quit() {
	defer s.Close()
	if s.broken || s.ahead != nil {
		return
	}
	s.out = append(s.out[:0], "QUIT\r\n"...)
	if _, err := s.write(s.timeouts.Quit); err == nil {
		s.line.armRead(s.timeouts.Quit)
		_, _ = io.Copy(io.Discard, s.br)
	}
}

// write writes what was gathered within the time d, and says how much of it
// the system took.
func (s *Session) write(d time.Duration) (int, error) {
	s.asked = s.line.armWrite(d)
	n, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return n, err
}

// flush writes the commands that were gathered, for the stage.
func (s *Session) flush(stage Stage) *Error {
	if _, err := s.write(s.timeouts.of(stage)); err != nil {
		return s.lost(stage, err)
	}
	return nil
}

// expect reads the reply of a stage, which must be of the class (2 for 2yz).
func (s *Session) expect(stage Stage, class int) (rawReply, *Error) {
	r, err := s.await(s.timeouts.of(stage))
	if err != nil {
		return rawReply{}, s.lost(stage, err)
	}
	if s.observer != nil {
		s.observer.Replied(stage, max(s.arrival.last.Sub(s.asked), 0))
	}
	if r.class() == class {
		return r, nil
	}
	refusal := classify(stage, r.reply())
	if refusal.Scope == ScopeSession {
		if refusal.Code != codeShuttingDown {
			s.misstep()
		}
		s.Close()
	}
	return r, refusal
}

// await reads a reply, which has the time d to come.
func (s *Session) await(d time.Duration) (rawReply, error) {
	if !s.replies.ready() {
		s.line.armRead(d)
	}
	return s.replies.read()
}

// misstep notes that a relay lost step with what was pipelined.
func (s *Session) misstep() { s.outOfStep = s.outOfStep || s.ext.pipelining }

// command writes one command and reads its reply.
func (s *Session) command(stage Stage, class int, text string) (rawReply, *Error) {
	s.out = append(append(s.out[:0], text...), "\r\n"...)
	if err := s.flush(stage); err != nil {
		return rawReply{}, err
	}
	return s.expect(stage, class)
}

// positive is the Reply that a positive answer to a message makes.
func (s *Session) positive(r rawReply) Reply {
	if r.code != s.last.Code || !bytes.Equal(r.text, s.lastText) {
		s.last = r.reply()
		s.lastText = append(s.lastText[:0], r.text...)
	}
	return s.last
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
	case isMalformed(cause):
		s.misstep()
		e.Text = cause.Error()
	default:
		e.Text = "the connection broke: " + cause.Error()
	}
	return e
}

// isMalformed: what came is no reply.
func isMalformed(cause error) bool {
	return errors.Is(cause, errReplyMalformed) || errors.Is(cause, errReplyTooLong)
}

// settle ends a call that ctx may have interrupted, and gives the Error as it
// is to be returned.
func (s *Session) settle(ctx context.Context, e *Error) error {
	if s.line.end() {
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

// arrival is a connection that notes when it last brought something.
type arrival struct {
	net.Conn
	last time.Time
}

func (a *arrival) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	a.last = time.Now()
	return n, err
}
