package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The parts of a token. Lengths are in octets, before they become hexadecimal.
const (
	prefix       = "postern_"
	idOctets     = 6
	secretOctets = 32
	idLength     = 2 * idOctets
	tokenLength  = len(prefix) + idLength + len("_") + 2*secretOctets
)

// maxName is the longest name of a token, in octets.
const maxName = 100

// Token is what is known of a token, without what it proves.
type Token struct {
	ID      string // 12 hexadecimal digits
	Name    string // what people call it
	Scopes  []Scope
	Created time.Time
	Expires time.Time // zero for never
}

// Allows says whether the token is good for all of these scopes.
func (t Token) Allows(scopes ...Scope) bool {
	lacks := slices.ContainsFunc(scopes, func(scope Scope) bool { return !slices.Contains(t.Scopes, scope) })
	return !lacks || slices.Contains(t.Scopes, Admin)
}

// expired says whether the token has come to its end.
func (t Token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// Order says what token is to be made.
type Order struct {
	Name   string
	Scopes []Scope
	For    time.Duration // until it expires; 0 for never
}

// Mint makes a token. The first result is the token itself, which exists nowhere
// else: only its hash is in the line, which is to be stored and ends with a
// newline.
func Mint(order Order, now time.Time) (token string, line []byte, err error) {
	created := now.UTC().Truncate(time.Second)
	made := Token{Name: order.Name, Scopes: order.Scopes, Created: created}
	switch {
	case order.For < 0:
		return "", nil, errors.New("a token cannot expire before it is made")
	case order.For > 0:
		made.Expires = created.Add(order.For)
	}
	if err := made.check(); err != nil {
		return "", nil, err
	}
	var random [idOctets + secretOctets]byte
	_, _ = rand.Read(random[:]) // never fails: the program ends where there is no randomness
	made.ID = hex.EncodeToString(random[:idOctets])
	token = prefix + made.ID + "_" + hex.EncodeToString(random[idOctets:])
	line, err = encode(entry{Token: made, hash: sha256.Sum256([]byte(token))})
	return token, line, err
}

// check holds the token to the rules for what people give.
func (t Token) check() error {
	switch {
	case strings.TrimSpace(t.Name) == "" || len(t.Name) > maxName:
		return fmt.Errorf("the name must have 1 to %d octets", maxName)
	case strings.ContainsFunc(t.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("the name must have printable characters only")
	case t.Created.IsZero():
		return errors.New("the time of its creation is missing")
	case !t.Expires.IsZero() && !t.Expires.After(t.Created):
		return errors.New("the token must expire after its creation")
	}
	return checkScopes(t.Scopes)
}

// idOf gives the id in what is presented as a token; false where it cannot be
// one.
func idOf(presented string) (id string, ok bool) {
	if len(presented) != tokenLength || !strings.HasPrefix(presented, prefix) {
		return "", false
	}
	id, secret, found := strings.Cut(presented[len(prefix):], "_")
	return id, found && len(id) == idLength && isHex(id) && isHex(secret)
}

// isHex says whether all of s are hexadecimal digits, in lower case.
func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}
