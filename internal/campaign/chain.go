package campaign

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Hash is a SHA-256 digest. As text it is lower-case hexadecimal.
type Hash [sha256.Size]byte

// String gives the hash in lower-case hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	return decodeHex(h[:], text)
}

// decodeHex fills out from as many hexadecimal digits as it takes.
func decodeHex(out, text []byte) error {
	if len(text) != hex.EncodedLen(len(out)) {
		return fmt.Errorf("campaign: %d hexadecimal digits instead of %d", len(text), hex.EncodedLen(len(out)))
	}
	_, err := hex.Decode(out, text)
	return err
}

// Chain is the end of an audit trail's chain: how many links it has, and the
// hash of the last one. The zero value is an empty chain. Each chunk of a
// campaign has a chain of its own (number 1 and up), and the campaign itself
// has one (number 0).
type Chain struct {
	Links int64
	Head  Hash
}

// linkDomain leads what is hashed for a link, so that no hash of anything else
// can be taken for one.
const linkDomain = "postern audit link 1\n"

// Next is the chain with one more link of the payload, on the chain of that
// number of that campaign. The link's hash is SHA-256 over linkDomain, the
// campaign's id, a line feed, the number (4 octets), the link's own number
// (8 octets, from 1; both big-endian), the hash of the link before it
// (32 octets, all zero in front of the first), and the payload.
func (c Chain) Next(campaignID string, number int, payload []byte) Chain {
	lead := make([]byte, 0, 160)
	lead = append(lead, linkDomain...)
	lead = append(lead, campaignID...)
	lead = append(lead, '\n')
	lead = binary.BigEndian.AppendUint32(lead, uint32(number))
	next := Chain{Links: c.Links + 1}
	lead = binary.BigEndian.AppendUint64(lead, uint64(next.Links))
	lead = append(lead, c.Head[:]...)
	h := sha256.New()
	_, _ = h.Write(lead) // it never fails
	_, _ = h.Write(payload)
	h.Sum(next.Head[:0])
	return next
}

// Link is one link of a chain, as it is stored: the payload, and the hash that
// Chain.Next gave. It is never overwritten.
type Link struct {
	Number  int64 // from 1
	Hash    Hash
	Payload []byte
}

// String gives the digest in lower-case hexadecimal.
func (d PersonDigest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements encoding.TextMarshaler.
func (d PersonDigest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *PersonDigest) UnmarshalText(text []byte) error { return decodeHex(d[:], text) }

// String gives the id in lower-case hexadecimal.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// MarshalText implements encoding.TextMarshaler.
func (k KeyID) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *KeyID) UnmarshalText(text []byte) error { return decodeHex(k[:], text) }
