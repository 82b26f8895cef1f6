package mailer

import "strings"

// escapes are what octets become within HTML, "" for those that stay.
type escapes [256]string

// htmlEscapes are for text and quoted attribute values.
var htmlEscapes = escapes{'&': "&amp;", '<': "&lt;", '>': "&gt;", '"': "&#34;", '\'': "&#39;"}

// unquotedEscapes are for attribute values without quotes: those of
// html/template, and the slash, which at the end of a tag some programs take
// for that of an empty element.
var unquotedEscapes = escapes{
	0: "&#xfffd;", '\t': "&#9;", '\n': "&#10;", '\v': "&#11;", '\f': "&#12;", '\r': "&#13;", ' ': "&#32;",
	'&': "&amp;", '<': "&lt;", '>': "&gt;", '"': "&#34;", '\'': "&#39;", '`': "&#96;", '=': "&#61;", '+': "&#43;", '/': "&#47;",
}

// noValue is what an empty value becomes that an unquoted attribute begins
// with: otherwise the next attribute would become its value.
const noValue = "&#32;"

// markup writes s at its place within HTML.
func (e *bodyEncoder) markup(s string, p place) {
	with := &htmlEscapes
	if p.unquoted {
		with = &unquotedEscapes
	}
	if p.url == urlBegin {
		s = soundURL(s)
	}
	if s == "" && p.first {
		e.text(noValue)
		return
	}
	if p.url != urlNone {
		e.url(s, p.url, with)
		return
	}
	e.escaped(s, with)
}

func (e *bodyEncoder) escaped(s string, with *escapes) {
	for i := 0; i < len(s); i++ {
		if escape := with[s[i]]; escape != "" {
			e.text(escape)
			continue
		}
		i = e.octet(s, i)
	}
}

// url writes s as a part of a URL: what has no business there is
// percent-encoded, then all is escaped.
func (e *bodyEncoder) url(s string, part urlPart, with *escapes) {
	for i := range len(s) {
		c := s[i]
		if !staysInURL(s, i, part) {
			e.literal('%')
			e.literal(upperHex[c>>4])
			e.literal(upperHex[c&15])
			continue
		}
		if escape := with[c]; escape != "" {
			e.text(escape)
			continue
		}
		e.octet(s, i)
	}
}

// staysInURL says whether s[i] is written as it is, as html/template has it:
// unreserved characters (RFC 3986 2.3) everywhere; before the query also
// reserved ones other than quotes and parentheses, and percent-encoded octets.
// No colon stays where it would make a scheme of what is before it.
func staysInURL(s string, i int, part urlPart) bool {
	switch c := s[i]; {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
		return true
	case part == urlQuery, c == ':' && part == urlScheme:
		return false
	case c == '%':
		return i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2])
	default:
		return strings.IndexByte("!#$&*+,/:;=?@[]", c) >= 0
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
