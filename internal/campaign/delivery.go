package campaign

import "time"

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
	UpdatedAt time.Time
	// NextAttempt is set on a pending delivery that waits for a retry.
	NextAttempt time.Time
}

// MaxReplyOctets bounds what is kept of a relay's reply.
const MaxReplyOctets = 400

// Progress is how far a chunk is: which of its recipients are settled, and
// which wait for another attempt. A recipient in neither set has not been
// tried, or its try was not recorded.
type Progress struct {
	Settled  Bitmap
	Deferred []Deferred
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
