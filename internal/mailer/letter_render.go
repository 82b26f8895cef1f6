package mailer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode/utf8"

	"postern/internal/campaign"
)

const (
	toName        = "To: "
	subjectName   = "Subject: "
	messageIDName = "Message-ID: "
)

const (
	// maxSubjectOctets bounds a subject with the fields filled in.
	maxSubjectOctets = 2000
	// maxCopied is how long a shared piece may be to be copied in between
	// personal ones. Copying so few octets costs less than one more segment.
	maxCopied = 1 << 10
	// maxKeptScratch is how much of its buffers a message keeps for the next
	// recipient, so that one with unusually long values is not remembered in
	// memory for ever.
	maxKeptScratch = 64 << 10
)

// mark is where a shared segment stands between the octets of scratch, which
// may move while it grows.
type mark struct {
	end    int // of the scratch octets before the segment
	shared []byte
	file   *[sha256.Size]byte // the segment's SHA-256 where it is an attachment's body
}

// Render makes the message for a recipient, whose values are those of
// Fields, in that order. messageID is what MessageID gave.
//
// The error is an *Error of StageLetter, permanent, and concerns this
// recipient only (a value that cannot be in a header, text that is too long),
// except where the values are not those of Fields, which concerns the
// campaign. m holds no message after an error.
func (l *Letter) Render(m *Message, r campaign.Recipient, messageID string) error {
	m.reset()
	if len(r.Values) != len(l.fields) {
		return &Error{Stage: StageLetter, Scope: ScopeCampaign,
			Text: fmt.Sprintf("recipient has %d values, the letter needs %d", len(r.Values), len(l.fields))}
	}
	w := renderer{letter: l, recipient: r, message: m}
	w.enc.out = m.scratch
	for i := range l.pieces {
		if err := w.piece(&l.pieces[i], messageID); err != nil {
			m.scratch = w.enc.out
			m.reset()
			return err
		}
	}
	m.scratch = w.enc.out
	m.ID, m.shared = messageID, l.sharedOctets
	m.smtputf8 = w.smtputf8 || l.smtputf8
	m.finish()
	return nil
}

// Reset empties the message, so that it keeps no letter's octets from being
// freed. It is for a message that is rendered again only later, or never.
func (m *Message) Reset() { m.reset() }

// reset empties the message and keeps its buffers.
func (m *Message) reset() {
	if cap(m.scratch) > maxKeptScratch {
		m.scratch = nil
	}
	clear(m.marks)
	clear(m.segments)
	clear(m.files)
	*m = Message{
		segments: m.segments[:0], scratch: m.scratch[:0], files: m.files[:0],
		marks: m.marks[:0], text: m.text[:0], digester: m.digester,
	}
}

// finish makes segments of what was rendered.
func (m *Message) finish() {
	start := 0
	m.marks = append(m.marks, mark{end: len(m.scratch)})
	for _, k := range m.marks {
		if k.end > start {
			m.segments = append(m.segments, m.scratch[start:k.end:k.end])
		}
		if k.file != nil {
			m.files = append(m.files, fileSegment{index: len(m.segments), sum: k.file})
		}
		if len(k.shared) > 0 || k.file != nil {
			m.segments = append(m.segments, k.shared)
		}
		m.size += int64(k.end-start) + int64(len(k.shared))
		start = k.end
	}
}

// renderer renders one message.
type renderer struct {
	letter    *Letter
	recipient campaign.Recipient
	message   *Message
	enc       bodyEncoder // writes to the message's scratch
	octets    int         // personal ones of the bodies
	smtputf8  bool
}

func (w *renderer) piece(p *piece, messageID string) error {
	switch p.kind {
	case pieceFixed:
		w.fixed(p)
	case pieceFile:
		w.share(p)
	case pieceTo:
		return w.to()
	case pieceSubject:
		return w.subject(p.subject)
	case pieceMessageID:
		w.enc.out = append(w.enc.out, messageIDName+"<"...)
		w.enc.out = append(w.enc.out, messageID...)
		w.enc.out = append(w.enc.out, ">\r\n"...)
	case pieceValue:
		return w.value(p)
	}
	return nil
}

