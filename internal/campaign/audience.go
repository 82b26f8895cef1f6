package campaign

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// Audience is a frozen chunk of recipients. Fields names the values that each
// recipient has, in order.
type Audience struct {
	Fields     []string
	Recipients []Recipient
}

// audienceVersion leads the packed form, so that a later form can be told
// apart.
const audienceVersion = 1

// errAudience is what Unpack returns for bytes that Pack did not make.
var errAudience = errors.New("campaign: damaged audience")

// Pack gives the audience's stored form: a version, then counts and strings,
// each string behind its length as an unsigned varint.
func (a Audience) Pack() []byte {
	out := []byte{audienceVersion}
	out = binary.AppendUvarint(out, uint64(len(a.Fields)))
	for _, f := range a.Fields {
		out = appendString(out, f)
	}
	out = binary.AppendUvarint(out, uint64(len(a.Recipients)))
	for _, r := range a.Recipients {
		out = appendString(out, r.Address)
		for i := range a.Fields {
			out = appendString(out, r.Values[i])
		}
	}
	return out
}

// Without gives the audience with neither address nor values of the recipient.
func (a Audience) Without(index int) Audience {
	a.Recipients = slices.Clone(a.Recipients)
	a.Recipients[index] = Recipient{Values: make([]string, len(a.Fields))}
	return a
}

// Find gives the index of the recipient with a contact's key, -1 where there
// is none.
func (a Audience) Find(key string) int {
	return slices.IndexFunc(a.Recipients, func(r Recipient) bool { return !r.Erased() && Key(r.Address) == key })
}

// Erased says whether the recipient was a person whose data was erased.
func (r Recipient) Erased() bool { return r.Address == "" }

// PackedSize is about what a recipient adds to the packed form, in octets.
func (r Recipient) PackedSize() int {
	size := len(r.Address) + binary.MaxVarintLen16
	for _, v := range r.Values {
		size += len(v) + binary.MaxVarintLen16
	}
	return size
}

// UnpackAudience reads what Pack made.
func UnpackAudience(packed []byte) (Audience, error) {
	if len(packed) == 0 || packed[0] != audienceVersion {
		return Audience{}, errAudience
	}
	in := reader{rest: packed[1:]}
	a := Audience{Fields: make([]string, in.count())}
	for i := range a.Fields {
		a.Fields[i] = in.string()
	}
	a.Recipients = make([]Recipient, in.count())
	if len(a.Recipients)*len(a.Fields) > len(in.rest) {
		return Audience{}, errAudience
	}
	values := make([]string, len(a.Recipients)*len(a.Fields))
	for i := range a.Recipients {
		r := Recipient{Address: in.string(), Values: values[:len(a.Fields):len(a.Fields)]}
		values = values[len(a.Fields):]
		for j := range r.Values {
			r.Values[j] = in.string()
		}
		a.Recipients[i] = r
	}
	if in.bad || len(in.rest) != 0 {
		return Audience{}, errAudience
	}
	return a, nil
}

func appendString(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

// reader takes numbers and strings off packed bytes and remembers a fault.
type reader struct {
	rest []byte
	bad  bool
}

// count reads a number of things that take at least one octet each, so that
// damaged bytes cannot ask for more memory than they are long.
func (r *reader) count() int {
	n, used := binary.Uvarint(r.rest)
	if used <= 0 || n > uint64(len(r.rest)-used) {
		r.fail()
		return 0
	}
	r.rest = r.rest[used:]
	return int(n)
}

func (r *reader) string() string { return string(r.take(r.count())) }

// take gives the next n octets; none where there are fewer.
func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail()
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

// number reads a number that counts nothing in the packed bytes.
func (r *reader) number() int {
	n, used := binary.Uvarint(r.rest)
	if used <= 0 || n > math.MaxInt32 {
		r.fail()
		return 0
	}
	r.rest = r.rest[used:]
	return int(n)
}

func (r *reader) signed() int64 {
	n, used := binary.Varint(r.rest)
	if used <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[used:]
	return n
}

func (r *reader) fail() { r.bad, r.rest = true, nil }
