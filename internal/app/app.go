// Package app wires Postern together, starts it, and stops it in order. The
// server, the demo and the tests all come in by the same door.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"postern/internal/api"
	"postern/internal/auth"
	"postern/internal/budget"
	"postern/internal/config"
	"postern/internal/engine"
	"postern/internal/listen"
	"postern/internal/mailer"
	"postern/internal/secret"
	"postern/internal/store"
	"postern/internal/store/bolt"
	"postern/internal/store/dynamo"
)

// openTimeout bounds the opening of the store.
const openTimeout = time.Minute

// App is Postern, started.
type App struct {
	cfg    config.Config
	log    zerolog.Logger
	store  store.Store
	engine *engine.Engine
	tokens *auth.Keeper // nil where callers need none
	// diagnosis reads the store, so it ends before that.
	diagnosis *diagnosis

	apiListener     net.Listener
	apiServer       *http.Server
	metricsListener net.Listener
	metricsServer   *http.Server
}

// Start opens the store and the listeners, and logs to logs, a line of JSON to
// each Write. Run must follow, or Close. On an error nothing stays open.
func Start(ctx context.Context, cfg config.Config, logs io.Writer) (_ *App, err error) {
	a := &App{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	secrets := secret.New(cfg.AWSRegion)
	sealer, err := newSealer(ctx, cfg, secrets)
	if err != nil {
		return nil, err
	}
	if a.log, err = newLog(cfg, sealer, logs); err != nil {
		return nil, err
	}
	logKeys(a.log, sealer)
	if exposed := a.exposedKey(); exposed != "" {
		a.log.Warn().Msg(exposed)
	}
	cursorKey, err := sealer.Derive("cursors of the API")
	if err != nil {
		return nil, fmt.Errorf("derive the key of cursors: %w", err)
	}
	registry := newRegistry()
	if a.store, err = openStore(ctx, cfg, registry); err != nil {
		return nil, err
	}
	engineConfig, err := engineConfig(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.SMTP.PasswordRef != "" {
		if engineConfig.DefaultPassword, err = readRelayPassword(ctx, cfg.SMTP.PasswordRef, secrets, a.log); err != nil {
			return nil, err
		}
	}
	a.engine = engine.New(a.store, engineConfig, sealer, a.log, registry)
	a.diagnosis = newDiagnosis(cfg, a.store, a.engine, engineConfig)
	access, err := a.access(ctx, secrets)
	if err != nil {
		return nil, err
	}
	a.apiServer = api.NewServer(api.New(a.engine, api.Options{
		Logger: a.log, Registerer: registry, CORSOrigins: cfg.CORSOrigins, CursorKey: cursorKey,
		MaxRequestBytes: cfg.MaxRequestBytes, MaxInFlightBytes: cfg.MaxInFlightBytes,
		Access: access, Warnings: a.warnings, Diagnosis: a.diagnosis,
	}))
	a.metricsServer = newMetricsServer(registry, cfg)
	for _, s := range []*http.Server{a.apiServer, a.metricsServer} {
		s.ErrorLog = standardLog(a.log)
	}
	if err := a.listen(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

func openStore(ctx context.Context, cfg config.Config, registry prometheus.Registerer) (store.Store, error) {
	if cfg.Store == config.StoreEmbedded {
		s, err := bolt.OpenMeasured(cfg.DataDir, registry)
		if err != nil {
			return nil, err // not s: a nil *bolt.Store in the interface is not nil
		}
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	s, err := dynamo.Open(ctx, dynamo.Config{
		Region: cfg.AWSRegion, Endpoint: cfg.DynamoDBEndpoint,
		TablePrefix: cfg.TablePrefix, CreateTables: cfg.CreateTables, Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func engineConfig(cfg config.Config) (engine.Config, error) {
	allow := append([]string(nil), cfg.Relay.Allow.Hosts...)
	for _, network := range cfg.Relay.Allow.Networks {
		allow = append(allow, network.String())
	}
	rules, err := mailer.ParseRules(allow, cfg.Relay.Ports)
	if err != nil {
		return engine.Config{}, err
	}
	def := mailer.Relay{
		Host: cfg.SMTP.Server, Port: cfg.SMTP.Port, UseTLS: cfg.SMTP.UseTLS,
		Username: cfg.SMTP.Username, Password: cfg.SMTP.Password.Reveal(),
	}
	bounds := mailer.Bounds{Choice: mailer.Choice(cfg.Relay.Choice), Default: def, RequireTLS: cfg.Relay.RequireTLS}
	return engine.Config{
		DefaultRelay: def,
		Session: mailer.Options{
			Rules: rules.Within(bounds), RootCAs: cfg.Relay.Roots, Timeouts: mailer.Timeouts{Longest: cfg.Relay.Timeout},
		},
		MessagesPerConnection: cfg.Relay.MessagesPerConnection,
		Caps: budget.Caps{
			Connections: cfg.Relay.MaxConnections, Rate: cfg.Relay.Rate, Daily: cfg.Relay.DailyLimit,
		},
		Retry:              engine.RetryPolicy(cfg.Retry),
		TimeLimit:          cfg.CampaignTimeLimit,
		ScheduleGrace:      cfg.ScheduleGrace,
		Retention:          cfg.DeliveryRetention,
		Policy:             engine.Policy(cfg.Sending),
		MaxAttachmentBytes: cfg.MaxAttachmentBytes,
		MaxLetterBytes:     cfg.MaxLetterBytes,
		ExclusiveStore:     cfg.Store == config.StoreEmbedded,
		StopTimeout:        cfg.ShutdownTimeout,
	}, nil
}

func (a *App) listen(ctx context.Context) error {
	l, err := listen.Open(ctx, a.cfg, a.log)
	if err != nil {
		return err
	}
	a.apiListener, a.apiServer.ConnState = l, l.ConnState
	m, err := listen.OpenMetrics(ctx, a.cfg)
	if err != nil {
		return err
	}
	a.metricsListener, a.metricsServer.ConnState = m, m.ConnState
	a.warnOfDescriptors()
	return nil
}

// Addr is where the API listens.
func (a *App) Addr() string { return a.apiListener.Addr().String() }

// MetricsAddr is where /metrics listens.
func (a *App) MetricsAddr() string { return a.metricsListener.Addr().String() }

// Run serves and sends until the context ends, then stops in order: no new
// requests, no new messages, what is in flight finished and recorded, store
// closed. It returns nil after a clean stop.
func (a *App) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	serve := func(name string, s *http.Server, l net.Listener) {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			stop(fmt.Errorf("the %s listener ended: %w", name, err))
		}
	}
	go serve("API", a.apiServer, a.apiListener)
	go serve("metrics", a.metricsServer, a.metricsListener)
	a.log.Info().Str("api", a.Addr()).Str("metrics", a.MetricsAddr()).Str("store", string(a.cfg.Store)).Msg("postern is up")
	if a.cfg.Auth == config.AuthNoneInsecure {
		a.log.Warn().Msg("AUTH=none-insecure: whoever reaches the API may send mail; never expose it")
	}

	waitTokens, waitReport := a.watchTokens(ctx), a.watchBacklog(ctx)
	sent := make(chan bool, 1)
	go func() { sent <- a.engine.Run(ctx) }()
	<-ctx.Done()
	a.log.Info().Stringer("timeout", a.cfg.ShutdownTimeout).Msg("stopping")
	timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.ShutdownTimeout)
	defer cancel()
	err := a.apiServer.Shutdown(timeout)
	if !<-sent {
		err = errors.Join(err, errors.New("what was in flight was cut off by the stop time-out (SHUTDOWN_TIMEOUT); a message whose answer was still out may be sent again"))
	}
	waitTokens()
	waitReport()
	err = errors.Join(err, a.Close())
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	if err == nil {
		a.log.Info().Msg("stopped cleanly")
	}
	return err
}

// Close lets go of what Start opened. It is for an App that is not Run.
func (a *App) Close() (err error) {
	// The servers first: they close their listeners, if they serve. A listener
	// that is closed again says so, which is no fault.
	for _, s := range []*http.Server{a.apiServer, a.metricsServer} {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	for _, l := range []net.Listener{a.apiListener, a.metricsListener} {
		if l != nil {
			_ = l.Close()
		}
	}
	if a.diagnosis != nil {
		a.diagnosis.Close()
	}
	if a.store != nil {
		err = errors.Join(err, a.store.Close())
	}
	return err
}