func (w *renderer) fixed(p *piece) {
	w.enc.col = p.column
	if len(p.fixed) <= maxCopied {
		w.enc.out = append(w.enc.out, p.fixed...)
		return
	}
	w.share(p)
}

// share adds a piece as a segment of its own, which is the letter's.
func (w *renderer) share(p *piece) {
	w.message.marks = append(w.message.marks, mark{end: len(w.enc.out), shared: p.fixed, file: p.sum})
}

// of gives a placeholder's text.
func (w *renderer) of(v value) string {
	text := v.literal
	switch {
	case v.field == fieldEmail:
		text = w.recipient.Address
	case v.field >= 0:
		text = w.recipient.Values[v.field]
	}
	if text == "" {
		return v.fallback
	}
	return text
}

// value writes a placeholder of a body.
func (w *renderer) value(p *piece) error {
	text := w.of(p.value)
	if len(text) > maxPersonalOctets {
		return w.tooLong(p.value)
	}
	if !utf8.ValidString(text) {
		return w.refuse(p.value, "must be valid UTF-8")
	}
	before := len(w.enc.out)
	if p.markup {
		w.enc.markup(text, p.place)
	} else {
		w.enc.text(text)
	}
	if p.join {
		w.enc.join()
	}
	if w.octets += len(w.enc.out) - before; w.octets > maxPersonalOctets {
		return w.tooLong(p.value)
	}
	return nil
}

// to writes the To field: the address with the contact's name.
func (w *renderer) to() error {
	address, smtputf8, err := campaign.WireAddress(w.recipient.Address)
	if err != nil {
		return w.refuse(value{field: fieldEmail}, err.Error())
	}
	w.smtputf8 = smtputf8
	w.message.to = soundAddress{address: w.recipient.Address, wire: address, smtpUTF8: smtputf8}
	name := w.message.text[:0]
	for _, i := range []int{indexFirstName, indexLastName} {
		part := w.recipient.Values[i]
		if err := checkName(part); err != nil {
			return w.refuse(value{field: i}, err.Error())
		}
		part = strings.TrimSpace(part)
		if len(name) > 0 && part != "" {
			name = append(name, ' ')
		}
		name = append(name, part...)
	}
	w.message.text = name
	w.enc.out = append(w.enc.out, toName...)
	w.enc.out = appendMailbox(w.enc.out, name, address)
	w.enc.out = append(w.enc.out, "\r\n"...)
	return nil
}

// subject writes the Subject field. White space around it, as an empty field
// leaves it, goes.
func (w *renderer) subject(values []value) error {
	text := w.message.text[:0]
	for _, v := range values {
		part := w.of(v)
		if len(text)+len(part) > maxSubjectOctets {
			return refusal("the subject is longer than %d octets with the contact's fields", maxSubjectOctets)
		}
		if v.field != fieldNone {
			if err := campaign.CheckHeaderText(part); err != nil {
				return w.refuse(v, err.Error())
			}
		}
		text = append(text, part...)
	}
	w.message.text = text
	w.enc.out = append(w.enc.out, subjectName...)
	w.enc.out = appendText(w.enc.out, bytes.TrimSpace(text))
	w.enc.out = append(w.enc.out, "\r\n"...)
	return nil
}

func (w *renderer) tooLong(v value) error {
	return w.refuse(v, fmt.Sprintf("makes what its fields fill in longer than %d octets", maxPersonalOctets))
}

// refuse is the failure of a recipient whose field breaks a rule.
func (w *renderer) refuse(v value, rule string) error {
	field := campaign.FieldEmail
	if v.field >= 0 {
		field = w.letter.fields[v.field]
	}
	return refusal("the contact's %s %s", field, rule)
}

// refusal names fields and not what they hold, which is the contact's own
// business.
func refusal(format string, args ...any) error {
	return &Error{Stage: StageLetter, Scope: ScopeRecipient, Text: fmt.Sprintf(format, args...)}
}
