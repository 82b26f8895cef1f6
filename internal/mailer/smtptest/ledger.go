package smtptest

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"time"
)

// Message is a message that the relay has taken: it read the final dot and
// decided for a 2yz reply.
type Message struct {
	Seq        int // from 1, in the order of taking
	Conn       int // the connection's number
	From       string
	To         []string
	MailParams string // the parameters of MAIL, such as "SIZE=2048 SMTPUTF8"
	Data       []byte // as sent, without dot-stuffing; nil with DigestOnly
	SHA256     [sha256.Size]byte
	Size       int // octets of the data
	TLS        bool
	User       string // as authenticated; "" for none
	Time       time.Time
	// Replied: the reply was written to the connection. False when the
	// connection broke, or a Hook closed it, in between.
	Replied bool
}

// Violations counts what a careful client never does, in messages taken or
// refused.
type Violations struct {
	BareCR       int // CR without LF in a message
	BareLF       int // LF without CR in a message
	NUL          int // NUL octets in a message
	EightBit     int // octets above 127 in a message
	LongLines    int // lines of more than 998 octets in a message
	BadLines     int // command lines without CR, or with NUL
	OutOfOrder   int // commands in a wrong order, such as MAIL within a transaction
	NotPipelined int // input ahead of the reply where it must be awaited
	ClearSecrets int // AUTH PLAIN or LOGIN in plain text while TLS was to be had
}

// Total is the sum of all kinds.
func (v Violations) Total() int {
	return v.BareCR + v.BareLF + v.NUL + v.EightBit + v.LongLines + v.BadLines +
		v.OutOfOrder + v.NotPipelined + v.ClearSecrets
}

func (v *Violations) add(w Violations) {
	v.BareCR += w.BareCR
	v.BareLF += w.BareLF
	v.NUL += w.NUL
	v.EightBit += w.EightBit
	v.LongLines += w.LongLines
	v.BadLines += w.BadLines
	v.OutOfOrder += w.OutOfOrder
	v.NotPipelined += w.NotPipelined
	v.ClearSecrets += w.ClearSecrets
}

// Stats are counters since the Ledger was made.
type Stats struct {
	Opened       int // connections
	InUse        int // connections open now
	Peak         int // most connections open at once
	Transactions int // open now: MAIL accepted, its outcome not yet replied
	Accepted     int // messages taken
	TLS          int // connections on which TLS was established
	TLSFailures  int // failed handshakes
	AuthFailures int // credentials refused
	// Commands counts by verb, in upper case, all that was understood.
	Commands map[string]int
}

// Ledger is the record of what a relay took and saw. The zero value is ready;
// it is safe for use by many goroutines.
type Ledger struct {
	mu         sync.Mutex
	messages   []Message
	perRcpt    map[string]int
	stats      Stats
	violations Violations
	changed    chan struct{} // closed at the next message; nil when nobody waits
}

// Messages gives all messages taken, in order. The slice is the caller's, the
// data is shared.
func (l *Ledger) Messages() []Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.messages)
}

// Count is the number of messages taken.
func (l *Ledger) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.messages)
}

// CountTo is the number of messages taken for an address, exactly as it was
// sent.
func (l *Ledger) CountTo(address string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.perRcpt[address]
}

// PerRecipient is the number of messages taken for each address.
func (l *Ledger) PerRecipient() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.perRcpt)
}

// Violations gives the counters of what no careful client does.
func (l *Ledger) Violations() Violations {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.violations
}

// Stats gives the counters.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Commands = maps.Clone(s.Commands)
	return s
}

// Wait returns when n messages have been taken in all, or with the context's
// error.
func (l *Ledger) Wait(ctx context.Context, n int) error {
	for {
		l.mu.Lock()
		if len(l.messages) >= n {
			l.mu.Unlock()
			return nil
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// add takes a message and gives its sequence number.
func (l *Ledger) add(m Message) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.Seq = len(l.messages) + 1
	l.messages = append(l.messages, m)
	l.stats.Accepted++
	if l.perRcpt == nil {
		l.perRcpt = make(map[string]int)
	}
	for _, to := range m.To {
		l.perRcpt[to]++
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return m.Seq
}

func (l *Ledger) replied(seqs []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seq := range seqs {
		l.messages[seq-1].Replied = true
	}
}

// opened counts a connection and gives its number and how many are open.
func (l *Ledger) opened() (id, open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Opened++
	l.stats.InUse++
	l.stats.Peak = max(l.stats.Peak, l.stats.InUse)
	return l.stats.Opened, l.stats.InUse
}

func (l *Ledger) command(verb string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stats.Commands == nil {
		l.stats.Commands = make(map[string]int)
	}
	l.stats.Commands[verb]++
}

func (l *Ledger) count(change func(*Stats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.stats)
}

func (l *Ledger) violated(v Violations) {
	if v == (Violations{}) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations.add(v)
}
