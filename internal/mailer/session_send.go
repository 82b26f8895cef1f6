package mailer

import (
	"context"
	"fmt"
)

// Send hands a message over and gives the relay's 250. Errors are *Error; once
// ctx ends they wrap its error. After a refusal the session goes on, and
// Usable says whether it does.
//
// Where the relay offers PIPELINING (RFC 2920), MAIL, RCPT and DATA are one
// write, and those of next, which may be nil, go in the same write right
// behind m's final dot, so that a message costs one round trip. Then Begun
// says so of next, and the next call is Send for it, the same Mail with its
// message as it was, or Drop. A next that may not begin, or that the relay
// cannot be given, is simply not begun, and its own Send will say why.
//
// No more than m is ever with the relay and unanswered: of next it has the
// envelope, never a final dot, so that a session that breaks leaves nobody in
// doubt about next.
func (s *Session) Send(ctx context.Context, m, next *Mail) (Reply, error) {
	if s.ahead != nil && s.ahead != m {
		s.Drop(ctx)
	}
	if s.broken {
		return Reply{}, s.failed(&Error{Stage: StageMail, Scope: ScopeSession, Temporary: true, Text: "the session is closed"})
	}
	if err := ctx.Err(); err != nil {
		s.abandon()
		return Reply{}, s.failed(uncommitted(StageMail, err))
	}
	s.line.begin(ctx)
	reply, failure := s.transact(m, next)
	return reply, s.settle(ctx, failure)
}

// Begun says whether m's envelope is with the relay already, by a Send whose
// next it was.
func (s *Session) Begun(m *Mail) bool { return m != nil && s.ahead == m }

// Drop calls the envelope that is ahead off, if there is one. The session goes
// on where the relay has refused it. Where it has not, it waits for content,
// which only closing the connection keeps it from taking for a message: Usable
// says which. The end of ctx interrupts it.
func (s *Session) Drop(ctx context.Context) {
	if s.ahead == nil {
		return
	}
	if ctx.Err() != nil {
		s.abandon()
		return
	}
	s.line.begin(ctx)
	s.callOff()
	if s.line.end() {
		s.Close()
	}
}

func (s *Session) callOff() {
	s.ahead = nil
	if s.readAhead() == nil {
		s.Close()
	}
	if s.broken || !s.dirty {
		return
	}
	s.queueReset()
	if s.flush(StageMail) == nil {
		_ = s.resetDone() // closes the session where it fails
	}
}

// abandon closes a session whose relay has an envelope that nothing follows.
func (s *Session) abandon() {
	if s.ahead != nil {
		s.Close()
	}
}

func (s *Session) transact(m, next *Mail) (Reply, *Error) {
	if err := s.begin(m); err != nil {
		return Reply{}, err
	}
	if err := s.commit(m, next); err != nil {
		return Reply{}, err
	}
	if m.Meanwhile != nil {
		m.Meanwhile()
	}
	return s.finish()
}

// begin brings the relay to its 354. A refusal leaves the session ready for
// the next message.
func (s *Session) begin(m *Mail) *Error {
	if s.ahead != nil {
		s.ahead = nil
		return s.readAhead()
	}
	wire, err := s.envelope(m)
	if err != nil {
		return err
	}
	if err := s.unasked(StageMail); err != nil {
		return err
	}
	if s.ext.pipelining {
		return s.beginPipelined(m, &wire)
	}
	return s.beginByStep(m, &wire)
}

// finish reads the reply to the final dot.
func (s *Session) finish() (Reply, *Error) {
	r, err := s.expect(StageDot, 2)
	if s.ending {
		s.Close()
	}
	if err != nil {
		return Reply{}, err
	}
	s.sent++
	return s.positive(r), nil
}

// mayBegin asks whether the message may be begun, right before that is done.
func mayBegin(m *Mail) *Error {
	if err := mayCommit(m, StageMail); err != nil {
		return err
	}
	if m.MayBegin == nil {
		return nil
	}
	if err := m.MayBegin(); err != nil {
		return uncommitted(StageMail, err)
	}
	return nil
}

// mayCommit asks whether the message may still be handed over.
func mayCommit(m *Mail, stage Stage) *Error {
	if m.MayCommit == nil {
		return nil
	}
	if err := m.MayCommit(); err != nil {
		return uncommitted(stage, err)
	}
	return nil
}

// uncommitted: the message was kept back on Postern's side.
func uncommitted(stage Stage, cause error) *Error {
	return &Error{Stage: stage, Scope: ScopeSession, Temporary: true, Text: "not handed over: " + cause.Error(), Err: cause}
}

// unasked looks for a reply that came before anything asked for it. The reply
// to the next command would be taken for that of the one behind it, and so a
// message for taken that was not: the session is over. In the middle of a
// message a relay may refuse the rest of it.
func (s *Session) unasked(stage Stage) *Error {
	if s.br.Buffered() == 0 {
		return nil
	}
	r, err := s.await(s.timeouts.Quit)
	if err != nil {
		return s.lost(stage, err)
	}
	s.Close()
	refused := stage == StageContent && r.class() >= 4
	if refused || r.code == codeShuttingDown {
		return classify(stage, r.reply())
	}
	s.misstep()
	return &Error{Stage: stage, Scope: ScopeSession, Temporary: true,
		Text: fmt.Sprintf("the relay answered %d where nothing was asked", r.code)}
}
