// Package redact is the one door through which log lines leave: it puts keyed
// digests in the place of people's addresses. It works on the finished line,
// so no caller can forget it, whether the address came in a relay's reply, an
// error of the store or a panic.
//
// The digest is the beginning of HMAC-SHA-256 (RFC 2104) over campaign.Key of
// the address: the same person has the same digest in all lines of all tasks
// that share the key, and without the key nobody can try addresses out.
package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"regexp"

	"postern/internal/campaign"
)

// address finds what may be a mailbox by campaign.CheckAddress, or one in a
// URL. JSON's escapes in front of it (\n, \u003c) are no part of it; one within
// it can only be that of "&".
var address = regexp.MustCompile(
	`((?:\\u[0-9a-fA-F]{4}|\\[^u])*)` +
		"((?:\\\\u0026|[\\pL\\pM\\pN.!#$%&'*+\\-/=?^_`{|}~])+)" +
		`(?:@|%40)([\pL\pM\pN](?:[\pL\pM\pN.-]*[\pL\pM\pN])?)`)

// module is a Go module with its version, as in the files of a stack trace.
var module = regexp.MustCompile(`/[^/@]*@v[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9a-zA-Z.-]*)?$`)

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

// Line gives a line, which may be JSON, with "[address:digest]" in the place
// of each address. One without addresses comes back as it is.
func Line(line, key []byte) []byte {
	if bytes.IndexByte(line, '@') < 0 && !bytes.Contains(line, []byte("%40")) {
		return line
	}
	var out []byte
	end := 0
	for _, m := range address.FindAllSubmatchIndex(line, -1) {
		local, domain := line[m[4]:m[5]], line[m[6]:m[7]]
		escape := m[2] == m[3] && m[4] > 0 && line[m[4]-1] == '\\' // and no local part behind it
		if escape || module.Match(line[m[4]:m[1]]) {
			continue
		}
		local = bytes.ReplaceAll(local, []byte(`\u0026`), []byte("&"))
		out = append(out, line[end:m[4]]...)
		out = append(out, Address(string(local)+"@"+string(domain), key)...)
		end = m[1]
	}
	return append(out, line[end:]...)
}

// Address is what stands in the log for an address.
func Address(a string, key []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, campaign.Key(a)) // a hash takes everything
	return "[address:" + hex.EncodeToString(mac.Sum(nil)[:digestOctets]) + "]"
}
