package redact

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

// text is a line whose characters may be JSON's escapes.
type text struct {
	line []byte
	json bool
}

// escapes are those of JSON with one letter (RFC 8259 7), and what they mean.
const (
	escapes = `"\/bfnrt`
	escaped = "\"\\/\b\f\n\r\t"
)

// at gives the character at i and its length in the line; the length is 0 at
// the line's end.
func (t text) at(i int) (r rune, n int) {
	if i >= len(t.line) {
		return 0, 0
	}
	if c := t.line[i]; c < utf8.RuneSelf && (c != '\\' || !t.json || i+1 == len(t.line)) {
		return rune(c), 1
	}
	if t.line[i] != '\\' {
		return utf8.DecodeRune(t.line[i:])
	}
	if at := strings.IndexByte(escapes, t.line[i+1]); at >= 0 {
		return rune(escaped[at]), 2
	}
	if t.line[i+1] == 'u' && i+6 <= len(t.line) {
		var code [2]byte
		if _, err := hex.Decode(code[:], t.line[i+2:i+6]); err == nil {
			return rune(binary.BigEndian.Uint16(code[:])), 6
		}
	}
	return '\\', 1
}

// spellings of the at-sign other than the character: as URLs, HTML,
// quoted-printable (RFC 2045 6.7), programs and people write it. One that is
// not sure needs a full domain behind it.
var spellings = []struct {
	text string // small letters may be capitals in the line
	sure bool
}{
	{"%40", true},
	{"%ef%bc%a0", true},
	{"&#64;", true},
	{"&#x40;", true},
	{"&commat;", true},
	{`\u0040`, true},
	{`\x40`, true},
	{"(at)", true},
	{"[at]", true},
	{"{at}", true},
	{"<at>", true},
	{"=40", false},
	{" AT ", false},
}

// atSign gives the length of the at-sign at i, 0 if there is none.
func (t text) atSign(i int) (n int, sure bool) {
	r, n := t.at(i)
	switch {
	case r == '@' || r == '\uff20' || r == '\ufe6b':
		return n, true
	case n == 0 || !strings.ContainsRune(`%&\([{<= `, r):
		return 0, false
	}
	if n := t.percent(i); n > 0 {
		return n, true
	}
	for _, s := range spellings {
		if n := t.match(i, s.text); n > 0 {
			return n, s.sure
		}
	}
	return 0, false
}

// percent is "%40" encoded once more, or more often.
func (t text) percent(i int) int {
	end := i + t.match(i, "%25")
	if end == i {
		return 0
	}
	for n := t.match(end, "25"); n > 0; n = t.match(end, "25") {
		end += n
	}
	n := t.match(end, "40")
	if n == 0 {
		return 0
	}
	return end + n - i
}

// match gives the length of s at i, 0 if it is not there.
func (t text) match(i int, s string) int {
	end := i
	for _, want := range s {
		r, n := t.at(end)
		if n == 0 || r != want && (want < 'a' || want > 'z' || r != unicode.ToUpper(want)) {
			return 0
		}
		end += n
	}
	return end - i
}

// domain is what stands behind an at-sign. full says that it is a name that
// the DNS can have: two labels or more, of which the last begins with a letter.
type domain struct {
	start, end int // the end is 0 if there is none
	full       bool
}

// domain reads the domain or address literal at i; behind white space only a
// full domain.
func (t text) domain(i int) domain {
	spaced := false
	for r, n := t.at(i); n > 0 && (unicode.IsSpace(r) || isInvisible(r) || r == '\\'); r, n = t.at(i) {
		spaced = spaced || unicode.IsSpace(r)
		i += n
	}
	d := t.name(i)
	if r, n := t.at(i); r == '[' {
		d.end = t.literal(i + n)
	}
	if spaced && !d.full {
		return domain{}
	}
	return d
}

func (t text) name(i int) domain {
	d := domain{start: i}
	dots, first := 0, true
	for {
		r, n := t.at(i)
		i += n
		switch {
		case strings.ContainsRune(".\u3002\uff0e\uff61", r):
			dots, first = dots+1, true
		case n > 0 && (unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r)):
			if first {
				d.full = dots > 0 && unicode.IsLetter(r)
			}
			first, d.end = false, i
		case r == '-' || r == '_' || isInvisible(r):
		default:
			return d
		}
	}
}

// literal gives the end of an address literal (RFC 5321 4.1.3) from behind its
// bracket.
func (t text) literal(i int) int {
	for {
		r, n := t.at(i)
		switch {
		case r == ']':
			return i + n
		case n == 0 || r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune(".:-", r):
			return i
		}
		i += n
	}
}

// plain gives what stands from i to end without escapes, invisible characters,
// backslashes and the quotation marks around it.
func (t text) plain(i, end int) string {
	var b strings.Builder
	for i < end {
		r, n := t.at(i)
		if !isInvisible(r) && r != '\\' {
			b.WriteRune(r)
		}
		i += n
	}
	s := b.String()
	if len(s) > 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}
