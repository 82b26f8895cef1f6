package redact

import (
	"strings"
	"unicode"
)

// none is a place that is not known.
const none = -1

// scanner goes through a line once and remembers what may be a local part, for
// the at-sign that may come behind it.
type scanner struct {
	text
	key  []byte
	out  []byte
	done int // octets of the line that are in out

	start, end int  // the latest word, with no delimiter behind it
	spaced     bool // but white space
	comment    int  // the word in front of a comment's parenthesis
	userinfo   int  // behind "//", up to where a URL's authority ends
	slash      int  // the end of the latest slash
	quote      int  // the first quotation mark of the value
	odd        bool // and an odd number of them so far
	opened     bool // the word ends in a mark that opens the next
}

// begin forgets what came before: at a line's start and at the borders of
// JSON's strings.
func (s *scanner) begin() {
	s.odd = false
	s.forget()
}

// forget is for behind an address.
func (s *scanner) forget() {
	s.start, s.end, s.spaced, s.opened = none, none, false, false
	s.comment, s.userinfo, s.slash, s.quote = none, none, none, none
}

// read takes notice of one character, from i to end.
func (s *scanner) read(r rune, i, end int) {
	s.readURL(r, i, end)
	switch {
	case r == '"' && s.json && end == i+1:
		s.begin()
	case r == '"':
		s.readQuote(i, end)
	case unicode.IsSpace(r):
		s.spaced = true
	case r == '(':
		if s.comment == none {
			s.comment = s.start
		}
		s.start = none
	case r == ')':
		s.endComment(i, end)
	case strings.ContainsRune(`\>]`, r): // may stand between a local part and its at-sign
	case strings.ContainsRune(",;:<[@", r):
		s.start = none
	default:
		s.readWord(r, i, end)
	}
}

// readWord has the word go on or, behind anything else, begins a new one; but
// nothing begins with a dot or an invisible character.
func (s *scanner) readWord(r rune, i, end int) {
	switch {
	case s.start != none && s.end == i && !s.opened:
	case !beginsWord(r):
		return
	default:
		s.start, s.opened = i, false
	}
	s.end, s.spaced = end, false
}

// readQuote takes all from the value's first quotation mark for a quoted local
// part, in case an at-sign follows: which of them opened it cannot be known,
// as it may have others in it.
func (s *scanner) readQuote(i, end int) {
	s.odd = !s.odd
	if s.quote == none {
		s.quote, s.start = i, none
		return
	}
	s.start, s.end, s.spaced, s.opened = s.quote, end, false, s.odd
}

// endComment makes one word of a comment (RFC 5322 3.2.2) and what it follows.
func (s *scanner) endComment(i, end int) {
	switch {
	case s.comment != none:
		s.start, s.comment = s.comment, none
	case s.end != i:
		s.start = none
	}
	s.end, s.spaced, s.opened = end, false, false
}

// readURL keeps the place where a URL's user information may begin (RFC 3986
// 3.2).
func (s *scanner) readURL(r rune, i, end int) {
	switch {
	case r == '/' && s.slash == i:
		s.userinfo, s.slash = end, end
	case r == '/':
		s.userinfo, s.slash = none, end
	case unicode.IsSpace(r) || strings.ContainsRune(`?#"<>`, r):
		s.userinfo = none
	}
}

// address replaces what has its at-sign at i, and gives the place behind it;
// or i, where there is none.
func (s *scanner) address(i int) int {
	n, sure := s.atSign(i)
	local := s.local(i, sure)
	if n == 0 || local == none {
		return i
	}
	d := s.domain(i + n)
	switch {
	case !d.full && !sure, d.end == 0 && s.spaced:
		return i
	case s.isModule(i, d):
		s.forget()
		return d.end
	}
	end, single := s.chain(max(d.end, i+n))
	mark := unreadable
	if single && !s.spaced {
		mark = Address(s.plain(local, max(local, s.localEnd(i)))+"@"+s.plain(d.start, d.end), s.key)
	}
	s.out = append(append(s.out, s.line[s.done:local]...), mark...)
	s.done = end
	s.forget()
	return end
}

// local is where the local part begins for an at-sign at i.
func (s *scanner) local(i int, sure bool) int {
	if sure && s.userinfo != none && s.userinfo < i {
		return s.userinfo
	}
	return s.start
}

// localEnd is where it ends.
func (s *scanner) localEnd(i int) int {
	if s.start == none {
		return i
	}
	return s.end
}

// chain goes on behind an address to the last at-sign that is joined to it,
// with its domain. single says that there was none.
func (s *scanner) chain(end int) (last int, single bool) {
	single = true
	for {
		n, sure := s.atSign(end)
		if n == 0 || !sure {
			return end, single
		}
		end = max(s.domain(end+n).end, end+n)
		single = false
	}
}

// isModule says whether the at-sign at i is that of a Go module with its
// version, as in the files of a stack trace: "/chi@v5.2.1". No mail goes to a
// domain of that form, as the last label of a name in the DNS is alphabetic
// (RFC 1123 2.1).
func (s *scanner) isModule(i int, d domain) bool {
	if s.line[i] != '@' || s.userinfo != none || s.start == none || s.end != i || d.start != i+1 || d.end == 0 {
		return false
	}
	if n, sure := s.atSign(d.end); n > 0 && sure {
		return false
	}
	return s.slash > s.start && s.slash < i && isVersion(string(s.line[d.start:d.end]))
}

// isVersion knows versions as Go has them, v1.2.3 or v1.2.3-0.pre-release,
// with a last part that begins with a digit.
func isVersion(s string) bool {
	core, _, _ := strings.Cut(s, "-")
	numbers := strings.Split(strings.TrimPrefix(core, "v"), ".")
	if s[0] != 'v' || len(numbers) != 3 {
		return false
	}
	for _, n := range append(numbers, s[strings.LastIndexByte(s, '.')+1:][:1]) {
		if n == "" || strings.Trim(n, "0123456789") != "" {
			return false
		}
	}
	return true
}

// isInvisible says whether r is shown as nothing, such as a mark of direction
// or a space of no width.
func isInvisible(r rune) bool { return r >= 0x80 && unicode.Is(unicode.Cf, r) }

// beginsWord is broader than what a local part may have (campaign.CheckAddress):
// beyond ASCII all but punctuation.
func beginsWord(r rune) bool {
	if r < 0x80 {
		return r != '.'
	}
	return !unicode.IsPunct(r) && !isInvisible(r)
}
