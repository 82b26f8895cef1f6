package dynamo

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"postern/internal/campaign"
)

// listing is what a cursor belongs to; a cursor of one listing is refused by
// the others.
type listing byte

const (
	listingContacts  listing = 'p'
	listingCampaigns listing = 'c'
)

// maxCursor is above what the longest key makes.
const maxCursor = 1024

// cursorTo makes a cursor out of the last key of a page: the listing, a check
// sum and the key. The sum keeps out what was cut or made up; a cursor gives
// nobody anything that the listing does not, so it needs no signature.
func (l listing) cursorTo(key string) string {
	raw := binary.BigEndian.AppendUint32([]byte{byte(l)}, l.sum(key))
	return base64.RawURLEncoding.EncodeToString(append(raw, key...))
}

// keyOf reads a cursor.
func (l listing) keyOf(cursor string) (string, error) {
	const head = 5
	raw, err := base64.RawURLEncoding.DecodeString(cursor[:min(len(cursor), maxCursor)])
	if err != nil || len(cursor) > maxCursor || len(raw) <= head || raw[0] != byte(l) {
		return "", errCursor()
	}
	key := string(raw[head:])
	if l.cursorTo(key) != cursor { // base64 passes over line ends, so the sum alone does not do
		return "", errCursor()
	}
	return key, nil
}

func (l listing) sum(key string) uint32 {
	return crc32.ChecksumIEEE(append([]byte{byte(l)}, key...))
}

func errCursor() error {
	return campaign.Invalid("cursor", "must be one that this listing gave")
}
