package mailer

import (
	"crypto/sha256"
	"hash"
)

// fileSegment is the segment of a message that is an attachment's body.
type fileSegment struct {
	index int // among the segments
	sum   *[sha256.Size]byte
}

// digester makes digests of a message's segments, with memory that it keeps.
type digester struct {
	hash hash.Hash
	sums []byte
}

// Digest identifies the message. It is SHA-256 over SHA-256 digests, the 32
// octets of each in order, of the pieces into which the message falls. Anybody
// who has the message as it crossed the wire (what follows the CRLF of the
// 354, up to the final dot, dot-stuffing undone) can make it again:
//
// The message is cut in front of and behind the body of each MIME part whose
// header has "Content-Disposition: attachment". A body is the octets between
// the empty line that ends the part's header and the CRLF in front of the next
// boundary delimiter (RFC 2046 5.1.1), as they stand, base64 and line breaks
// included; the empty line is before the cut and the CRLF behind it. So n
// attachments make 2n+1 pieces, some of which may be empty: what comes before
// the first body, that body, what lies between it and the second, and so on to
// the end. A message without attachments is one piece, and its digest the
// SHA-256 of its SHA-256.
//
// That way each attachment is hashed once for a letter and not once for each
// recipient.
func (m *Message) Digest() [sha256.Size]byte {
	d := &m.digester
	if d.hash == nil {
		d.hash = sha256.New()
	}
	d.sums = d.sums[:0]
	start := 0
	for _, f := range m.files {
		d.piece(m.segments[start:f.index])
		d.sums = append(d.sums, f.sum[:]...)
		start = f.index + 1
	}
	d.piece(m.segments[start:])
	return sha256.Sum256(d.sums)
}

// piece adds the digest of octets that stand in several segments.
func (d *digester) piece(segments [][]byte) {
	d.hash.Reset()
	for _, segment := range segments {
		_, _ = d.hash.Write(segment) // it never fails
	}
	d.sums = d.hash.Sum(d.sums)
}
