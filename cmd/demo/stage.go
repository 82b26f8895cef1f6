package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"postern/internal/app"
	"postern/internal/config"
	"postern/internal/mailer/smtptest"
)

// stage is the service and the relay that it hands its messages to.
type stage struct {
	dir        string
	url        string
	metricsURL string
	logPath    string
	relay      *smtptest.Server

	log   *os.File
	stop  context.CancelFunc
	ended chan error // what App.Run returned
	saved int        // messages of the relay's that are in files
}

// setStage starts everything in an empty directory.
func setStage(ctx context.Context, o options) (_ *stage, err error) {
	s := &stage{dir: o.dir, logPath: filepath.Join(o.dir, "postern.log"), ended: make(chan error, 1)}
	if err := os.RemoveAll(o.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.mailDir(), 0o700); err != nil {
		return nil, err
	}
	s.relay, err = smtptest.Start(smtptest.Config{TLS: smtptest.StartTLS, Users: map[string]string{"demo": "demo-password"}})
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx, o); err != nil {
		s.relay.Close()
		return nil, err
	}
	return s, nil
}

func (s *stage) mailDir() string { return filepath.Join(s.dir, "mail") }

func (s *stage) start(ctx context.Context, o options) error {
	ca := filepath.Join(s.dir, "relay-ca.pem")
	if err := os.WriteFile(ca, s.relay.CertificatePEM(), 0o600); err != nil {
		return err
	}
	cfg, err := config.Load(func(name string) string { return s.environment(o, ca)[name] })
	if err != nil {
		return err
	}
	if s.log, err = os.Create(s.logPath); err != nil {
		return err
	}
	a, err := app.Start(ctx, cfg, s.log)
	if err != nil {
		return errors.Join(err, s.log.Close())
	}
	s.url, s.metricsURL = "http://"+a.Addr(), "http://"+a.MetricsAddr()
	// The service outlives an interrupt until close stops it in order.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() { s.ended <- a.Run(running) }()
	return nil
}

// environment is the service's configuration, as a shell would export it.
func (s *stage) environment(o options, ca string) map[string]string {
	env := map[string]string{
		"DATA_DIR":      filepath.Join(s.dir, "store"),
		"SMTP_SERVER":   s.relay.Host(),
		"SMTP_PORT":     strconv.Itoa(s.relay.Port()),
		"SMTP_USERNAME": "demo",
		"SMTP_PASSWORD": "demo-password",
		"RELAY_ALLOW":   "127.0.0.1/32",
		"RELAY_PORTS":   strconv.Itoa(s.relay.Port()),
		"RELAY_CA_FILE": ca,
		"RELAY_RATE":    strconv.Itoa(o.rate),
		"CORS_ORIGINS":  "*",
	}
	if !o.keep { // two demos, or a demo beside a server, do not collide
		env["LISTEN_ADDR"], env["METRICS_ADDR"] = "127.0.0.1:0", "127.0.0.1:0"
	}
	return env
}

// close stops the service in order, then the relay.
func (s *stage) close() error {
	s.stop()
	err := <-s.ended
	s.relay.Close()
	return errors.Join(err, s.log.Close())
}

// saveMail writes what the relay has caught since the last call into files
// that a mail program opens.
func (s *stage) saveMail() error {
	for _, m := range s.relay.Messages()[s.saved:] {
		name := fmt.Sprintf("%05d-%s.eml", m.Seq, strings.Map(fileNameRune, m.To[0]))
		if err := os.WriteFile(filepath.Join(s.mailDir(), name), m.Data, 0o600); err != nil {
			return err
		}
		s.saved++
	}
	return nil
}

func fileNameRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '@' || r == '+' {
		return r
	}
	return '_'
}

// keep leaves all running until the context ends.
func (s *stage) keep(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.ended:
			s.ended <- nil // for close
			return fmt.Errorf("the service ended by itself: %w", err)
		case <-ticker.C:
			if err := s.saveMail(); err != nil {
				return err
			}
		}
	}
}

// explain says where to look and what to try next.
func (s *stage) explain(say func(string, ...any), id string, keeps bool) {
	say("\nWhere to look:")
	say("  %s/  every message that the relay caught; open one in a mail program", s.mailDir())
	say("  %s  what the service logged", s.logPath)
	if !keeps {
		say("\nNext: `make run` does the same and keeps the service up, to try the API by hand;")
		say("`go run ./cmd/server -h` explains how to point it at your own relay.")
		return
	}
	say("\nTry, in another terminal:")
	say("  curl -s '%s/campaign-status/%s'", s.url, id)
	say("  curl -s '%s/campaigns/%s/deliveries?limit=3'", s.url, id)
	say("  curl -s '%s/contacts?limit=2'", s.url)
	say(`  curl -s -X POST %s/contacts -d '{"email": "you@example.org", "first_name": "You", "tags": ["me"]}' -H 'Content-Type: application/json'`, s.url)
	say(`  curl -s -X POST %s/smtp-campaign -H 'Content-Type: application/json' -d '{"campaign_name": "Hello", "from_email": "office@example.org", "subject": "Hello {{first_name}}", "body": "<p>Hello {{first_name}}</p>", "tags": ["me"]}'`, s.url)
	say("  curl -s '%s/metrics' | grep ^postern_", s.metricsURL)
	say("\nCtrl-C stops both.")
}
