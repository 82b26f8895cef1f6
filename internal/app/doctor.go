package app

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"postern/internal/config"
	"postern/internal/doctor"
	"postern/internal/engine"
	"postern/internal/mailer"
	"postern/internal/secret"
	"postern/internal/store"
	"postern/internal/store/bolt"
	"postern/internal/store/dynamo"
)

// Examination is what Examine looks at besides the configuration's own.
type Examination struct {
	// Host and Port name another relay than the default one; Host is "" for
	// that. Only the default relay is logged in to.
	Host string
	Port int
	// From, To and LetterBytes are as in doctor.Relay.
	From, To    string
	LetterBytes int64
	// StepTimeout bounds each step of the way to a relay.
	StepTimeout time.Duration
}

// storeWithin bounds the examination of the store.
const storeWithin = 30 * time.Second

// Examine looks at what a start with cfg would need: its secrets, the store,
// and a relay. It starts nothing and changes nothing.
func Examine(ctx context.Context, cfg config.Config, x Examination) []doctor.Check {
	secrets := secret.New(cfg.AWSRegion)
	all := []doctor.Check{examineConfig(ctx, &cfg, secrets), examineStore(ctx, cfg, secrets)}
	if relay, named := relayToExamine(cfg, x); named {
		all = append(all, doctor.CheckRelay(ctx, relay))
	}
	return all
}

// examineConfig says what may have been meant otherwise, and fetches the
// relay's password, where cfg refers to one, into cfg.
func examineConfig(ctx context.Context, cfg *config.Config, secrets *secret.Client) doctor.Check {
	steps := []doctor.Step{{Name: "variables", State: doctor.OK, Detail: "each keeps its rule"}}
	if cfg.Auth == config.AuthNoneInsecure {
		steps = append(steps, doctor.Step{
			Name: "AUTH", State: doctor.Warning, Detail: "none-insecure: whoever reaches the API may send mail",
			Hint: "Use token or vpce, unless the port is published on a loopback address only.",
		})
	}
	if cfg.SMTP.Server == "" {
		steps = append(steps, doctor.Step{
			Name: "SMTP_SERVER", State: doctor.Warning, Detail: "there is no default relay, so each campaign must name one",
			Hint: "Set SMTP_SERVER, or look at a relay with -relay host:port.",
		})
	}
	if cfg.SMTP.PasswordRef != "" {
		began := time.Now()
		step := doctor.Step{Name: "SMTP_PASSWORD_REF", State: doctor.OK, Detail: "was read"}
		password, err := readRelayPassword(ctx, cfg.SMTP.PasswordRef, secrets, zerolog.Nop())
		if err != nil {
			step.State, step.Detail = doctor.Failed, err.Error()
			cfg.SMTP.Username = "" // a login without the password would be one more refusal for nothing
		} else {
			cfg.SMTP.Password = config.NewSecret(password.Current())
		}
		step.Milliseconds = float64(time.Since(began).Milliseconds())
		steps = append(steps, step)
	}
	return doctor.NewCheck("configuration", steps)
}

func examineStore(ctx context.Context, cfg config.Config, secrets *secret.Client) doctor.Check {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	s, trials := tryStore(ctx, cfg)
	if s == nil {
		return doctor.CheckStore(ctx, doctor.StoreKind(cfg.Store), trials, nil)
	}
	defer func() { _ = s.Close() }()
	return doctor.CheckStore(ctx, doctor.StoreKind(cfg.Store), trials, func(ctx context.Context) (int, error) {
		sealer, err := newSealer(ctx, cfg, secrets)
		if err != nil {
			return 0, err
		}
		return engine.OpenNewest(ctx, s, sealer)
	})
}

// tryStore gives the store where there is one and nothing is wrong with it.
func tryStore(ctx context.Context, cfg config.Config) (store.Store, []store.Trial) {
	if cfg.Store == config.StoreEmbedded {
		s, trials := bolt.Examine(ctx, cfg.DataDir)
		if s == nil {
			return nil, trials // not s: a nil *bolt.Store in the interface is not nil
		}
		return s, trials
	}
	s, trials := dynamo.Examine(ctx, dynamo.Config{
		Region: cfg.AWSRegion, Endpoint: cfg.DynamoDBEndpoint, TablePrefix: cfg.TablePrefix,
	})
	if s == nil {
		return nil, trials
	}
	return s, trials
}

// relayToExamine is the default relay, or the one that x names, if any.
func relayToExamine(cfg config.Config, x Examination) (doctor.Relay, bool) {
	ec, err := engineConfig(cfg)
	if err != nil {
		return doctor.Relay{}, false // config has checked RELAY_ALLOW and RELAY_PORTS by the same rules
	}
	to := ec.DefaultRelay
	if x.Host != "" && (x.Host != to.Host || x.Port != to.Port) {
		to = mailer.Relay{Host: x.Host, Port: x.Port, UseTLS: cfg.SMTP.UseTLS}
	}
	session := ec.Session
	session.Timeouts.Longest = x.StepTimeout
	return doctor.Relay{
		Relay: to, Session: session, MaxAttachmentBytes: cfg.MaxAttachmentBytes,
		From: x.From, To: x.To, LetterBytes: x.LetterBytes,
	}, to.Host != ""
}
