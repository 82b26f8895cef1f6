package bolt

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"postern/internal/campaign"
)

// Listings, as they stand in cursors.
const (
	contactListing  = 'c'
	campaignListing = 'm'
)

// cursorHead is the length of the checksum and of the listing.
const cursorHead = crc32.Size + 1

// encodeCursor gives the cursor of what lies behind a key in a listing: a
// checksum, the listing and the key. The checksum tells a mangled cursor from
// one of ours; it keeps nothing secret.
func encodeCursor(listing byte, key []byte) string {
	out := make([]byte, crc32.Size, cursorHead+len(key))
	out = append(append(out, listing), key...)
	binary.BigEndian.PutUint32(out, crc32.ChecksumIEEE(out[crc32.Size:]))
	return base64.RawURLEncoding.EncodeToString(out)
}

// decodeCursor gives the key behind which a page begins; nil for the first.
func decodeCursor(listing byte, cursor string) ([]byte, error) {
	if cursor == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	// base64 passes over line ends: one form of a cursor is taken.
	if err != nil || base64.RawURLEncoding.EncodeToString(raw) != cursor || len(raw) <= cursorHead || raw[crc32.Size] != listing ||
		binary.BigEndian.Uint32(raw) != crc32.ChecksumIEEE(raw[crc32.Size:]) {
		return nil, campaign.Invalid("cursor", "must be a next_cursor of this listing")
	}
	return raw[cursorHead:], nil
}
