package app

import (
	"context"
	"encoding/hex"
	"fmt"

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
