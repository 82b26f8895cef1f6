package campaign

import (
	"encoding/binary"
	"errors"
	"time"
)

// Record is the payload of a link of a chunk's chain.
type Record struct {
	// Results are terminal states that were written at once.
	Results []Result
	// Reopened are the indexes of recipients whose results a retry has taken
	// back. A record has either this or Results.
	Reopened []int
}

// A record's first two octets.
const (
	recordVersion  = 1
	recordResults  = 1
	recordReopened = 2
)

// How a person stands in a record.
const (
	personNone    = 0
	personSameKey = 1 // under the key of the last one before
	personNewKey  = 2 // behind the id of its key
)

// stateCodes are the terminal states in records. A code is never given to
// another state.
var stateCodes = map[DeliveryState]byte{
	DeliverySent: 1, DeliveryFailed: 2, DeliveryUnknown: 3, DeliverySuppressed: 4,
}

// errRecord is what DecodeRecord returns for octets that no record has.
var errRecord = errors.New("campaign: damaged audit record")

// EncodeResults gives the payload of a record of those deliveries that are
// terminal; nil where none is. It is two octets, the version 1 and the kind 1,
// then the number of results and for each of them: index; state in one octet
// (1 sent, 2 failed, 3 unknown, 4 suppressed); attempts; the milliseconds since
// the result before it, and for the first since 1970, signed; person: an octet
// 0 for none, or 1 and the 16 octets of the digest under the same key as the
// person before, or 2, the 4 octets of the key's id and the digest; the
// message's digest behind its length; how many octets the reply begins with that
// the reply before it begins with too, and the rest behind its length. Numbers
// are varints as in Protocol Buffers, signed ones zigzag.
func EncodeResults(deliveries []Delivery) []byte {
	n := 0
	for i := range deliveries {
		if deliveries[i].State.Terminal() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	// With room for what most have, and for a store to put the hash behind it.
	e := recordEncoder{out: append(make([]byte, 0, 64+96*n), recordVersion, recordResults)}
	e.number(n)
	for i := range deliveries {
		if deliveries[i].State.Terminal() {
			e.result(ResultOf(deliveries[i]))
		}
	}
	return e.out
}

// recordEncoder knows of the result before what the next one refers to.
type recordEncoder struct {
	out   []byte
	at    int64
	key   KeyID
	reply string
}

func (e *recordEncoder) number(n int) {
	e.out = binary.AppendUvarint(e.out, uint64(n))
}

func (e *recordEncoder) result(r Result) {
	e.number(r.Index)
	e.out = append(e.out, stateCodes[r.State])
	e.number(r.Attempts)
	at := r.At.UnixMilli()
	e.out = binary.AppendVarint(e.out, at-e.at)
	e.at = at
	e.person(r.Person)
	e.number(len(r.Digest))
	e.out = append(e.out, r.Digest...)
	shared := sharedOctets(e.reply, r.Reply)
	e.number(shared)
	e.out = appendString(e.out, r.Reply[shared:])
	e.reply = r.Reply
}

func (e *recordEncoder) person(p Person) {
	switch {
	case p == Person{}:
		e.out = append(e.out, personNone)
		return
	case p.Key == e.key:
		e.out = append(e.out, personSameKey)
	default:
		e.out = append(append(e.out, personNewKey), p.Key[:]...)
		e.key = p.Key
	}
	e.out = append(e.out, p.Digest[:]...)
}

func sharedOctets(a, b string) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// EncodeReopened gives the payload of a record of recipients whose results a
// retry takes back: the version 1 and the kind 2, how many they are, and their
// indexes, all as EncodeResults writes numbers. Nil where there are none.
func EncodeReopened(indexes []int) []byte {
	if len(indexes) == 0 {
		return nil
	}
	e := recordEncoder{out: []byte{recordVersion, recordReopened}}
	e.number(len(indexes))
	for _, index := range indexes {
		e.number(index)
	}
	return e.out
}

// DecodeRecord reads what EncodeResults or EncodeReopened made.
func DecodeRecord(payload []byte) (Record, error) {
	if len(payload) < 2 || payload[0] != recordVersion {
		return Record{}, errRecord
	}
	d := recordDecoder{reader: reader{rest: payload[2:]}}
	n := d.count()
	var r Record
	switch payload[1] {
	case recordResults:
		for range n {
			r.Results = append(r.Results, d.result())
		}
	case recordReopened:
		for range n {
			r.Reopened = append(r.Reopened, d.number())
		}
	default:
		return Record{}, errRecord
	}
	if n == 0 || d.bad || len(d.rest) != 0 {
		return Record{}, errRecord
	}
	return r, nil
}

// recordDecoder is recordEncoder's counterpart.
type recordDecoder struct {
	reader

	at    int64
	key   KeyID
	reply string
}

func (d *recordDecoder) result() Result {
	r := Result{Index: d.number(), State: d.state(), Attempts: d.number()}
	d.at += d.signed()
	r.At = time.UnixMilli(d.at).UTC()
	r.Person = d.person()
	r.Digest = []byte(d.string())
	shared := d.number()
	rest := d.string()
	if shared > len(d.reply) || shared+len(rest) > MaxAuditReplyOctets {
		d.fail() // also so that damaged octets cannot repeat one long reply a thousand times
		return r
	}
	r.Reply = d.reply[:shared] + rest
	d.reply = r.Reply
	return r
}

func (d *recordDecoder) state() DeliveryState {
	code := d.take(1)
	for state, c := range stateCodes {
		if len(code) == 1 && c == code[0] {
			return state
		}
	}
	d.fail()
	return ""
}

func (d *recordDecoder) person() (p Person) {
	kind := d.take(1)
	switch {
	case len(kind) == 0 || kind[0] > personNewKey:
		d.fail()
		return p
	case kind[0] == personNone:
		return p
	case kind[0] == personNewKey:
		copy(d.key[:], d.take(len(d.key)))
	}
	p.Key = d.key
	copy(p.Digest[:], d.take(len(p.Digest)))
	return p
}
