package api

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"

	"postern/internal/campaign"
)

// cursors makes the cursors that callers see of those that the service gives:
// base64url of an authentication code and the service's cursor. The code
// covers the listing too, so a cursor holds for the listing that gave it and
// for no other.
type cursors struct{ key []byte }

// macOctets of HMAC-SHA256 are kept: 128 bits are beyond guessing.
const macOctets = 16

// maxCursorOctets is far beyond every cursor that this service gives.
const maxCursorOctets = 4096

func (c cursors) mac(listing, cursor string) []byte {
	h := hmac.New(sha256.New, c.key)
	length := binary.BigEndian.AppendUint64(nil, uint64(len(listing)))
	for _, part := range [][]byte{length, []byte(listing), []byte(cursor)} {
		_, _ = h.Write(part) // never fails
	}
	return h.Sum(nil)[:macOctets]
}

// seal makes a caller's cursor; nil, which is JSON's null, where there is no
// next page.
func (c cursors) seal(listing, cursor string) *string {
	if cursor == "" {
		return nil
	}
	sealed := base64.RawURLEncoding.EncodeToString(append(c.mac(listing, cursor), cursor...))
	return &sealed
}

// open gives the service's cursor; "" for "", the first page.
func (c cursors) open(listing, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	if len(sealed) <= maxCursorOctets {
		raw, err := base64.RawURLEncoding.DecodeString(sealed)
		if err == nil && len(raw) > macOctets {
			cursor := string(raw[macOctets:])
			// Compared as a whole: base64 has more than one form of the same
			// octets.
			if hmac.Equal([]byte(*c.seal(listing, cursor)), []byte(sealed)) {
				return cursor, nil
			}
		}
	}
	return "", campaign.Invalid("cursor", "must be a next_cursor of this very listing")
}

// page is where a listing is to go on, and how far.
type page struct {
	cursor string // the service's
	limit  int    // 0 where the caller gave none
}

// size is the limit, or the default.
func (p page) size() int {
	return cmp.Or(p.limit, defaultPage)
}

// page reads cursor and limit. A limit beyond most is taken as most.
func (a *api) page(r *http.Request, listing string, most int) (page, error) {
	q, err := readQuery(r)
	if err != nil {
		return page{}, err
	}
	limit, err := q.limit(most)
	if err != nil {
		return page{}, err
	}
	sealed, err := q.one("cursor")
	if err != nil {
		return page{}, err
	}
	cursor, err := a.cursors.open(listing, sealed)
	return page{cursor: cursor, limit: limit}, err
}
