package mailer

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"postern/internal/campaign"
)

// pieceKind says what a piece of a letter is.
type pieceKind int

const (
	pieceFixed     pieceKind = iota // octets that all messages share
	pieceTo                         // the recipient's mailbox
	pieceSubject                    // a subject with placeholders
	pieceMessageID                  // the Message-ID
	pieceValue                      // a placeholder in a body
	pieceFile                       // an attachment's body, which all messages share
)

// piece is one step of rendering.
type piece struct {
	kind  pieceKind
	fixed []byte
	// sum is the SHA-256 of an attachment's body.
	sum *[sha256.Size]byte
	// column is the one behind fixed octets, for a value that follows.
	column  int
	value   value
	markup  bool  // the value stands within HTML,
	place   place // there
	join    bool  // text follows the value and was encoded from column 0
	subject []value
}

// value is literal text, or a field's place in Recipient.Values with what
// stands for it when it is empty.
type value struct {
	literal  string
	field    int // an index, or one of the below
	fallback string
}

const (
	fieldNone  = -1 // literal text
	fieldEmail = -2 // the recipient's address
)

// The first two of a letter's fields.
const (
	indexFirstName = 0
	indexLastName  = 1
)

// assembly puts a letter's pieces together. Octets gather in fixed until
// something personal or something large comes.
type assembly struct {
	letter *Letter
	fixed  bodyEncoder
}

// assemble makes the letter. Header fields come in the usual order; what
// goes with them was checked.
func (d *draft) assemble(s structure) *Letter {
	a := assembly{letter: &Letter{fields: d.fields(), smtputf8: d.smtputf8}}
	a.header("Date: ", d.content.Date.UTC().Format(time.RFC1123Z))
	a.mailbox("From: ", d.content.From.Name, d.from)
	if d.replyTo != "" {
		a.mailbox("Reply-To: ", d.content.ReplyTo.Name, d.replyTo)
	}
	a.personal(piece{kind: pieceTo})
	a.subject(d.subject)
	a.personal(piece{kind: pieceMessageID})
	a.header("MIME-Version: ", "1.0")
	a.header("Content-Type: ", s.contentType)
	a.add("\r\n")
	a.add(s.around[0])
	a.body(d.text, false)
	a.add(s.around[1])
	a.body(d.html, true)
	a.add(s.around[2])
	for i, f := range d.content.Attachments {
		a.file(encodeBase64(f.Data))
		a.add(s.around[i+3])
	}
	a.flush()
	return a.letter
}

func (a *assembly) add(octets string) { a.fixed.out = append(a.fixed.out, octets...) }

func (a *assembly) header(name, value string) { a.add(name + value + "\r\n") }

func (a *assembly) mailbox(name, display, address string) {
	a.add(name)
	a.fixed.out = appendMailbox(a.fixed.out, []byte(strings.TrimSpace(display)), address)
	a.add("\r\n")
}

func (a *assembly) subject(t template) {
	if t.personal() {
		p := piece{kind: pieceSubject}
		for _, s := range t {
			p.subject = append(p.subject, a.value(s))
		}
		a.personal(p)
		return
	}
	a.add(subjectName)
	a.fixed.out = appendText(a.fixed.out, []byte(strings.TrimSpace(t[0].literal)))
	a.add("\r\n")
}

// body adds an encoded template. Its first octet stands at column 0.
func (a *assembly) body(t template, markup bool) {
	a.fixed.col = 0
	for i, s := range t {
		if s.field == "" {
			before := len(a.fixed.out)
			a.fixed.text(s.literal)
			a.letter.bodyOctets += len(a.fixed.out) - before
			continue
		}
		// A line break at the start of the text goes to column 0 by itself.
		join := i+1 < len(t) && t[i+1].field == "" && t[i+1].literal[0] != '\n'
		a.personal(piece{kind: pieceValue, value: a.value(s), markup: markup, place: s.place, join: join})
	}
}

// personal adds a piece that is a recipient's own.
func (a *assembly) personal(p piece) {
	a.flush()
	a.letter.pieces = append(a.letter.pieces, p)
}

// file adds an attachment's body, which is never copied and is hashed once.
func (a *assembly) file(octets []byte) {
	a.flush()
	sum := sha256.Sum256(octets)
	a.letter.pieces = append(a.letter.pieces, piece{kind: pieceFile, fixed: octets, sum: &sum})
	a.letter.sharedOctets += int64(len(octets))
}

// flush ends the run of fixed octets. What follows a value is encoded from
// column 0.
func (a *assembly) flush() {
	if len(a.fixed.out) > 0 {
		p := piece{kind: pieceFixed, fixed: slices.Clip(a.fixed.out), column: a.fixed.col}
		a.letter.pieces = append(a.letter.pieces, p)
		a.letter.sharedOctets += int64(len(p.fixed))
	}
	a.fixed = bodyEncoder{}
}

// value finds the place of a placeholder's field.
func (a *assembly) value(s span) value {
	switch s.field {
	case "":
		return value{literal: s.literal, field: fieldNone}
	case campaign.FieldEmail:
		return value{field: fieldEmail, fallback: s.fallback}
	}
	return value{field: slices.Index(a.letter.fields, s.field), fallback: s.fallback}
}
