// Package redact is the one door through which log lines leave: it puts keyed
// digests in the place of people's addresses. It works on the finished line,
// so no caller can forget it, whether the address came in a relay's reply, an
// error of the store or a panic.
//
// The digest is the beginning of HMAC-SHA-256 (RFC 2104) over campaign.Key of
// the address: the same person has the same digest in all lines of all tasks
// that share the key, and without the key nobody can try addresses out.
//
// What looks like an address and is none, such as a quoted local part, goes
// too; it rather takes a word too many than one too few. A local part alone,
// with no at-sign behind it, is a word like any other and stays.
package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"postern/internal/campaign"
)

// unreadable stands for what was written like an address and is none.
const unreadable = "[address]"

// digestOctets of a digest are shown.
const digestOctets = 6

// Writer passes on what is written to it, line by line, without addresses.
type Writer struct {
	to  io.Writer
	key []byte
}

// NewWriter makes a Writer. Each Write must have whole lines.
func NewWriter(to io.Writer, key []byte) *Writer { return &Writer{to: to, key: bytes.Clone(key)} }

// Write writes the line on. The length is that of the line as it came.
func (w *Writer) Write(line []byte) (int, error) {
	if _, err := w.to.Write(Line(line, w.key)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// Line gives a line with "[address:digest]" in the place of each address, and
// "[address]" where only the form is that of one. A line that begins with a
// brace is JSON, and stays JSON. One without addresses comes back as it is.
// The time is in proportion to the line.
func Line(line, key []byte) []byte {
	s := scanner{text: text{line: line, json: len(line) > 0 && line[0] == '{'}, key: key}
	s.begin()
	for i := 0; i < len(line); {
		if end := s.address(i); end > i {
			i = end
			continue
		}
		r, n := s.at(i)
		s.read(r, i, i+n)
		i += n
	}
	if s.done == 0 {
		return line
	}
	return append(s.out, line[s.done:]...)
}

// Address is what stands in the log for an address.
func Address(a string, key []byte) string {
	if campaign.CheckAddress(a) != nil {
		return unreadable
	}
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, campaign.Key(a)) // a hash takes everything
	return "[address:" + hex.EncodeToString(mac.Sum(nil)[:digestOctets]) + "]"
}
