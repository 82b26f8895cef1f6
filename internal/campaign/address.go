package campaign

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of an address in octets (RFC 5321 4.5.3.1; 254 follows from the 256
// octets of a path with its angle brackets).
const (
	maxAddressOctets = 254
	maxLocalOctets   = 64
	maxLabelOctets   = 63
)

// CheckAddress says whether s may be used as a mailbox in an SMTP envelope:
// a dot-atom local part (RFC 5322 3.2.3, with RFC 6531's UTF-8 letters), one
// "@", and a domain of two or more labels or "localhost". Quoted local parts
// and address literals are refused: they are hardly used, and clients that
// unquote them can be made to write SMTP parameters of the address's choice.
// A domain beyond ASCII must have a form for the wire (WireAddress).
// The error is the rule that s broke, to stand behind a field's name.
func CheckAddress(s string) error {
	_, _, err := WireAddress(s)
	return err
}

// checkForm is CheckAddress without the wire.
func checkForm(s string) error {
	switch {
	case s == "":
		return errors.New("must not be empty")
	case len(s) > maxAddressOctets:
		return fmt.Errorf("must be at most %d octets", maxAddressOctets)
	case !utf8.ValidString(s):
		return errors.New("must be valid UTF-8")
	}
	local, domain, found := strings.Cut(s, "@")
	if !found || strings.Contains(domain, "@") {
		return errors.New("must have exactly one @")
	}
	if err := checkLocal(local); err != nil {
		return err
	}
	return checkDomain(domain)
}

func checkLocal(local string) error {
	if local == "" || len(local) > maxLocalOctets {
		return fmt.Errorf("must have 1 to %d octets before the @", maxLocalOctets)
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" {
			return errors.New("must not start or end with a dot, or have two in a row, before the @")
		}
	}
	for _, r := range local {
		if r != '.' && !isAtext(r) {
			return fmt.Errorf("must not have %q before the @", r)
		}
	}
	return nil
}

// isAtext is atext of RFC 5322 3.2.3 with the letters of RFC 6531 3.3.
func isAtext(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r)
}

func checkDomain(domain string) error {
	if domain == "" {
		return errors.New("must have a domain behind the @")
	}
	if !strings.Contains(domain, ".") && !strings.EqualFold(domain, "localhost") {
		return errors.New("must have a full domain behind the @")
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > maxLabelOctets {
			return fmt.Errorf("must have labels of 1 to %d octets in its domain", maxLabelOctets)
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("must not have a label that starts or ends with a hyphen")
		}
		for _, r := range label {
			ldh := r == '-' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
			if !ldh && (r < utf8.RuneSelf || !isAtext(r)) {
				return fmt.Errorf("must not have %q in its domain", r)
			}
		}
	}
	return nil
}

// Mailbox is an address with the name that is shown for it. Name may be empty.
type Mailbox struct {
	Name    string
	Address string
}

// ParseMailbox reads `address` or `name <address>`; the name may stand in
// double quotes. The error is the rule that s broke.
func ParseMailbox(s string) (Mailbox, error) {
	s = strings.TrimSpace(s)
	open := strings.LastIndexByte(s, '<')
	if open < 0 {
		return Mailbox{Address: s}, CheckAddress(s)
	}
	if !strings.HasSuffix(s, ">") {
		return Mailbox{}, errors.New("must end with > where it has a <")
	}
	m := Mailbox{Name: strings.TrimSpace(s[:open]), Address: s[open+1 : len(s)-1]}
	if n := len(m.Name); n >= 2 && m.Name[0] == '"' && m.Name[n-1] == '"' {
		m.Name = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m.Name[1 : n-1])
	}
	if err := CheckShownName(m.Name); err != nil {
		return Mailbox{}, err
	}
	return m, CheckAddress(m.Address)
}

// CheckHeaderText says whether s may become the text of a mail header: valid
// UTF-8 with no control character, so that no header can be injected through
// it, and no embedding, override or isolate of writing direction (UAX 9), with
// which a text is shown in another order than it has. The error is the rule
// that s broke.
func CheckHeaderText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("must be valid UTF-8")
	}
	for _, r := range s {
		// U+2028 and U+2029 break lines for some readers, as U+0085 does.
		if r != '\t' && unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || reorders(r) {
			return fmt.Errorf("must not have the control character %U", r)
		}
	}
	return nil
}

// reorders says whether r begins or ends a stretch of another direction.
func reorders(r rune) bool { return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' }

// CheckShownName is CheckHeaderText for what people trust at a glance, the name
// of a sender or of a file: it may not have marks of direction either (U+200E,
// U+200F, U+061C), which cannot be seen and move a dot to the other side of a
// word. In a subject they are good writing.
func CheckShownName(s string) error {
	if err := CheckHeaderText(s); err != nil {
		return err
	}
	for _, r := range s {
		if r == '\u200e' || r == '\u200f' || r == '\u061c' {
			return fmt.Errorf("must not have the invisible mark %U", r)
		}
	}
	return nil
}
