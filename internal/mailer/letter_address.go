package mailer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"postern/internal/campaign"
)

// WireAddress gives an address as it stands in the envelope and in headers:
// the domain in A-labels (RFC 5890, by the Lookup profile of UTS 46), the
// local part as it is. smtputf8 says that the local part is not ASCII, so that
// the relay must offer SMTPUTF8 (RFC 6531). The error is the rule that the
// address broke, to stand behind a field's name.
func WireAddress(address string) (ascii string, smtputf8 bool, err error) {
	if err := campaign.CheckAddress(address); err != nil {
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
	// A mapped name can be longer than the one that passed, or have other
	// characters.
	ascii = local + "@" + domain
	if err := campaign.CheckAddress(ascii); err != nil {
		return "", false, err
	}
	return ascii, !isASCII(local), nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// MessageID gives the Message-ID, without angle brackets, of a campaign's
// message to an address: the same one each time (so that a repeated message
// can be recognised), another one for another campaign or address. Its domain
// is that of the sender, in A-labels; fromAddress is one that Compile took.
func MessageID(campaignID, address, fromAddress string) string {
	sum := sha256.Sum256([]byte(campaignID + "\x00" + campaign.Key(address)))
	domain := "postern.invalid" // RFC 2606: nobody's
	if wire, _, err := WireAddress(fromAddress); err == nil {
		domain = campaign.Domain(wire)
	}
	return hex.EncodeToString(sum[:16]) + "@" + domain
}
