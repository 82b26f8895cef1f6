package mailer

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"postern/internal/campaign"
)

// envelope is an Envelope as it goes over the wire.
type envelope struct {
	from, to string
	size     int64
	smtpUTF8 bool
}

// soundAddress is an address that passed campaign.WireAddress, as it was given
// and as it goes over the wire; the zero one is none.
type soundAddress struct {
	address, wire string
	smtpUTF8      bool
}

// is says whether address is the one that passed.
func (a *soundAddress) is(address string) bool { return a.address == address && address != "" }

// envelope makes the envelope for the wire and checks it against what the
// relay offers. What all messages have in common, the sender's address and the
// letter's own octets, stops the campaign where it does not fit; otherwise that
// fails this recipient alone: messages of a campaign differ in size and in
// recipients' addresses, and finding out costs the relay nothing.
func (s *Session) envelope(m *Mail) (envelope, *Error) {
	e := envelope{size: m.Message.Size()}
	if err := s.checkSize(m.Message); err != nil {
		return e, err
	}
	if err := s.checkSender(m.From); err != nil {
		err.Scope = ScopeCampaign // every message has this sender
		return e, err
	}
	to, toUTF8, err := s.recipient(m)
	e.from, e.to, e.smtpUTF8 = s.sender.wire, to, s.sender.smtpUTF8 || toUTF8 || m.Message.SMTPUTF8()
	if err == nil && e.smtpUTF8 && !s.ext.smtpUTF8 {
		err = unsendable(fmt.Sprintf("an address in the header needs a relay with SMTPUTF8, which %s does not offer", s.relay.Addr()))
	}
	return e, err
}

// checkSize holds a message to the relay's SIZE (RFC 1870 section 5) before
// MAIL.
func (s *Session) checkSize(m *Message) *Error {
	limit := s.ext.maxSize
	switch {
	case limit == 0 || m.size <= limit:
		return nil
	case m.shared > limit:
		err := unsendable(fmt.Sprintf("the letter with its attachments has %d octets before anything personal, and the relay takes at most %d (SIZE)",
			m.shared, limit))
		err.Scope = ScopeCampaign
		return err
	default:
		return unsendable(fmt.Sprintf("the message has %d octets, and the relay takes at most %d (SIZE)", m.size, limit))
	}
}

func (s *Session) checkSender(from string) *Error {
	if s.sender.is(from) {
		return nil
	}
	wire, utf8, err := s.path("sender", from)
	if err != nil {
		return err
	}
	s.sender = soundAddress{address: from, wire: wire, smtpUTF8: utf8}
	return nil
}

// recipient makes the recipient's address ready for the wire. Mostly it is that
// of the message's header, where it is so already.
func (s *Session) recipient(m *Mail) (wire string, needsUTF8 bool, failure *Error) {
	if to := &m.Message.to; to.is(m.To) {
		return to.wire, to.smtpUTF8, s.takes("recipient", to.smtpUTF8)
	}
	return s.path("recipient", m.To)
}

// path makes an address ready for the wire; role is what it is called.
func (s *Session) path(role, address string) (wire string, needsUTF8 bool, failure *Error) {
	wire, needsUTF8, err := campaign.WireAddress(address)
	if err != nil {
		return "", false, unsendable(fmt.Sprintf("the %s's address %s", role, err))
	}
	return wire, needsUTF8, s.takes(role, needsUTF8)
}

// takes holds an address to what the relay offers.
func (s *Session) takes(role string, needsUTF8 bool) *Error {
	if needsUTF8 && !s.ext.smtpUTF8 {
		return unsendable(fmt.Sprintf("the %s's address needs a relay with SMTPUTF8, which %s does not offer",
			role, s.relay.Addr()))
	}
	return nil
}

func unsendable(text string) *Error {
	return &Error{Stage: StageMail, Scope: ScopeRecipient, Text: text}
}

// step is a command of the envelope and the class of its positive reply.
type step struct {
	stage Stage
	class int
}

// steps is the envelope, in order.
var steps = [...]step{{StageMail, 2}, {StageRcpt, 2}, {StageData, 3}}

