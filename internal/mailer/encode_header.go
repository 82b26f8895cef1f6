package mailer

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// Widths of header lines in octets.
const (
	// maxHeaderLine is where lines are folded: RFC 2047 2 allows 76 with an
	// encoded word in it, RFC 5322 2.1.1 recommends 78.
	maxHeaderLine = 76
	// maxEncodedWord is RFC 2047 2's limit of one encoded word.
	maxEncodedWord = 75
	// maxPlainWord is the longest word that is left as it is. It fits on the
	// first line behind any of the field names that we write; a longer one is
	// encoded, because encoded text can be folded anywhere.
	maxPlainWord = 60
	// maxQuotedName is the longest display name, in octets, that becomes a
	// quoted string; a longer one is encoded so that it can be folded.
	maxQuotedName = 60
)

const (
	wordStart     = "=?UTF-8?"
	wordOverhead  = len(wordStart) + len("Q?") + len("?=")
	upperHex      = "0123456789ABCDEF"
	foldedNewLine = "\r\n "
)

// appendText appends unstructured text (RFC 5322 3.2.5) to a line that holds
// the field's name already, folded, and as encoded words (RFC 2047) where it
// has anything but printable ASCII. The text is valid UTF-8 without control
// characters; decoding gives it back octet by octet.
func appendText(dst, text []byte) []byte {
	if !isPlain(text) {
		return appendEncodedWords(dst, text, 0)
	}
	for first := true; len(text) > 0; first = false {
		word, rest, _ := bytes.Cut(text, []byte(" "))
		switch {
		case first:
		case column(dst)+1+len(word) > maxHeaderLine:
			dst = append(dst, foldedNewLine...)
		default:
			dst = append(dst, ' ')
		}
		dst = append(dst, word...)
		text = rest
	}
	return dst
}

// appendMailbox appends `"name" <address>` (RFC 5322 3.4), the name as a
// quoted string or as encoded words. The name is as for appendText, the
// address as WireAddress gave it.
func appendMailbox(dst, name []byte, address string) []byte {
	switch {
	case len(name) == 0:
	case len(name) <= maxQuotedName && isPlain(name):
		dst = appendQuoted(dst, name)
	default:
		dst = appendEncodedWords(dst, name, 0)
	}
	if len(name) > 0 {
		if column(dst)+len(" <>")+len(address) > maxHeaderLine {
			dst = append(dst, "\r\n"...)
		}
		dst = append(dst, ' ')
	}
	dst = append(dst, '<')
	dst = append(dst, address...)
	return append(dst, '>')
}

// appendQuoted appends printable ASCII as a quoted string (RFC 5322 3.2.4).
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// isPlain says whether text can stand in a header as it is: printable ASCII,
// nothing that a reader would take for an encoded word, no word too long to
// fold, and single spaces within only, since readers fold others away.
func isPlain(text []byte) bool {
	word := 0
	for i, c := range text {
		switch {
		case c == ' ' && (word == 0 || i == len(text)-1):
			return false
		case c == ' ':
			word = 0
			continue
		case c < ' ' || c > '~', c == '?' && i > 0 && text[i-1] == '=':
			return false
		}
		if word++; word > maxPlainWord {
			return false
		}
	}
	return true
}

// appendEncodedWords appends text as encoded words in B or Q, whichever is
// shorter, each with whole characters and at most one a line. The line so far
// holds a field's or parameter's name at most, so that there is room; on the
// last there is also some for the octets that come behind.
func appendEncodedWords(dst, text []byte, behind int) []byte {
	encoding, fit, encode := byte('Q'), fitQ, appendQ
	if lengthQ(text) > base64.StdEncoding.EncodedLen(len(text)) {
		encoding, fit, encode = 'B', fitB, base64.StdEncoding.AppendEncode
	}
	for {
		room := min(maxEncodedWord, maxHeaderLine-behind-column(dst)) - wordOverhead
		n := fit(text, room)
		dst = append(dst, wordStart...)
		dst = append(dst, encoding, '?')
		dst = encode(dst, text[:n])
		dst = append(dst, "?="...)
		if text = text[n:]; len(text) == 0 {
			return dst
		}
		dst = append(dst, foldedNewLine...)
	}
}

// isQSafe says whether c stands for itself in Q encoding, even within a
// display name (RFC 2047 5 (3)).
func isQSafe(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '!' || c == '*' || c == '+' || c == '-' || c == '/'
}

func lengthQ(text []byte) int {
	n := 0
	for _, c := range text {
		if n++; c != ' ' && !isQSafe(c) {
			n += len("=XX") - 1
		}
	}
	return n
}

// fitQ gives how many octets of text, in whole characters, fit into room.
func fitQ(text []byte, room int) int {
	n := 0
	for n < len(text) {
		_, size := utf8.DecodeRune(text[n:])
		if room -= lengthQ(text[n : n+size]); room < 0 {
			break
		}
		n += size
	}
	return n
}

func fitB(text []byte, room int) int {
	n := min(len(text), room/4*3)
	for n < len(text) && n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return n
}

func appendQ(dst, text []byte) []byte {
	for _, c := range text {
		switch {
		case c == ' ':
			dst = append(dst, '_')
		case isQSafe(c):
			dst = append(dst, c)
		default:
			dst = append(dst, '=', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// column is how many octets the last line of dst has.
func column(dst []byte) int { return len(dst) - 1 - bytes.LastIndexByte(dst, '\n') }
