package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestRotation: what the old key has sealed is opened by a ring that has it
// anywhere, the newest seals, and a key that is missing is named by its id.
func TestRotation(t *testing.T) {
	t.Parallel()
	old, recent := bytes.Repeat([]byte{1}, seal.KeySize), bytes.Repeat([]byte{2}, seal.KeySize)
	before, after := newSealer(t, 1), newRing(t, recent, old)
	sealed := before.Seal([]byte("secret"), "password of c1")
	if plain, err := after.Open(sealed, "password of c1"); err != nil || string(plain) != "secret" {
		t.Errorf("the ring opens what the old key has sealed: %q, %v", plain, err)
	}

	sealed = after.Seal([]byte("secret"), "password of c1")
	if plain, err := newSealer(t, 2).Open(sealed, "password of c1"); err != nil || string(plain) != "secret" {
		t.Errorf("the ring does not seal with its first key: %q, %v", plain, err)
	}
	_, err := before.Open(sealed, "password of c1")
	id := after.KeyID()
	if !errors.Is(err, seal.ErrWrongKey) || !strings.Contains(err.Error(), "ENCRYPTION_KEY") || !strings.Contains(err.Error(), hex.EncodeToString(id[:])) {
		t.Errorf("without the key: %v; want ErrWrongKey that names ENCRYPTION_KEY and the key's id %x", err, id)
	}
	if ids := after.KeyIDs(); !slices.Equal(ids, [][4]byte{id, before.KeyID()}) {
		t.Errorf("the ring's ids are %x", ids)
	}
}

// TestDeriveFor: what was derived before a rotation is derived again by id.
func TestDeriveFor(t *testing.T) {
	t.Parallel()
	before := newSealer(t, 1)
	after := newRing(t, bytes.Repeat([]byte{2}, seal.KeySize), bytes.Repeat([]byte{1}, seal.KeySize))
	want, err := before.Derive("persons")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := after.DeriveFor(before.KeyID(), "persons"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("derived for the old key's id: %x, %v; want %x", got, err, want)
	}
	if got, err := after.Derive("persons"); err != nil || bytes.Equal(got, want) {
		t.Errorf("the new key derives what the old one did: %x, %v", got, err)
	}
	if _, err := before.DeriveFor(after.KeyID(), "persons"); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("for a key that is not in the ring: %v; want ErrWrongKey", err)
	}
}

func newRing(t *testing.T, keys ...[]byte) *seal.Sealer {
	t.Helper()
	s, err := seal.New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoadOrCreateKeys(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first, err := seal.LoadOrCreateKeys(dir)
	if err != nil || len(first) != 1 || len(first[0]) != seal.KeySize {
		t.Fatalf("created %d keys, %v", len(first), err)
	}
	again, err := seal.LoadOrCreateKeys(dir)
	if err != nil || len(again) != 1 || !bytes.Equal(first[0], again[0]) {
		t.Errorf("loaded another key than was created, %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "encryption.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file has mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestKeyFileFormats(t *testing.T) {
	t.Parallel()
	old, recent := bytes.Repeat([]byte{'k'}, seal.KeySize), bytes.Repeat([]byte{2}, seal.KeySize)
	lines := base64.StdEncoding.EncodeToString(recent) + "\r\n\n" + base64.StdEncoding.EncodeToString(old)
	for name, c := range map[string]struct {
		content string
		want    [][]byte // nil for an error
	}{
		"octets, as it was written once": {string(old), [][]byte{old}},
		"lines, the newest first":        {lines, [][]byte{recent, old}},
		"cut short":                      {string(old[:7]), nil},
		"a line cut short":               {lines[:len(lines)-3], nil},
		"empty":                          {"\n\n", nil},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "encryption.key"), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := seal.LoadKeys(dir)
		if !slices.EqualFunc(got, c.want, bytes.Equal) || (err == nil) != (c.want != nil) {
			t.Errorf("%s: %x, %v; want %x", name, got, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "kkkk") || strings.Contains(err.Error(), "AgIC")) {
			t.Errorf("%s: the error shows a key: %v", name, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	whole := make([]byte, seal.KeySize)
	for name, keys := range map[string][][]byte{
		"no key": nil, "a short key": {whole[:16]}, "a short one behind": {whole, whole[:31]}, "a key twice": {whole, whole},
	} {
		if _, err := seal.New(keys...); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
