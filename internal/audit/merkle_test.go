package audit_test

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"

	"postern/internal/audit"
	"postern/internal/campaign"
)

// merkle is the recursive definition of RFC 9162 2.1.1.
func merkle(leaves [][]byte) []byte {
	switch len(leaves) {
	case 0:
		sum := sha256.Sum256(nil)
		return sum[:]
	case 1:
		sum := sha256.Sum256(append([]byte{0}, leaves[0]...))
		return sum[:]
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	sum := sha256.Sum256(slices.Concat([]byte{1}, merkle(leaves[:k]), merkle(leaves[k:])))
	return sum[:]
}

func TestTree(t *testing.T) {
	t.Parallel()
	var tree audit.Tree
	var leaves [][]byte
	for n := range 70 {
		root := tree.Root()
		if want := merkle(leaves); !slices.Equal(root[:], want) || tree.Leaves() != int64(n) {
			t.Errorf("of %d leaves: %x; want %x", n, root, want)
		}
		c := campaign.Chain{}.Next("c", n, []byte{byte(n)})
		leaf := binary.BigEndian.AppendUint32(nil, uint32(n+1))
		leaf = binary.BigEndian.AppendUint64(leaf, 1)
		leaves = append(leaves, append(leaf, c.Head[:]...))
		tree.Add(n+1, c)
	}
}
