package mailer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Bounds of a reply. RFC 5321 4.5.3.1.5 allows lines of 512 octets; relays
// that exceed it are met, endless ones must not be.
const (
	maxReplyLine  = 2048 // octets with the line end
	maxReplyLines = 128
	maxReplyText  = 512 // octets of text that are kept of a reply
)

// What is no reply by RFC 5321 4.2.
var (
	errReplyMalformed = errors.New("the relay's reply is malformed")
	errReplyTooLong   = fmt.Errorf("the relay's reply is longer than %d lines of %d octets", maxReplyLines, maxReplyLine)
)

// rawReply is a reply as it came: the code, and the text of its lines with LF
// between them. The text holds until the next reply is read.
type rawReply struct {
	code  int
	text  []byte
	guard *guard
}

// class is the first digit of the code.
func (r rawReply) class() int { return r.code / 100 }

// replyReader reads replies, bounded, into a buffer that it reuses.
type replyReader struct {
	br    *bufio.Reader
	buf   []byte
	guard *guard // of the session's secrets; nil where it has none
}

func newReplyReader(br *bufio.Reader) *replyReader { return &replyReader{br: br} }

// ready says whether a whole reply of one line has come already.
func (r *replyReader) ready() bool {
	octets, _ := r.br.Peek(r.br.Buffered())
	end := bytes.IndexByte(octets, '\n')
	return end >= 0 && (end <= 3 || octets[3] != '-')
}

// read reads one reply of one or several lines. Errors are errReplyMalformed,
// errReplyTooLong and those of the connection.
func (r *replyReader) read() (rawReply, error) {
	r.buf = r.buf[:0]
	code := 0
	for n := range maxReplyLines {
		line, err := r.readLine()
		if err != nil {
			return rawReply{}, err
		}
		parsed, more, err := parseReplyLine(line)
		switch {
		case err != nil:
			return rawReply{}, err
		case n > 0 && parsed.code != code:
			return rawReply{}, fmt.Errorf("%w: it changes its code from %d to %d", errReplyMalformed, code, parsed.code)
		case n > 0:
			r.buf = append(r.buf, '\n')
		}
		code = parsed.code
		r.buf = append(r.buf, parsed.text...)
		if !more {
			return rawReply{code: code, text: r.buf, guard: r.guard}, nil
		}
	}
	return rawReply{}, errReplyTooLong
}

func (r *replyReader) readLine() ([]byte, error) {
	line, err := r.br.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull), err == nil && len(line) > maxReplyLine:
		return nil, errReplyTooLong
	case err != nil:
		return nil, err
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
}

// parseReplyLine splits "250-text", "250 text" or "250"; more says that another
// line follows.
func parseReplyLine(line []byte) (r rawReply, more bool, err error) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return rawReply{}, false, fmt.Errorf("%w: a line without a code", errReplyMalformed)
	}
	r.code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return r, false, nil
	}
	if line[3] != ' ' && line[3] != '-' {
		return rawReply{}, false, fmt.Errorf("%w: no space behind the code", errReplyMalformed)
	}
	r.text = line[4:]
	return r, line[3] == '-', nil
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// reply makes the reply readable: its enhanced code apart, one line of text,
// none that repeats the session's password. It is the one way out of here.
func (r rawReply) reply() Reply {
	enhanced, text := cutEnhanced(string(r.text), r.class())
	if r.guard.finds(text) {
		text = leftOut
	}
	return Reply{Code: r.code, Enhanced: enhanced, Text: cleanText(text)}
}

// cutEnhanced takes the enhanced status code (RFC 3463) off each line of the
// text. One whose class is not that of the reply is left as text (RFC 2034 4).
func cutEnhanced(text string, class int) (enhanced, rest string) {
	enhanced = enhancedCode(text, class)
	if enhanced == "" {
		return "", text
	}
	rest = strings.TrimPrefix(text[len(enhanced):], " ")
	rest = strings.ReplaceAll(rest, "\n"+enhanced+" ", "\n")
	return enhanced, strings.TrimSuffix(rest, "\n"+enhanced)
}

// enhancedCode is the code at the start of the text, such as "5.1.1": class,
// subject and detail, the latter two of one to three digits.
func enhancedCode(text string, class int) string {
	word := text
	if end := strings.IndexAny(text, " \n"); end >= 0 {
		word = text[:end]
	}
	head, rest, _ := strings.Cut(word, ".")
	subject, detail, _ := strings.Cut(rest, ".")
	if head != string(rune('0'+class)) || !isShortNumber(subject) || !isShortNumber(detail) {
		return ""
	}
	return word
}

func isShortNumber(s string) bool {
	return len(s) >= 1 && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// cleanText makes one line of a relay's text: no control characters, no
// invalid UTF-8, not longer than anybody reads.
func cleanText(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r):
			return unicode.ReplacementChar
		default:
			return r // an invalid octet is U+FFFD by now
		}
	}, text)
	text = strings.TrimSpace(text)
	if len(text) <= maxReplyText {
		return text
	}
	return strings.ToValidUTF8(text[:maxReplyText], "") + "…"
}
