// Package seal encrypts what must not be read from the store: relay
// passwords, letters and attachments. It is AES-256-GCM from the standard
// library with a random nonce for every sealing.
//
// Keys form a ring: the first seals, all of them open. So a key is rotated in
// three steps, each a start of every task: the new key joins behind the old
// one (a task that has not been started anew could not open what the others
// seal with it), then the two change places, and the old one leaves when
// nothing is left that it has sealed. Nothing is sealed again: what is sealed
// lives as long as its campaign.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// KeySize is the length of a key in octets.
const KeySize = 32

// keyIDSize is the length of the key's id in front of each ciphertext: it
// says which key opens it.
const keyIDSize = 4

// ErrWrongKey is what Open's error wraps for what none of the keys has sealed;
// the error gives the id of the key that is missing.
var ErrWrongKey = errors.New("seal: a key is missing (ENCRYPTION_KEY, what ENCRYPTION_KEY_REF names, or the key file in DATA_DIR): put it back, behind the others")

// ErrDamaged is returned by Open for what is not as Seal made it, or was
// sealed for another context.
var ErrDamaged = errors.New("seal: damaged ciphertext, or one that belongs elsewhere")

// Sealer is a ring of keys: it seals with the first and opens with all.
type Sealer struct{ ring []key }

type key struct {
	id     [keyIDSize]byte
	secret []byte
	aead   cipher.AEAD
}

// New makes a Sealer of keys of KeySize random octets each, at least one, the
// newest first. An error does not contain any of them.
func New(keys ...[]byte) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("seal: there is no key")
	}
	s := &Sealer{}
	for i, secret := range keys {
		k, err := newKey(secret)
		if err != nil {
			return nil, fmt.Errorf("seal: key %d: %w", i+1, err)
		}
		if _, err := s.find(k.id); err == nil {
			return nil, fmt.Errorf("seal: key %d: its id %x is another key's already; is it there twice?", i+1, k.id)
		}
		s.ring = append(s.ring, k)
	}
	return s, nil
}

func newKey(secret []byte) (key, error) {
	if len(secret) != KeySize {
		return key{}, fmt.Errorf("it has %d octets, not %d", len(secret), KeySize)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return key{}, err
	}
	k := key{secret: bytes.Clone(secret), aead: aead}
	sum := sha256.Sum256(append([]byte("postern key id\x00"), secret...))
	copy(k.id[:], sum[:])
	return k, nil
}

func (s *Sealer) find(id [keyIDSize]byte) (key, error) {
	i := slices.IndexFunc(s.ring, func(k key) bool { return k.id == id })
	if i < 0 {
		return key{}, fmt.Errorf("%w: the id of the key is %x", ErrWrongKey, id)
	}
	return s.ring[i], nil
}

// KeyID is the id of the key that seals. It tells nothing about the key.
func (s *Sealer) KeyID() [keyIDSize]byte { return s.ring[0].id }

// KeyIDs are the ids of all keys, that of the one that seals first.
func (s *Sealer) KeyIDs() [][keyIDSize]byte {
	ids := make([][keyIDSize]byte, len(s.ring))
	for i, k := range s.ring {
		ids[i] = k.id
	}
	return ids
}

// Overhead is how many octets longer than the plain text a ciphertext is.
const Overhead = keyIDSize + 12 + 16 // the key's id, GCM's nonce and tag

// Seal encrypts plain. context says what it is and whose; Open needs the same
// one, so a ciphertext cannot be moved to another row.
func (s *Sealer) Seal(plain []byte, context string) []byte {
	return s.SealOver(append(make([]byte, 0, len(plain)+Overhead), plain...), context)
}

// SealOver is Seal for a caller who needs plain no more: where plain has a
// capacity of Overhead octets beyond its length, the ciphertext takes its
// place in memory.
func (s *Sealer) SealOver(plain []byte, context string) []byte {
	k := s.ring[0]
	out := slices.Grow(plain, Overhead)[:len(plain)+Overhead]
	body := out[keyIDSize:]
	copy(body, plain)
	copy(out, k.id[:])
	k.aead.Seal(body[:0], nil, body[:len(plain)], []byte(context)) //nolint:gosec // G407: this AEAD makes its own random nonce
	return out
}

// Open decrypts what Seal made for the same context. ErrWrongKey, ErrDamaged.
func (s *Sealer) Open(sealed []byte, context string) ([]byte, error) {
	return s.OpenOver(bytes.Clone(sealed), context)
}

// OpenOver is Open for a caller who needs sealed no more: the plain text, or
// after an error nothing of use, takes its place in memory.
func (s *Sealer) OpenOver(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrDamaged
	}
	k, err := s.find([keyIDSize]byte(sealed[:keyIDSize]))
	if err != nil {
		return nil, err
	}
	body := sealed[keyIDSize:]
	plain, err := k.aead.Open(body[:0], nil, body, []byte(context))
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// Derive makes a further key of KeySize octets of the key that seals, for
// another purpose; it tells nothing about that key (HKDF, RFC 5869).
func (s *Sealer) Derive(purpose string) ([]byte, error) {
	return s.DeriveFor(s.KeyID(), purpose)
}

// DeriveFor is Derive of the key with that id: what was derived before a
// rotation is found again by it. ErrWrongKey when the ring does not have it.
func (s *Sealer) DeriveFor(id [keyIDSize]byte, purpose string) ([]byte, error) {
	k, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, k.secret, nil, purpose, KeySize)
}
