package campaign

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// WireAddress gives an address as it stands in the envelope and in headers:
// the domain in A-labels (RFC 5890, by the Lookup profile of UTS 46), the
// local part in Unicode's form NFC (RFC 6532 3.1) and otherwise as it is.
// smtputf8 says that the local part is not ASCII, so that the relay must offer
// SMTPUTF8 (RFC 6531). It is the one way to an address's form on the wire: who
// a contact is (Key) and whom a message reaches are of the same making. The
// error is the rule that the address broke, to stand behind a field's name.
func WireAddress(address string) (wire string, smtputf8 bool, err error) {
	if err := checkForm(address); err != nil {
		return "", false, err
	}
	if isASCII(address) {
		return address, false, nil
	}
	local, domain, _ := strings.Cut(address, "@")
	if !isASCII(domain) {
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", false, errors.New("must have a valid internationalised domain name")
		}
	}
	// What was mapped can be longer than what passed, or have other characters.
	local = norm.NFC.String(local)
	wire = local + "@" + domain
	if err := checkForm(wire); err != nil {
		return "", false, err
	}
	return wire, !isASCII(local), nil
}

// Key is the form under which an address is stored and compared: as it stands
// on the wire, with ASCII letters in lower case. So two addresses have one key
// if, and only if, mail to them goes to one mailbox, but for relays that tell
// upper from lower case. Letters beyond ASCII keep their case: to lower them
// can make ASCII letters of them, and those are another mailbox. The address as
// it was given is kept beside its key, to be shown.
//
// What is no address has a key that no address has.
func Key(address string) string {
	if isASCII(address) {
		return strings.ToLower(address)
	}
	wire, _, err := WireAddress(address)
	if err != nil {
		return lowerASCII(address)
	}
	// Some marks are composed with lower-case letters only.
	return norm.NFC.String(lowerASCII(wire))
}

// Domain is what stands behind the @ of a checked address.
func Domain(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func lowerASCII(s string) string {
	out := []byte(s)
	for i, c := range out {
		out[i] = lower(c)
	}
	return string(out)
}
