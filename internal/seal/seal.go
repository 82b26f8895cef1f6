// Package seal encrypts what must not be read from the store: relay
// passwords, letters and attachments. It is AES-256-GCM from the standard
// library with a random nonce for every sealing.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// KeySize is the length of a key in octets.
const KeySize = 32

// keyIDSize is the length of the key's name in front of each ciphertext: it
// tells a wrong key from a damaged ciphertext.
const keyIDSize = 4

// ErrWrongKey is returned by Open for what another key has sealed.
var ErrWrongKey = errors.New("seal: sealed with another key than the one configured (ENCRYPTION_KEY, or the key file in DATA_DIR)")

// ErrDamaged is returned by Open for what is not as Seal made it, or was
// sealed for another context.
var ErrDamaged = errors.New("seal: damaged ciphertext, or one that belongs elsewhere")

// Sealer seals and opens with one key.
type Sealer struct {
	key  []byte
	id   [keyIDSize]byte
	aead cipher.AEAD
}

// New makes a Sealer of a key of KeySize random octets.
func New(key []byte) (*Sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("seal: a key has %d octets, not %d", KeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	s := &Sealer{key: append([]byte(nil), key...), aead: aead}
	sum := sha256.Sum256(append([]byte("postern key id\x00"), key...))
	copy(s.id[:], sum[:])
	return s, nil
}

// Overhead is how many octets longer than the plain text a ciphertext is.
const Overhead = keyIDSize + 12 + 16 // the key's name, GCM's nonce and tag

// Seal encrypts plain. context says what it is and whose; Open needs the same
// one, so a ciphertext cannot be moved to another row.
func (s *Sealer) Seal(plain []byte, context string) []byte {
	return s.SealOver(append(make([]byte, 0, len(plain)+Overhead), plain...), context)
}

// SealOver is Seal for a caller who needs plain no more: where plain has a
// capacity of Overhead octets beyond its length, the ciphertext takes its
// place in memory.
func (s *Sealer) SealOver(plain []byte, context string) []byte {
	out := slices.Grow(plain, Overhead)[:len(plain)+Overhead]
	body := out[keyIDSize:]
	copy(body, plain)
	copy(out, s.id[:])
	s.aead.Seal(body[:0], nil, body[:len(plain)], []byte(context)) //nolint:gosec // G407: this AEAD makes its own random nonce
	return out
}

// Open decrypts what Seal made for the same context. ErrWrongKey, ErrDamaged.
func (s *Sealer) Open(sealed []byte, context string) ([]byte, error) {
	return s.OpenOver(bytes.Clone(sealed), context)
}

// OpenOver is Open for a caller who needs sealed no more: the plain text, or
// after an error nothing of use, takes its place in memory.
func (s *Sealer) OpenOver(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < keyIDSize {
		return nil, ErrDamaged
	}
	if [keyIDSize]byte(sealed[:keyIDSize]) != s.id {
		return nil, ErrWrongKey
	}
	body := sealed[keyIDSize:]
	plain, err := s.aead.Open(body[:0], nil, body, []byte(context))
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// Derive makes a further key of KeySize octets for another purpose, which
// tells nothing about the sealing key (HKDF, RFC 5869).
func (s *Sealer) Derive(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, s.key, nil, purpose, KeySize)
}

// keyFile is the key's file in the data directory.
const keyFile = "encryption.key"

// LoadOrCreateKey reads the key file in dir, or makes it with a new random
// key and mode 0600. Whoever loses the file loses what was sealed with it.
func LoadOrCreateKey(dir string) ([]byte, error) {
	key, err := LoadKey(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return createKey(filepath.Join(dir, keyFile))
	}
	return key, err
}

// LoadKey reads the key file in dir. The error wraps fs.ErrNotExist when there
// is none.
func LoadKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, keyFile)
	key, err := os.ReadFile(path) //nolint:gosec // G304: the operator names the directory
	if err != nil {
		return nil, fmt.Errorf("read the encryption key, without which what is in the store cannot be opened: %w", err)
	}
	if len(key) != KeySize {
		return nil, fmt.Errorf("the encryption key %s has %d octets instead of %d: put the right file back", path, len(key), KeySize)
	}
	return key, nil
}

func createKey(path string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the encryption key: %w", err)
	}
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand aborts the program instead
	// Written aside, synced, then linked: a crash leaves a whole key or none,
	// and of two starts at once the second uses the first one's.
	tmp, err := os.CreateTemp(filepath.Dir(path), ".encryption.key-*")
	if err != nil {
		return nil, fmt.Errorf("write the encryption key: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if _, err = tmp.Write(key); err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return nil, fmt.Errorf("write the encryption key: %w", err)
	}
	switch err = os.Link(tmp.Name(), path); {
	case errors.Is(err, fs.ErrExist):
		return LoadOrCreateKey(filepath.Dir(path))
	case err != nil:
		return nil, fmt.Errorf("write the encryption key: %w", err)
	}
	return key, syncDir(filepath.Dir(path))
}

// syncDir makes the directory's new entry durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // G304: the operator names the directory
	if err != nil {
		return fmt.Errorf("sync the directory of the encryption key: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