// queue puts one command of the envelope into the next write.
func (s *Session) queue(stage Stage, e *envelope) {
	switch stage {
	case StageMail:
		s.out = append(s.out, "MAIL FROM:<"...)
		s.out = append(s.out, e.from...)
		s.out = append(s.out, '>')
		if s.ext.size {
			s.out = append(s.out, " SIZE="...)
			s.out = strconv.AppendInt(s.out, e.size, 10)
		}
		if e.smtpUTF8 {
			s.out = append(s.out, " SMTPUTF8"...)
		}
	case StageRcpt:
		s.out = append(s.out, "RCPT TO:<"...)
		s.out = append(s.out, e.to...)
		s.out = append(s.out, '>')
	default:
		s.out = append(s.out, "DATA"...)
	}
	s.out = append(s.out, "\r\n"...)
}

// queueGroup puts the whole envelope into the next write (RFC 2920 3.1).
func (s *Session) queueGroup(e *envelope) {
	for _, step := range steps {
		s.queue(step.stage, e)
	}
}

// lookAhead puts the envelope of the message that follows into the write that
// ends the present one. It says no where that cannot be.
func (s *Session) lookAhead(next *Mail) bool {
	if next == nil || !s.ext.pipelining {
		return false
	}
	wire, err := s.envelope(next)
	if err != nil || mayBegin(next) != nil {
		return false
	}
	s.queueGroup(&wire)
	return true
}

// beginByStep waits for the reply to each command.
func (s *Session) beginByStep(m *Mail, e *envelope) *Error {
	if s.dirty {
		s.queueReset()
		if err := s.flush(StageMail); err != nil {
			return err
		}
		if err := s.resetDone(); err != nil {
			return err
		}
	}
	if err := mayBegin(m); err != nil {
		return err
	}
	for _, step := range steps {
		if err := s.unasked(step.stage); err != nil {
			return err
		}
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

// beginPipelined writes the envelope as one group.
func (s *Session) beginPipelined(m *Mail, e *envelope) *Error {
	if err := mayBegin(m); err != nil {
		return err
	}
	if s.dirty {
		s.queueReset()
	}
	s.queueGroup(e)
	if err := s.flush(StageMail); err != nil {
		return err
	}
	if s.dirty {
		if err := s.resetDone(); err != nil {
			return err
		}
	}
	return s.readGroup()
}

// readAhead reads the replies to an envelope that went behind a final dot. A
// relay that says there of MAIL that it is out of sequence, or nothing at all,
// did not see the group for what it was; nobody's sender is refused by that.
func (s *Session) readAhead() *Error {
	err := s.readGroup()
	switch {
	case err == nil:
	case err.Stage == StageMail && err.Code == codeBadSequence:
		s.misstep()
		s.Close()
		err.Scope, err.Temporary = ScopeSession, true
	case errors.Is(err.Err, os.ErrDeadlineExceeded):
		s.misstep()
	}
	return err
}

// readGroup reads every reply to the envelope; the first refusal is the one
// that says why.
func (s *Session) readGroup() *Error {
	var refusal *Error
	var accepted [len(steps)]bool
	for i, step := range steps {
		_, err := s.expect(step.stage, step.class)
		switch {
		case err == nil:
			accepted[i] = true
		case s.broken:
			return decisive(refusal, err)
		case refusal == nil:
			refusal = err
		}
	}
	if refusal != nil {
		s.endRefused(accepted[1], accepted[2])
	}
	return refusal
}

// decisive is the failure that counts of a group that broke: a refusal that
// came before stands, unless the replies were out of step and so may not be
// those that they seem.
func decisive(refusal, broke *Error) *Error {
	lost := broke.Code == 0 && !isMalformed(broke.Err)
	if refusal != nil && (lost || broke.Code == codeShuttingDown) {
		return refusal
	}
	return broke
}

// endRefused brings a session on from an envelope that was refused. A relay
// that asks for the message all the same gets a lone dot, if it has no
// recipient (RFC 2920 3.1); if it took one, that would be a message.
func (s *Session) endRefused(hasRecipient, asksForData bool) {
	switch {
	case !asksForData:
		s.dirty = true
	case hasRecipient || s.br.Buffered() > 0:
		s.misstep()
		s.Close()
	default:
		s.sendNothing()
	}
}

// sendNothing ends a message that is none with a lone dot, whose reply is of
// no interest.
func (s *Session) sendNothing() {
	s.out = append(s.out[:0], finalDot...)
	if s.flush(StageDot) != nil {
		return
	}
	if r, err := s.await(s.timeouts.Dot); err != nil || r.code == codeShuttingDown {
		s.Close()
	}
}

func (s *Session) queueReset() { s.out = append(s.out[:0], "RSET\r\n"...) }

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
