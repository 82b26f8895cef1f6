package mailer

import (
	"encoding/hex"
	"strings"
	"unicode"
)

// guardWindow is how many octets in a row of a secret, white space and case
// left aside, are taken for the secret.
const guardWindow = 8

// guard knows a session's secrets and finds them in what the relay says: some
// relays repeat the command that they refuse, and what they say is stored,
// logged and shown. Any part of a secret counts, because a relay's text may
// begin or end in the middle of it, or break it over lines. nil knows none.
type guard struct {
	windows map[[guardWindow]byte]struct{}
	short   []string // secrets that are shorter than a window
}

// newGuard knows the relays' passwords in every form in which they are sent,
// and in hexadecimal. nil where there is none.
func newGuard(relays ...Relay) *guard {
	var g *guard
	for _, r := range relays {
		if r.Password == "" {
			continue
		}
		if g == nil {
			g = &guard{windows: map[[guardWindow]byte]struct{}{}}
		}
		plain := plainResponse(r)
		for _, form := range []string{r.Password, encode64(r.Password), encode64(plain), hex.EncodeToString([]byte(r.Password))} {
			g.add(form)
		}
	}
	return g
}

// add makes one more secret known.
func (g *guard) add(secret string) {
	if g == nil {
		return
	}
	secret = squeeze(secret)
	if 0 < len(secret) && len(secret) < guardWindow {
		g.short = append(g.short, secret)
	}
	for ; len(secret) >= guardWindow; secret = secret[1:] {
		g.windows[[guardWindow]byte([]byte(secret[:guardWindow]))] = struct{}{}
	}
}

// finds says whether a part of a secret is in the text.
func (g *guard) finds(text string) bool {
	if g == nil {
		return false
	}
	octets := []byte(squeeze(text))
	for _, secret := range g.short {
		if strings.Contains(string(octets), secret) {
			return true
		}
	}
	for ; len(octets) >= guardWindow; octets = octets[1:] {
		if _, found := g.windows[[guardWindow]byte(octets)]; found {
			return true
		}
	}
	return false
}

// squeeze leaves white space, control characters and case aside.
func squeeze(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// leftOut stands for a text that repeats the password, or the other relay's.
const leftOut = "(the relay's text repeats the password and is left out)"
