package campaign

import (
	"math/bits"
	"time"
)

// Recipient is one member of a frozen audience: the address and the values of
// the fields that the letter uses, as they were when the chunk was frozen.
type Recipient struct {
	Address string // as given, for the envelope and the To header
	Values  []string
}

// Delivery is the record of one recipient of a campaign.
type Delivery struct {
	Index    int // place in the chunk
	Address  string
	State    DeliveryState
	Attempts int
	// Reply is the relay's last reply, or why there was none. Cut at
	// MaxReplyOctets.
	Reply     string
	MessageID string // without angle brackets; "" when no message was made
	// Digest identifies the message that the relay acknowledged, as
	// mailer.Message.Digest; empty unless the state is sent.
	Digest []byte
	// Person stands for the recipient in the audit trail. It is not kept with
	// the delivery: what is written has it, and what is read has not.
	Person    Person
	UpdatedAt time.Time
	// NextAttempt is set on a pending delivery that waits for a retry.
	NextAttempt time.Time
}

// MaxReplyOctets bounds what is kept of a relay's reply.
const MaxReplyOctets = 400

// Progress is how far a chunk is: which of its recipients are settled, which
// wait for another attempt, and which may be under way. A recipient in none
// of the sets has not been tried, or its try was not recorded.
type Progress struct {
	Settled  Bitmap
	Deferred []Deferred
	// Intents are recipients of an at-most-once campaign whose message may
	// have left: the holder makes them durable before their envelopes leave. A
	// holder that finds another's intents unsettled makes them unknown.
	Intents Bitmap
	// Counted are the settled recipients whom the contacts' statistics have
	// already, where they were sent to.
	Counted Bitmap
	// Chain is the end of the chunk's audit trail.
	Chain Chain
}

// AllCounted says whether the contacts' statistics have every settled
// recipient who was sent to.
func (p Progress) AllCounted() bool {
	for i, octet := range p.Settled {
		var counted byte
		if i < len(p.Counted) {
			counted = p.Counted[i]
		}
		if octet&^counted != 0 {
			return false
		}
	}
	return true
}

// Deferred is a recipient whose last attempt failed for the time being.
type Deferred struct {
	Index    int
	Attempts int
	Next     time.Time // not to be tried before
	Reply    string    // cut at MaxDeferredReplyOctets
}

// MaxDeferredReplyOctets keeps a lease item small when a whole chunk is
// deferred.
const MaxDeferredReplyOctets = 120

// Clone gives a copy that shares nothing with p.
func (p Progress) Clone() Progress {
	return Progress{
		Settled:  append(Bitmap(nil), p.Settled...),
		Deferred: append([]Deferred(nil), p.Deferred...),
		Intents:  append(Bitmap(nil), p.Intents...),
		Counted:  append(Bitmap(nil), p.Counted...),
		Chain:    p.Chain,
	}
}

// Forget takes out what was said of a deferred recipient.
func (p *Progress) Forget(index int) {
	for i := range p.Deferred {
		if p.Deferred[i].Index == index {
			p.Deferred[i].Reply = ""
		}
	}
}

// Bitmap is a set of small non-negative integers, one bit each.
type Bitmap []byte

// NewBitmap makes an empty set for the integers below n.
func NewBitmap(n int) Bitmap { return make(Bitmap, (n+7)/8) }

// Has says whether i is in the set.
func (b Bitmap) Has(i int) bool { return i/8 < len(b) && b[i/8]&(1<<(i%8)) != 0 }

// Add puts i, which is below the n of NewBitmap, into the set.
func (b Bitmap) Add(i int) { b[i/8] |= 1 << (i % 8) }

// Remove takes i out of the set.
func (b Bitmap) Remove(i int) {
	if i/8 < len(b) {
		b[i/8] &^= 1 << (i % 8)
	}
}

// Len counts the set.
func (b Bitmap) Len() (n int) {
	for _, octet := range b {
		n += bits.OnesCount8(octet)
	}
	return n
}
