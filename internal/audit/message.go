package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"mime"
	"net/mail"

	"postern/internal/campaign"
)

// maxNesting bounds multiparts within multiparts.
const maxNesting = 20

// part is a piece of a message: octets from start to end.
type part struct{ start, end int }

// MessageDigest makes the digest of a message from its octets as they crossed
// the wire: lines end in CRLF, dot-stuffing is undone. The message is cut in
// front of and behind the body of each MIME part whose header has
// "Content-Disposition: attachment", and the digest is SHA-256 over the SHA-256
// digests of the pieces, one behind the other. The error says what is no
// message, or no multipart as its header announces one.
func MessageDigest(raw []byte) (campaign.Hash, error) {
	files, err := attachments(raw, part{0, len(raw)}, 0)
	if err != nil {
		return campaign.Hash{}, err
	}
	var sums []byte
	add := func(piece []byte) {
		sum := sha256.Sum256(piece)
		sums = append(sums, sum[:]...)
	}
	start := 0
	for _, f := range files {
		add(raw[start:f.start])
		add(raw[f.start:f.end])
		start = f.end
	}
	add(raw[start:])
	return sha256.Sum256(sums), nil
}

// WithoutTrace gives a message from its header field Date on, which is the first
// that Postern sends: relays put their own in front (RFC 5321 4.4). It gives
// the message as it is where the header has no Date, or begins with it.
func WithoutTrace(raw []byte) []byte {
	header, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	for start := 0; start < len(header); start = lineEnd(raw, start) {
		if name, _, found := bytes.Cut(header[start:], []byte(":")); found && bytes.EqualFold(name, []byte("Date")) {
			return raw[start:]
		}
	}
	return raw
}

// attachments gives the bodies of the attachments in a part with its header,
// or in the whole message.
func attachments(raw []byte, whole part, depth int) ([]part, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("it has more than %d multiparts within each other", maxNesting)
	}
	header, body, err := splitHeader(raw, whole)
	if err != nil {
		return nil, err
	}
	if disposition, _, err := mime.ParseMediaType(header.Get("Content-Disposition")); err == nil && disposition == "attachment" && depth > 0 {
		return []part{body}, nil
	}
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || !bytes.HasPrefix([]byte(kind), []byte("multipart/")) {
		return nil, nil //nolint:nilerr // a part of a kind that cannot be read is no multipart
	}
	parts, err := bodyParts(raw, body, params["boundary"])
	if err != nil {
		return nil, err
	}
	var found []part
	for _, p := range parts {
		inner, err := attachments(raw, p, depth+1)
		if err != nil {
			return nil, err
		}
		found = append(found, inner...)
	}
	return found, nil
}

// splitHeader reads the header of a part, and says where its body is: behind
// the empty line.
func splitHeader(raw []byte, whole part) (mail.Header, part, error) {
	text := raw[whole.start:whole.end]
	if bytes.HasPrefix(text, []byte("\r\n")) { // a part without a header
		return mail.Header{}, part{whole.start + 2, whole.end}, nil
	}
	end := bytes.Index(text, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, part{}, errors.New("a header has no empty line behind it; do its lines end in CRLF?")
	}
	m, err := mail.ReadMessage(bytes.NewReader(text[:end+4]))
	if err != nil {
		return nil, part{}, fmt.Errorf("a header cannot be read: %w", err)
	}
	return m.Header, part{whole.start + end + 4, whole.end}, nil
}

// bodyParts cuts a multipart's body at its delimiters (RFC 2046 5.1.1). The
// CRLF in front of a delimiter belongs to it, and what is in front of the first
// and behind the last is no part.
func bodyParts(raw []byte, body part, boundary string) ([]part, error) {
	if boundary == "" {
		return nil, errors.New("a multipart has no boundary")
	}
	var parts []part
	start := -1 // of the part at hand
	for line := body.start; line < body.end; {
		next := lineEnd(raw[:body.end], line)
		if isLast, is := delimiter(raw[line:next], boundary); is {
			if start >= 0 && line-2 >= start {
				parts = append(parts, part{start, line - 2})
			}
			if isLast {
				return parts, nil
			}
			start = next
		}
		line = next
	}
	return nil, errors.New("a multipart's last delimiter is missing")
}

// lineEnd is where the line that begins at start ends, CRLF included.
func lineEnd(raw []byte, start int) int {
	if i := bytes.Index(raw[start:], []byte("\r\n")); i >= 0 {
		return start + i + 2
	}
	return len(raw)
}

// delimiter says whether a line is a delimiter, and whether it is the last.
func delimiter(line []byte, boundary string) (last, is bool) {
	rest, is := bytes.CutPrefix(line, []byte("--"+boundary))
	if !is {
		return false, false
	}
	rest, last = bytes.CutPrefix(rest, []byte("--"))
	return last, len(bytes.TrimRight(rest, " \t\r\n")) == 0
}
