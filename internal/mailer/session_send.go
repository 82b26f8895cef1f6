package mailer

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// envelope is an Envelope as it goes over the wire.
type envelope struct {
	from, to string
	size     int64
	smtpUTF8 bool
}

// Send hands one message over and gives the relay's 250. Errors are *Error;
// once ctx ends they wrap its error. After a refusal the session goes on, and
// Usable says whether it does.
//
// Where the relay offers PIPELINING, MAIL, RCPT and DATA are one write.
func (s *Session) Send(ctx context.Context, env Envelope, msg *Message) (Reply, error) {
	if s.broken {
		return Reply{}, s.failed(&Error{Stage: StageMail, Scope: ScopeSession, Temporary: true, Text: "the session is closed"})
	}
	if err := ctx.Err(); err != nil {
		return Reply{}, s.failed(uncommitted(StageMail, err))
	}
	wire, failure := s.envelope(env, msg)
	if failure == nil {
		failure = mayCommit(env, StageMail)
	}
	if failure != nil {
		return Reply{}, s.failed(failure)
	}
	stop := s.watch(ctx)
	reply, failure := s.transact(&wire, env, msg)
	return reply, s.settle(ctx, stop, failure)
}

func (s *Session) transact(wire *envelope, env Envelope, msg *Message) (Reply, *Error) {
	if err := s.begin(wire); err != nil {
		return Reply{}, err
	}
	if err := s.writeMessage(env, msg); err != nil {
		return Reply{}, err
	}
	return s.finish()
}

// mayCommit asks whether the message may still be handed over.
func mayCommit(env Envelope, stage Stage) *Error {
	if env.MayCommit == nil {
		return nil
	}
	if err := env.MayCommit(); err != nil {
		return uncommitted(stage, err)
	}
	return nil
}

// uncommitted: the message was kept back on Postern's side.
func uncommitted(stage Stage, cause error) *Error {
	return &Error{Stage: stage, Scope: ScopeSession, Temporary: true, Text: "not handed over: " + cause.Error(), Err: cause}
}

// envelope makes the envelope for the wire and checks it against what the
// relay offers. Except for the sender's address, what does not fit fails this
// recipient alone: messages of a campaign differ in size and in recipients'
// addresses, and finding out costs the relay nothing.
func (s *Session) envelope(env Envelope, msg *Message) (envelope, *Error) {
	e := envelope{size: msg.Size()}
	if limit := s.ext.maxSize; limit > 0 && e.size > limit {
		return e, unsendable(fmt.Sprintf("the message has %d octets, and the relay takes at most %d", e.size, limit))
	}
	from, fromUTF8, err := s.path("sender", env.From)
	if err != nil {
		err.Scope = ScopeCampaign // every message has this sender
		return e, err
	}
	to, toUTF8, err := s.path("recipient", env.To)
	e.from, e.to, e.smtpUTF8 = from, to, fromUTF8 || toUTF8 || msg.SMTPUTF8()
	if err == nil && e.smtpUTF8 && !s.ext.smtpUTF8 {
		err = unsendable(fmt.Sprintf("an address in the header needs a relay with SMTPUTF8, which %s does not offer", s.relay.Addr()))
	}
	return e, err
}

// path makes an address ready for the wire; role is what it is called.
func (s *Session) path(role, address string) (wire string, needsUTF8 bool, failure *Error) {
	wire, needsUTF8, err := WireAddress(address)
	if err != nil {
		return "", false, unsendable(fmt.Sprintf("the %s's address %s", role, err))
	}
	if needsUTF8 && !s.ext.smtpUTF8 {
		return "", false, unsendable(fmt.Sprintf("the %s's address needs a relay with SMTPUTF8, which %s does not offer",
			role, s.relay.Addr()))
	}
	return wire, needsUTF8, nil
}

func unsendable(text string) *Error {
	return &Error{Stage: StageMail, Scope: ScopeRecipient, Text: text}
}

// begin brings the relay to its 354: in one write where it pipelines, else
// command by command. A refusal leaves the session ready for the next message.
func (s *Session) begin(e *envelope) *Error {
	if s.ext.pipelining {
		return s.beginPipelined(e)
	}
	if s.dirty {
		s.queueReset()
		if err := s.flush(StageMail); err != nil {
			return err
		}
		if err := s.resetDone(); err != nil {
			return err
		}
	}
	for _, step := range steps {
		s.queue(step.stage, e)
		if err := s.flush(step.stage); err != nil {
			return err
		}
		if _, err := s.expect(step.stage, step.class); err != nil {
			s.dirty = step.stage != StageMail
			return err
		}
	}
	return nil
}

// step is a command of the envelope and the class of its positive reply.
type step struct {
	stage Stage
	class int
}

// steps is the envelope, in order.
var steps = [...]step{{StageMail, 2}, {StageRcpt, 2}, {StageData, 3}}

// beginPipelined writes the envelope as one group (RFC 2920 3.1). Every reply
// of it is read; the first refusal is the one that says why.
func (s *Session) beginPipelined(e *envelope) *Error {
	wasDirty := s.dirty
	if wasDirty {
		s.queueReset()
	}
	for _, step := range steps {
		s.queue(step.stage, e)
	}
	if err := s.flush(StageMail); err != nil {
		return err
	}
	if wasDirty {
		if err := s.resetDone(); err != nil {
			return err
		}
	}
	return s.readGroup()
}

