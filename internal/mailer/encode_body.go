package mailer

// maxBodyLine is the longest line of quoted-printable text without the "="
// of its soft line break (RFC 2045 6.7 (5)).
const maxBodyLine = 75

const softBreak = "=\r\n"

// bodyEncoder writes quoted-printable text (RFC 2045 6.7) piece by piece, so
// that pieces which were encoded apart make one text: it knows the column it
// is at, encodes white space at a piece's end, since a line break may follow,
// and never lets a line start with a dot, so that the text needs no
// dot-stuffing (RFC 5321 4.5.2).
//
// Bodies are quoted-printable whatever their script is. Base64 would be
// shorter for text that is mostly not ASCII, but its groups of three octets
// reach across the border of a personal value, so that everything behind a
// value would have to be encoded anew for every recipient.
type bodyEncoder struct {
	out []byte
	col int
}

// text writes s. CRLF, CR and LF all become CRLF.
func (e *bodyEncoder) text(s string) {
	for i := 0; i < len(s); i++ {
		i = e.octet(s, i)
	}
}

// octet writes s[i] and gives the index of the last octet that it wrote.
func (e *bodyEncoder) octet(s string, i int) int {
	switch c := s[i]; {
	case c == '\r' && i+1 < len(s) && s[i+1] == '\n':
		e.hardBreak()
		return i + 1
	case c == '\r' || c == '\n':
		e.hardBreak()
	case (c == ' ' || c == '\t') && (i+1 == len(s) || s[i+1] == '\r' || s[i+1] == '\n'):
		e.hex(c)
	case c >= ' ' && c <= '~' && c != '=' || c == '\t':
		e.literal(c)
	default:
		e.hex(c)
	}
	return i
}

func (e *bodyEncoder) literal(c byte) {
	if e.col >= maxBodyLine {
		e.join()
	}
	if e.col == 0 && c == '.' {
		e.hex(c)
		return
	}
	e.out = append(e.out, c)
	e.col++
}

func (e *bodyEncoder) hex(c byte) {
	if e.col+len("=XX") > maxBodyLine {
		e.join()
	}
	e.out = append(e.out, '=', upperHex[c>>4], upperHex[c&15])
	e.col += len("=XX")
}

func (e *bodyEncoder) hardBreak() {
	e.out = append(e.out, "\r\n"...)
	e.col = 0
}

// join goes to the start of a line without breaking the text's own line, so
// that a piece which was encoded from there can follow.
func (e *bodyEncoder) join() {
	if e.col > 0 {
		e.out = append(e.out, softBreak...)
		e.col = 0
	}
}
