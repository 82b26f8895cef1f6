package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"postern/internal/config"
	"postern/internal/secret"
)

// readEvery is how often a password is read again at most, however often it is
// refused.
const readEvery = 5 * time.Second

// relayPassword is the default relay's password that SMTP_PASSWORD_REF names.
// It is read at the start, when the relay refuses it, and before it is used
// again behind a refusal: a password can be changed there while Postern runs.
type relayPassword struct {
	read func(ctx context.Context) ([]byte, error)
	log  zerolog.Logger

	// reading is held while the password is read, mu only to look at it.
	reading sync.Mutex
	tried   time.Time // the last reading behind the start, successful or not
	readAt  time.Time // the last successful one began
	refused bool      // the value, since it was read

	mu    sync.Mutex
	value string
}

func readRelayPassword(ctx context.Context, ref config.SecretRef, secrets *secret.Client, log zerolog.Logger) (*relayPassword, error) {
	p := &relayPassword{log: log, read: func(ctx context.Context) ([]byte, error) { return secrets.Fetch(ctx, ref) }}
	return p, p.fetch(ctx)
}

// Current is the password as it was read last.
func (p *relayPassword) Current() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.value
}

// Renew reads the password again, unless that was tried a moment ago, or the
// one that is refused is not the current one any more.
func (p *relayPassword) Renew(ctx context.Context, refused string) bool {
	p.reading.Lock()
	defer p.reading.Unlock()
	if p.Current() == refused && time.Since(p.tried) >= readEvery {
		p.again(ctx)
	}
	if p.Current() != refused {
		return true
	}
	p.refused = true
	return false
}

// Fresh reads the password again if it was read before since or refused behind
// its last reading. It waits where that was tried a moment ago: what was read
// then may have been mended by now.
func (p *relayPassword) Fresh(ctx context.Context, since time.Time) string {
	p.reading.Lock()
	defer p.reading.Unlock()
	if p.refused || p.readAt.Before(since) {
		pause := time.NewTimer(readEvery - time.Since(p.tried))
		defer pause.Stop()
		select {
		case <-pause.C:
			p.again(ctx)
		case <-ctx.Done(): // whoever asks is about to stop
		}
	}
	return p.Current()
}

// again reads the password. Where that fails the one from before stays, and
// whoever uses it next tries to read it again.
func (p *relayPassword) again(ctx context.Context) {
	p.tried = time.Now()
	if err := p.fetch(ctx); err != nil {
		p.log.Error().Err(err).Msg("the default relay's password could not be read again; the one from before stays")
	}
}

func (p *relayPassword) fetch(ctx context.Context) error {
	began := time.Now()
	value, err := p.read(ctx)
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
	p.readAt, p.refused = began, false
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value = string(value)
	return nil
}
