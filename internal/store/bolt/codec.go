package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"
)

// codecVersion leads every value that encoder makes.
const codecVersion = 1

// errValue is what a decoder says of bytes that no encoder made.
var errValue = errors.New("not a value of this version")

// encoder builds a value.
type encoder []byte

func newEncoder(capacity int) encoder {
	return append(make(encoder, 0, capacity), codecVersion)
}

func (e *encoder) uint(n uint64)    { *e = binary.AppendUvarint(*e, n) }
func (e *encoder) int(n int64)      { *e = binary.AppendVarint(*e, n) }
func (e *encoder) count(n int)      { e.uint(uint64(n)) }
func (e *encoder) time(t time.Time) { e.int(t.UnixMilli()) }

func (e *encoder) bool(b bool) {
	if b {
		e.uint(1)
		return
	}
	e.uint(0)
}

func (e *encoder) string(s string) {
	e.count(len(s))
	*e = append(*e, s...)
}

func (e *encoder) bytes(b []byte) {
	e.count(len(b))
	*e = append(*e, b...)
}

// decoder reads what encoder built. A fault is remembered and makes all that
// follows zero; done tells it.
type decoder struct {
	rest []byte
	bad  bool
}

func newDecoder(value []byte) *decoder {
	if len(value) == 0 || value[0] != codecVersion {
		return &decoder{bad: true}
	}
	return &decoder{rest: value[1:]}
}

// done gives an error unless all of the value was read, and read well.
func (d *decoder) done() error {
	if d.bad || len(d.rest) != 0 {
		return errValue
	}
	return nil
}

func (d *decoder) fail() { d.bad, d.rest = true, nil }

func (d *decoder) uint() uint64 {
	n, used := binary.Uvarint(d.rest)
	if used <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[used:]
	return n
}

func (d *decoder) int() int64 {
	n, used := binary.Varint(d.rest)
	if used <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[used:]
	return n
}

// count reads a number of things that take an octet each at least, so that
// damaged bytes cannot ask for more memory than they are long.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.fail()
		return 0
	}
	return int(n)
}

// number reads a non-negative int that counts nothing in the value.
func (d *decoder) number() int {
	n := d.uint()
	if n > 1<<31-1 {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) bool() bool { return d.uint() != 0 }

// time gives the zero time for the milliseconds of the zero time.
func (d *decoder) time() time.Time { return time.UnixMilli(d.int()).UTC() }

// octets gives bytes of the value itself.
func (d *decoder) octets() []byte {
	n := d.count()
	out := d.rest[:n:n]
	d.rest = d.rest[n:]
	return out
}

func (d *decoder) string() string { return string(d.octets()) }

func (d *decoder) bytes() []byte { return append([]byte(nil), d.octets()...) }

// token identifies a call with its arguments.
type token [16]byte

// tokenOf gives the token of a method that was called with what the arguments
// encode.
func tokenOf(method string, arguments []byte) token {
	digest := sha256.New()
	digest.Write([]byte(method))
	digest.Write([]byte{0})
	digest.Write(arguments)
	var t token
	copy(t[:], digest.Sum(nil))
	return t
}

// milliseconds cuts a time to what is stored of it.
func milliseconds(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }
