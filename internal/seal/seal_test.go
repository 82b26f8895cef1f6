package seal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/seal"
)

func newSealer(t *testing.T, fill byte) *seal.Sealer {
	t.Helper()
	s, err := seal.New(bytes.Repeat([]byte{fill}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealOpen(t *testing.T) {
	t.Parallel()
	s := newSealer(t, 1)
	for _, plain := range []string{"", "app-password", string(make([]byte, 1<<20))} {
		sealed := s.Seal([]byte(plain), "password of c1")
		if plain != "" && bytes.Contains(sealed, []byte(plain)) {
			t.Error("the ciphertext contains the plain text")
		}
		if bytes.Equal(sealed, s.Seal([]byte(plain), "password of c1")) {
			t.Error("two sealings are alike: the nonce was used twice")
		}
		got, err := s.Open(sealed, "password of c1")
		if err != nil || string(got) != plain {
			t.Errorf("Open = %d octets, %v; want the %d sealed", len(got), err, len(plain))
		}
	}
}

// TestOver: in the caller's own memory where there is room, and the same as
// without.
func TestOver(t *testing.T) {
	t.Parallel()
	s := newSealer(t, 1)
	for _, size := range []int{0, 1, 15, 4096, 1 << 20} {
		want := bytes.Repeat([]byte("ab"), size)[:size]
		for _, room := range []int{0, seal.Overhead - 1, seal.Overhead, seal.Overhead + 9} {
			plain := append(make([]byte, 0, size+room), want...)
			sealed := s.SealOver(plain, "file of c1")
			if len(sealed) != size+seal.Overhead {
				t.Errorf("%d octets with room for %d became %d", size, room, len(sealed))
			}
			if inPlace := cap(plain) > 0 && &sealed[0] == &plain[:1][0]; inPlace != (room >= seal.Overhead) {
				t.Errorf("%d octets with room for %d were sealed in place: %v", size, room, inPlace)
			}
			opened, err := s.Open(sealed, "file of c1")
			if err != nil || !bytes.Equal(opened, want) {
				t.Errorf("Open of %d octets = %d octets, %v", size, len(opened), err)
			}
			over, err := s.OpenOver(sealed, "file of c1")
			if err != nil || !bytes.Equal(over, want) {
				t.Errorf("OpenOver of %d octets = %d octets, %v", size, len(over), err)
			}
			if size > 0 && !bytes.Contains(sealed, over) {
				t.Errorf("OpenOver of %d octets made a copy", size)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	s := newSealer(t, 1)
	sealed := s.Seal([]byte("secret"), "password of c1")
	flipped := append([]byte(nil), sealed...)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		sealer  *seal.Sealer
		sealed  []byte
		context string
		want    error
	}{
		"another key":     {newSealer(t, 2), sealed, "password of c1", seal.ErrWrongKey},
		"another context": {s, sealed, "password of c2", seal.ErrDamaged},
		"a changed bit":   {s, flipped, "password of c1", seal.ErrDamaged},
		"a cut end":       {s, sealed[:10], "password of c1", seal.ErrDamaged},
		"nothing":         {s, nil, "password of c1", seal.ErrDamaged},
	} {
		if plain, err := c.sealer.Open(c.sealed, c.context); !errors.Is(err, c.want) || plain != nil {
			t.Errorf("%s: Open = %q, %v; want %v", name, plain, err, c.want)
		}
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	s := newSealer(t, 1)
	a, errA := s.Derive("cursors")
	b, errB := s.Derive("tokens")
	if errA != nil || errB != nil || len(a) != seal.KeySize || bytes.Equal(a, b) {
		t.Errorf("derived %x and %x (%v, %v)", a, b, errA, errB)
	}
}

func TestLoadOrCreateKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first, err := seal.LoadOrCreateKey(dir)
	if err != nil || len(first) != seal.KeySize {
		t.Fatalf("created %d octets, %v", len(first), err)
	}
	again, err := seal.LoadOrCreateKey(dir)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("loaded another key than was created, %v", err)
	}
	path := filepath.Join(dir, "encryption.key")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file has mode %v, %v; want 0600", info.Mode(), err)
	}
	if err := os.WriteFile(path, first[:7], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.LoadOrCreateKey(dir); err == nil {
		t.Error("a key file cut short was accepted")
	}
}

func TestNewRefusesShortKeys(t *testing.T) {
	t.Parallel()
	if _, err := seal.New(make([]byte, 16)); err == nil {
		t.Error("a key of 16 octets was accepted")
	}
}
