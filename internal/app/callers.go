package app

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"postern/internal/api"
	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/seal"
	"postern/internal/secret"
)

// How often the list of tokens is read again. Of a file, two readings must agree.
const (
	readTokensFile   = time.Second
	readTokensSecret = time.Minute
)

// access makes the rules for who may call, and reads the tokens where AUTH asks
// for them.
func (a *App) access(ctx context.Context, secrets *secret.Client) (api.Access, error) {
	rules := api.Access{LocalNames: a.cfg.Auth == config.AuthNone}
	if a.cfg.Auth.Endpoints() {
		rules.EndpointIDs = a.cfg.VPCEndpointIDs
	}
	if !a.cfg.Auth.Tokens() {
		return rules, nil
	}
	var err error
	if a.tokens, err = auth.Open(ctx, a.tokensConfig(secrets)); err != nil {
		return api.Access{}, fmt.Errorf("%s: %w", tokensVariable(a.cfg), err)
	}
	rules.Tokens = a.tokens
	return rules, nil
}

func (a *App) tokensConfig(secrets *secret.Client) auth.Config {
	variable := tokensVariable(a.cfg)
	c := auth.Config{
		Source: auth.File(a.cfg.TokensFile), Every: readTokensFile, Now: time.Now,
		Changed: func(tokens int) {
			a.log.Info().Str("variable", variable).Int("tokens", tokens).Msg("another list of API tokens is in force")
		},
		Failed: func(err error) {
			a.log.Error().Str("variable", variable).Err(err).Msg("the API tokens could not be read again; those read before stay in force")
		},
	}
	if a.cfg.TokensRef != "" {
		c.Every = readTokensSecret
		c.Source = func(ctx context.Context) ([]byte, error) { return secrets.Fetch(ctx, a.cfg.TokensRef) }
	}
	return c
}

func tokensVariable(cfg config.Config) string {
	if cfg.TokensRef != "" {
		return "API_TOKENS_REF"
	}
	return "API_TOKENS_FILE"
}

// watchTokens reads the tokens again and again until the context ends. The
// result waits until that has ended too.
func (a *App) watchTokens(ctx context.Context) (wait func()) {
	var reading sync.WaitGroup
	if a.tokens != nil {
		reading.Go(func() { a.tokens.Run(ctx) })
	}
	return reading.Wait
}

// warnings are what /readyz shows to whoever runs the service. Strangers see it
// too.
func (a *App) warnings() []string {
	var all []string
	if a.cfg.Auth == config.AuthNoneInsecure {
		all = append(all, "AUTH=none-insecure: whoever reaches the API may send mail")
	}
	if a.tokens != nil && a.tokens.Err() != nil {
		all = append(all, "the API tokens could not be read again; those read before stay in force, and the log has the cause")
	}
	if exposed := a.exposedKey(); exposed != "" {
		all = append(all, exposed)
	}
	return all
}

// exposedKey says that everybody on the machine may read the key file; "" where
// the key is not in one, or is not exposed.
func (a *App) exposedKey() string {
	if len(a.cfg.EncryptionKeys) > 0 || a.cfg.EncryptionKeyRef != "" {
		return ""
	}
	path := seal.Exposed(a.cfg.DataDir)
	if path == "" {
		return ""
	}
	return "everybody on this machine may read the encryption key: chmod 600 " + filepath.Base(path) + " in DATA_DIR"
}
