package audit

import (
	"crypto/sha256"
	"encoding/binary"

	"postern/internal/campaign"
)

// Tree makes the root of a Merkle tree (RFC 9162 2.1.1) from its leaves, one
// after another, in memory of the logarithm of their number. The zero value is
// the tree without leaves.
type Tree struct {
	// full are the complete subtrees so far, the largest first: the one at i
	// has as many leaves as a bit of leaves says.
	full   []campaign.Hash
	leaves uint64
}

// Add adds the chain of a chunk as the next leaf: the chunk's number (4
// octets), the number of its links (8 octets, both big-endian), and its head.
func (t *Tree) Add(chunk int, c campaign.Chain) {
	leaf := make([]byte, 0, 1+4+8+sha256.Size)
	leaf = append(leaf, 0)
	leaf = binary.BigEndian.AppendUint32(leaf, uint32(chunk))
	leaf = binary.BigEndian.AppendUint64(leaf, uint64(c.Links))
	leaf = append(leaf, c.Head[:]...)
	t.full = append(t.full, sha256.Sum256(leaf))
	t.leaves++
	for n := t.leaves; n&1 == 0; n >>= 1 {
		t.join()
	}
}

// Leaves counts them.
func (t *Tree) Leaves() int64 { return int64(t.leaves) }

// Root is the root of the leaves so far.
func (t *Tree) Root() campaign.Hash {
	if t.leaves == 0 {
		return sha256.Sum256(nil)
	}
	rest := Tree{full: append([]campaign.Hash(nil), t.full...)}
	for len(rest.full) > 1 {
		rest.join()
	}
	return rest.full[0]
}

// join makes one subtree of the last two.
func (t *Tree) join() {
	n := len(t.full)
	node := make([]byte, 0, 1+2*sha256.Size)
	node = append(node, 1)
	node = append(node, t.full[n-2][:]...)
	node = append(node, t.full[n-1][:]...)
	t.full = append(t.full[:n-2], sha256.Sum256(node))
}