func (s *Session) readGroup() *Error {
	var refusal *Error
	dataAccepted := false
	for _, step := range steps {
		_, err := s.expect(step.stage, step.class)
		if s.broken {
			return err
		}
		if err == nil {
			dataAccepted = step.stage == StageData
		} else if refusal == nil {
			refusal = err
		}
	}
	if refusal == nil {
		return nil
	}
	s.dirty = true
	if dataAccepted {
		s.sendNothing()
	}
	return refusal
}

// sendNothing ends a message that the relay asks for although it has no
// recipient: a lone dot, whose reply is of no interest (RFC 2920 3.1).
func (s *Session) sendNothing() {
	_, _ = s.bw.WriteString(".\r\n")
	if s.flush(StageDot) != nil {
		return
	}
	s.line.arm(s.timeouts.Dot)
	if r, err := s.replies.read(); err != nil || r.code == codeShuttingDown {
		s.Close()
		return
	}
	s.dirty = false
}

func (s *Session) queueReset() { _, _ = s.bw.WriteString("RSET\r\n") }

// resetDone reads the reply to RSET. A relay that refuses it is in a state
// that nobody knows.
func (s *Session) resetDone() *Error {
	_, err := s.expect(StageMail, 2)
	if err != nil {
		s.Close()
		err.Scope, err.Temporary = ScopeSession, true
		return err
	}
	s.dirty = false
	return nil
}

// queue puts one command of the envelope into the buffer. A failure to write
// shows at the flush.
func (s *Session) queue(stage Stage, e *envelope) {
	w := s.bw
	switch stage {
	case StageMail:
		_, _ = w.WriteString("MAIL FROM:<")
		_, _ = w.WriteString(e.from)
		_ = w.WriteByte('>')
		if s.ext.size {
			_, _ = w.WriteString(" SIZE=")
			_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), e.size, 10))
		}
		if e.smtpUTF8 {
			_, _ = w.WriteString(" SMTPUTF8")
		}
	case StageRcpt:
		_, _ = w.WriteString("RCPT TO:<")
		_, _ = w.WriteString(e.to)
		_ = w.WriteByte('>')
	default:
		_, _ = w.WriteString("DATA")
	}
	_, _ = w.WriteString("\r\n")
}

// finalDot ends a message whose last line is complete.
const finalDot = ".\r\n"

// writeMessage writes the message and its final dot, the latter only when it
// may be committed. A short message and its dot are one write, with the
// question right before it: nothing of it has to wait for the network.
//
// A failure to write is not ambiguous: the dot is the last of the octets, and
// the system did not take them all.
func (s *Session) writeMessage(env Envelope, msg *Message) *Error {
	segments := msg.Segments()
	if msg.Size()+int64(len(finalDot)) <= writeBuffer {
		for _, segment := range segments {
			_, _ = s.bw.Write(segment)
		}
	} else if err := s.writeBlocks(segments); err != nil {
		return err
	}
	if err := mayCommit(env, StageContent); err != nil {
		s.Close()
		return err
	}
	_, _ = s.bw.WriteString(finalDot)
	s.line.arm(s.timeouts.Block)
	if s.observer != nil {
		s.asked = time.Now()
	}
	if err := s.bw.Flush(); err != nil {
		return s.cutOff(err)
	}
	return nil
}

// cutOff is a failure to write a message. A relay that has seen enough of it,
// such as more than it takes, may have said so before it closed.
func (s *Session) cutOff(cause error) *Error {
	s.line.arm(s.timeouts.Quit)
	r, err := s.replies.read()
	if err != nil || r.class() < 4 {
		return s.lost(StageContent, cause)
	}
	s.Close()
	return classify(StageContent, r.reply())
}

// writeBlocks writes a large message block by block, each with its own
// time-out; nothing is copied on a connection without TLS.
func (s *Session) writeBlocks(segments net.Buffers) *Error {
	s.vector = s.vector[:0]
	room := contentBlock
	for _, segment := range segments {
		for len(segment) > 0 {
			n := min(room, len(segment))
			s.vector = append(s.vector, segment[:n])
			segment = segment[n:]
			if room -= n; room > 0 {
				continue
			}
			if err := s.writeVector(); err != nil {
				return err
			}
			room = contentBlock
		}
	}
	return s.writeVector()
}

func (s *Session) writeVector() *Error {
	s.line.arm(s.timeouts.Block)
	var err error
	if s.tls {
		for _, part := range s.vector {
			_, err = s.bw.Write(part) // the buffer remembers a failure
		}
	} else {
		s.blocks = s.vector
		_, err = s.blocks.WriteTo(s.raw)
	}
	s.vector = s.vector[:0]
	if err != nil {
		return s.cutOff(err)
	}
	return nil
}

// finish reads the reply to the final dot.
func (s *Session) finish() (Reply, *Error) {
	r, err := s.expect(StageDot, 2)
	if err != nil {
		return Reply{}, err
	}
	s.sent++
	return r.reply(), nil
}
