package app

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"postern/internal/config"
	"postern/internal/seal"
	"postern/internal/secret"
	"postern/internal/store/bolt"
)

// newSealer makes the key ring: of ENCRYPTION_KEY, of what ENCRYPTION_KEY_REF
// names, or of the key file in DATA_DIR.
func newSealer(ctx context.Context, cfg config.Config, secrets *secret.Client) (*seal.Sealer, error) {
	var ring []config.Secret
	switch {
	case len(cfg.EncryptionKeys) > 0:
		ring = cfg.EncryptionKeys
	case cfg.EncryptionKeyRef != "":
		value, err := secrets.Fetch(ctx, cfg.EncryptionKeyRef)
		if err == nil {
			ring, err = config.ParseEncryptionKeys(string(value))
		}
		if err != nil {
			return nil, fmt.Errorf("ENCRYPTION_KEY_REF: %w", err)
		}
	default:
		return newFileSealer(cfg.DataDir)
	}
	keys := make([][]byte, len(ring))
	for i, key := range ring {
		keys[i] = []byte(key.Reveal())
	}
	sealer, err := seal.New(keys...)
	if err != nil {
		return nil, fmt.Errorf("ENCRYPTION_KEY: %w", err)
	}
	return sealer, nil
}

func newFileSealer(dir string) (*seal.Sealer, error) {
	load := seal.LoadOrCreateKeys
	if bolt.Exists(dir) {
		load = seal.LoadKeys // a new key would open nothing of what is there
	}
	keys, err := load(dir)
	if err != nil {
		return nil, err
	}
	return seal.New(keys...)
}

// logKeys says which keys there are, for whoever rotates them.
func logKeys(log zerolog.Logger, sealer *seal.Sealer) {
	var ids []string
	for _, id := range sealer.KeyIDs() {
		ids = append(ids, hex.EncodeToString(id[:]))
	}
	log.Info().Strs("keys", ids).Msg("encryption keys, by their ids; the first seals, all open")
}

// renewEvery is how often a password is read again at most.
const renewEvery = time.Minute

// relayPassword is the default relay's password that SMTP_PASSWORD_REF names.
// It is read at the start, and again when the relay refuses it: a password can
// be changed there while Postern runs.
type relayPassword struct {
	ref     config.SecretRef
	secrets *secret.Client
	log     zerolog.Logger

	// reading is held while the password is read, mu only to look at it.
	reading sync.Mutex
	mu      sync.Mutex
	value   string
	renewed time.Time // monotonic; the last try to, guarded by reading
}

func readRelayPassword(ctx context.Context, ref config.SecretRef, secrets *secret.Client, log zerolog.Logger) (*relayPassword, error) {
	p := &relayPassword{ref: ref, secrets: secrets, log: log}
	return p, p.fetch(ctx)
}

// Current is the password as it was read last.
func (p *relayPassword) Current() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.value
}

// Renew reads the password again, unless it did within the last minute, or the
// one that is refused is not the current one any more.
func (p *relayPassword) Renew(ctx context.Context, refused string) bool {
	p.reading.Lock()
	defer p.reading.Unlock()
	if p.Current() == refused && time.Since(p.renewed) >= renewEvery {
		p.renewed = time.Now()
		if err := p.fetch(ctx); err != nil {
			p.log.Error().Err(err).Msg("the relay refuses the password, and it could not be read again; the one from before stays")
		}
	}
	return p.Current() != refused
}

func (p *relayPassword) fetch(ctx context.Context) error {
	value, err := p.secrets.Fetch(ctx, p.ref)
	if err == nil {
		// The line end that an editor or a shell has left is none of it.
		value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
		if len(value) == 0 {
			err = errors.New("what it names is empty")
		}
	}
	if err != nil {
		return fmt.Errorf("SMTP_PASSWORD_REF: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value = string(value)
	return nil
}
