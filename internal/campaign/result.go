package campaign

import (
	"strings"
	"time"
	"unicode"
)

// Person stands for a recipient in the audit trail: a digest under a key, from
// which nobody learns an address without that key. The zero value is nobody.
type Person struct {
	Key    KeyID
	Digest PersonDigest
}

// PersonDigest is a digest of an address under a key, cut to 16 octets.
type PersonDigest [16]byte

// KeyID says which of the service's keys was used.
type KeyID [4]byte

// Result is what the audit trail says of a delivery that is terminal.
type Result struct {
	Index    int
	State    DeliveryState
	Attempts int
	At       time.Time // in milliseconds
	Person   Person
	// Digest is the message's (Delivery.Digest): empty unless it was sent.
	Digest []byte
	// Reply is AuditReply of the delivery's.
	Reply string
}

// ResultOf gives what the audit trail says of a delivery.
func ResultOf(d Delivery) Result {
	return Result{
		Index: d.Index, State: d.State, Attempts: d.Attempts, At: time.UnixMilli(d.UpdatedAt.UnixMilli()).UTC(),
		Person: d.Person, Digest: d.Digest, Reply: AuditReply(d.Reply, d.Address),
	}
}

// MaxAuditReplyOctets bounds what the audit trail keeps of a reply.
const MaxAuditReplyOctets = 80

// noAddress takes the place of what names a person in a text.
const noAddress = "(address)"

// AuditReply is the reply that a delivery to address has, as the audit trail
// keeps it, for ever. Of what a relay wrote it has the stage and the codes alone:
// the text may name people in any way. A text of our own stays: valid UTF-8,
// each word that has an @ or the address's local part in it replaced, white
// space made single spaces, cut at MaxAuditReplyOctets.
func AuditReply(reply, address string) string {
	if end := codesEnd(reply); end > 0 {
		return reply[:end]
	}
	local, _, _ := strings.Cut(strings.ToLower(Key(address)), "@")
	if len(reply) <= MaxAuditReplyOctets && isPlain(reply, local) {
		return reply // as most are
	}
	text := withoutWords(reply, func(word string) bool {
		return strings.Contains(word, "@") || namesLocal(word, local)
	})
	if len(text) > MaxAuditReplyOctets {
		text = strings.ToValidUTF8(text[:MaxAuditReplyOctets], "")
	}
	return text
}

// codesEnd is where the text begins of a relay's reply, as mailer.Reply and
// mailer.Error write it: "stage: " in front where it is a refusal, a code of
// three digits (RFC 5321 section 4.2), and an enhanced one (RFC 3463) where
// there is one. 0 where it is no relay's.
func codesEnd(reply string) int {
	start := len(reply) - len(strings.TrimLeft(reply, "abcdefghijklmnopqrstuvwxyz"))
	if strings.HasPrefix(reply[start:], ": ") {
		start += len(": ")
	}
	end := start + digits(reply[start:])
	if end != start+3 || end < len(reply) && reply[end] != ' ' {
		return 0
	}
	if end == len(reply) {
		return end
	}
	word, _, _ := strings.Cut(reply[end+1:], " ")
	for at, part := end+1, 0; ; part++ {
		n := digits(reply[at:])
		at += n
		switch {
		case n == 0 || n > 3:
			return end
		case part == 2 && at == end+1+len(word):
			return at
		case part == 2 || at == len(reply) || reply[at] != '.':
			return end
		}
		at++
	}
}

// digits counts those that a text begins with.
func digits(text string) (n int) {
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	return n
}

// isPlain says whether a text is single words of ASCII, single spaces between
// them, with neither an @ nor the local part, in lower case, anywhere.
func isPlain(text, local string) bool {
	space := true // two in a row, or one in front, are not plain
	for i := range len(text) {
		c := text[i]
		if c < ' ' || c >= 0x7f || c == '@' || c == ' ' && space {
			return false
		}
		space = c == ' '
		if local != "" && len(text)-i >= len(local) && lower(c) == local[0] && strings.EqualFold(text[i:i+len(local)], local) {
			return false
		}
	}
	return !space || text == ""
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// WithoutAddresses replaces each word of a text that has an @ in it.
func WithoutAddresses(text string) string {
	return withoutWords(text, func(word string) bool { return strings.Contains(word, "@") })
}

func withoutWords(text string, personal func(string) bool) string {
	words := strings.Fields(strings.ToValidUTF8(text, "?"))
	for i, word := range words {
		if personal(word) {
			words[i] = noAddress
		}
	}
	return strings.Join(words, " ")
}

// namesLocal says whether a word has a local part, in lower case, in it. Of one
// that is shorter than three octets it has to be the whole word.
func namesLocal(word, local string) bool {
	word = strings.ToLower(word)
	if len(local) >= 3 {
		return strings.Contains(word, local)
	}
	return local != "" && strings.TrimFunc(word, unicode.IsPunct) == local
}
