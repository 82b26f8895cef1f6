package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// maxList is the longest list, in octets: some thousands of tokens.
const maxList = 1 << 20

// hashPrefix names the algorithm, so that there can be another one.
const hashPrefix = "sha256:"

// Errors of Check. They do not say whether the id was right.
var (
	// ErrInvalid: what is presented is no token, or none of the list's.
	ErrInvalid = errors.New("the token is not valid")
	// ErrExpired: the token was good until it expired.
	ErrExpired = errors.New("the token has expired")
)

// entry is a line: a token with the hash that stands for it.
type entry struct {
	Token

	hash [sha256.Size]byte
}

// line is an entry as it is stored.
type line struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Hash    string    `json:"hash"`
	Scopes  []Scope   `json:"scopes"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
}

func encode(e entry) ([]byte, error) {
	text, err := json.Marshal(line{
		ID: e.ID, Name: e.Name, Hash: hashPrefix + hex.EncodeToString(e.hash[:]),
		Scopes: e.Scopes, Created: e.Created, Expires: e.Expires,
	})
	return append(text, '\n'), err
}

// list is what is in force: tokens by their ids.
type list map[string]entry

// parseList reads a list as a whole. An error names the line, and repeats
// nothing of it but what is no secret.
func parseList(text []byte) (list, error) {
	switch {
	case len(text) > maxList:
		return nil, fmt.Errorf("the list of tokens is larger than %d octets", maxList)
	case len(bytes.TrimSpace(text)) == 0:
		return nil, errors.New("the list of tokens is empty; one without tokens says so by a line that begins with #")
	}
	all := list{}
	number := 0
	for row := range bytes.Lines(text) {
		number++
		row = bytes.TrimSpace(row)
		if len(row) == 0 || row[0] == '#' {
			continue
		}
		e, err := decode(row)
		if err != nil {
			return nil, fmt.Errorf("line %d of the list of tokens: %w", number, err)
		}
		if _, twice := all[e.ID]; twice {
			return nil, fmt.Errorf("line %d of the list of tokens: the id %s is there twice", number, e.ID)
		}
		all[e.ID] = e
	}
	return all, nil
}

func decode(row []byte) (entry, error) {
	var l line
	d := json.NewDecoder(bytes.NewReader(row))
	d.DisallowUnknownFields() // a misspelt "expires" would never expire
	if err := d.Decode(&l); err != nil {
		return entry{}, errors.New("must be a JSON object with id, name, hash, scopes, created and, unless the token never expires, expires")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return entry{}, errors.New("must be one JSON object and nothing behind it")
	}
	e := entry{Token: Token{ID: l.ID, Name: l.Name, Scopes: l.Scopes, Created: l.Created, Expires: l.Expires}}
	if len(l.ID) != idLength || !isHex(l.ID) {
		return entry{}, fmt.Errorf("id must be %d hexadecimal digits", idLength)
	}
	digits, found := strings.CutPrefix(l.Hash, hashPrefix)
	hash, err := hex.DecodeString(digits)
	if !found || err != nil || len(hash) != len(e.hash) {
		return entry{}, fmt.Errorf("hash must be %s and %d hexadecimal digits", hashPrefix, 2*len(e.hash))
	}
	copy(e.hash[:], hash)
	return e, e.check()
}

// check finds the token that is presented. The time that the comparison takes
// tells nothing: the id is no secret, and of the hash all octets are compared,
// also where there is none.
func (l list) check(presented string, now time.Time) (Token, error) {
	id, ok := idOf(presented)
	if !ok {
		return Token{}, ErrInvalid
	}
	e, known := l[id]
	hash := sha256.Sum256([]byte(presented))
	if same := subtle.ConstantTimeCompare(hash[:], e.hash[:]) == 1; !same || !known {
		return Token{}, ErrInvalid
	}
	if e.expired(now) {
		return e.Token, ErrExpired
	}
	return e.Token, nil
}
