package api

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"

	"postern/internal/campaign"
	"postern/internal/seal"
)

// cursors makes the cursors that callers see of those that the service gives.
// The service's may hold a contact's address, and a caller's stands in URLs,
// which proxies and gateways log: so it is sealed, and is base64url of that. The
// listing is authenticated with it: a cursor holds for the listing that gave it
// and for no other.
type cursors struct{ sealer *seal.Sealer }

// newCursors panics where the key is not of 32 octets.
func newCursors(key []byte) cursors {
	sealer, err := seal.New(key)
	if err != nil {
		panic(fmt.Sprintf("the CursorKey: %s", err))
	}
	return cursors{sealer: sealer}
}

// maxCursorOctets is far beyond every cursor that this service gives.
const maxCursorOctets = 4096

// seal makes a caller's cursor; nil, which is JSON's null, where there is no
// next page.
func (c cursors) seal(listing, cursor string) *string {
	if cursor == "" {
		return nil
	}
	sealed := base64.RawURLEncoding.EncodeToString(c.sealer.Seal([]byte(cursor), listing))
	return &sealed
}

// open gives the service's cursor; "" for "", the first page.
func (c cursors) open(listing, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	if len(sealed) <= maxCursorOctets {
		raw, err := base64.RawURLEncoding.DecodeString(sealed)
		// base64 has more than one form of the same octets: one is taken.
		if err == nil && base64.RawURLEncoding.EncodeToString(raw) == sealed {
			if cursor, err := c.sealer.Open(raw, listing); err == nil && len(cursor) > 0 {
				return string(cursor), nil
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
