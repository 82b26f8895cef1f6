package mailer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
	"unicode/utf8"

	"postern/internal/campaign"
)

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// MessageIDs makes the Message-IDs of a campaign: for an address the same one
// each time (so that a repeated message can be recognised), another one for
// another campaign or address. They are made with a key: without it nobody can
// tell to whom a message went, from its Message-ID or from its digest, of which
// the Message-ID is a part. Safe for concurrent use.
type MessageIDs struct {
	lead   string
	domain string
	macs   sync.Pool // of hash.Hash
}

// NewMessageIDs is for the messages of a campaign from an address, which
// Compile took: the Message-IDs' domain is its own, in A-labels.
func NewMessageIDs(key []byte, campaignID, fromAddress string) *MessageIDs {
	ids := &MessageIDs{lead: campaignID + "\x00", domain: "@postern.invalid"} // RFC 2606: nobody's
	if wire, _, err := campaign.WireAddress(fromAddress); err == nil {
		ids.domain = "@" + campaign.Domain(wire)
	}
	ids.macs.New = func() any { return hmac.New(sha256.New, key) }
	return ids
}

// messageIDOctets of HMAC-SHA-256 are kept: 128 bits are beyond guessing.
const messageIDOctets = 16

// Of gives the Message-ID of the message to an address, without angle brackets.
func (ids *MessageIDs) Of(address string) string {
	mac, _ := ids.macs.Get().(hash.Hash) // New makes nothing else
	defer ids.macs.Put(mac)
	mac.Reset()
	text := append(append(make([]byte, 0, 128), ids.lead...), campaign.Key(address)...)
	_, _ = mac.Write(text) // it never fails
	var sum [sha256.Size]byte
	out := hex.AppendEncode(make([]byte, 0, 2*messageIDOctets+len(ids.domain)), mac.Sum(sum[:0])[:messageIDOctets])
	return string(append(out, ids.domain...))
}
