package app_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

func newHTTPClient() *http.Client { return &http.Client{Transport: &http.Transport{}} }

// quickRetries make deferred recipients come back within the test.
var quickRetries = map[string]string{"RETRY_MIN": "20ms", "RETRY_MAX": "100ms", "RETRY_FOR": "1m"}

func forEachBackend(t *testing.T, test func(t *testing.T, env map[string]string)) {
	t.Helper()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			test(t, b.env(t))
		})
	}
}

func TestRefusedAndGreylistedRecipients(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		cfg := relayConfig()
		grey := smtptest.Greylist(2)
		cfg.Hook = smtptest.Chain(smtptest.RefuseRecipient("r3@example.org"), func(e smtptest.Event) smtptest.Action {
			if e.Stage != smtptest.StageRcpt || e.Rcpt() != "r5@example.org" {
				return smtptest.Action{}
			}
			return grey(e)
		})
		relay := startRelay(t, cfg)
		s := start(t, env, relayEnv(t, relay), quickRetries)
		s.importContacts(t, addresses(20))
		id := s.submit(t, simpleLetter())

		final := s.follow(t, id, relay)
		if final.Status != "completed" || final.Sent != 19 || final.Failed != 1 || final.Total != 20 {
			t.Errorf("the campaign ended as %+v", final)
		}
		got := s.deliveries(t, id)
		if d := got["r3@example.org"]; d.State != "failed" || d.Attempts != 1 || !strings.Contains(d.Reply, "550 5.1.1") {
			t.Errorf("the refused recipient: %+v", d)
		}
		if d := got["r5@example.org"]; d.State != "sent" || d.Attempts != 3 || !strings.Contains(d.Reply, "250") {
			t.Errorf("the greylisted recipient: %+v", d)
		}
		for address, n := range relay.PerRecipient() {
			if n != 1 {
				t.Errorf("%s was mailed %d times", address, n)
			}
		}
		if v := relay.Violations(); v.Total() > 0 {
			t.Errorf("violations: %+v", v)
		}
	})
}

func TestGreylistedForTooLong(t *testing.T) {
	t.Parallel()
	cfg := relayConfig()
	cfg.Hook = smtptest.Greylist(1000)
	relay := startRelay(t, cfg)
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{"RETRY_MIN": "20ms", "RETRY_MAX": "40ms", "RETRY_FOR": "500ms"})
	s.importContacts(t, addresses(1))
	id := s.submit(t, simpleLetter())
	final := s.follow(t, id, relay)
	d := s.deliveries(t, id)["r0@example.org"]
	if final.Status != "completed" || d.State != "failed" || d.Attempts < 3 || !strings.Contains(d.Reply, "451 4.7.1") || !strings.Contains(d.Reply, "given up") {
		t.Errorf("ended as %+v with %+v", final, d)
	}
}

func TestRelayClosesIdleConnections(t *testing.T) {
	t.Parallel()
	cfg := relayConfig()
	cfg.IdleTimeout = time.Second / 2
	relay := startRelay(t, cfg)
	// Slower than the relay's patience: every connection is closed unused. That
	// patience is for each command too, so it is not too short for a busy machine.
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{"RELAY_RATE": "1", "RELAY_MAX_CONNECTIONS": "1"})
	const n = 6
	s.importContacts(t, addresses(n))
	id := s.submit(t, simpleLetter())
	if final := s.follow(t, id, relay); final.Sent != n || final.Status != "completed" {
		t.Errorf("ended as %+v", final)
	}
	for address, d := range s.deliveries(t, id) {
		if d.Attempts != 1 {
			t.Errorf("%s took %d attempts: %+v", address, d.Attempts, d)
		}
	}
	if st := relay.Stats(); st.Opened < 2 || relay.Count() != n {
		t.Errorf("%d connections for %d messages; the relay closed none", st.Opened, relay.Count())
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		s := start(t, env, relayEnv(t, relay), map[string]string{"SMTP_PASSWORD": "wrong-canary"})
		s.importContacts(t, addresses(50))
		id := s.submit(t, simpleLetter())

		final := s.follow(t, id, relay)
		if final.Status != "paused" || final.Pending != final.Total || final.Failed != 0 {
			t.Errorf("rests as %+v; want paused with everybody pending", final)
		}
		if !strings.Contains(final.Reason, "535") || !strings.Contains(final.Reason, "auth") {
			t.Errorf("the reason %q does not say that the credentials were refused", final.Reason)
		}
		if n := relay.Stats().AuthFailures; n != 1 {
			t.Errorf("%d tries with a wrong password; one was expected", n)
		}
		if strings.Contains(s.log.String(), "wrong-canary") || strings.Contains(final.Reason, "wrong-canary") {
			t.Error("the password is in the log or the reason")
		}
	})
}

func TestOwnRelayCredentials(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		relays := relayEnv(t, relay)
		server := relays["SMTP_SERVER"]
		delete(relays, "SMTP_SERVER")
		delete(relays, "SMTP_PORT")
		delete(relays, "SMTP_USERNAME")
		delete(relays, "SMTP_PASSWORD")
		s := start(t, env, relays)
		s.importContacts(t, addresses(3))

		letter := simpleLetter()
		_, err := s.Submit(t.Context(), letter)
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusBadRequest || !strings.Contains(string(e.Body), "smtp_server") {
			t.Errorf("without any relay: %v", err)
		}
		letter.Server, letter.Port, letter.Username, letter.Password = server, relay.Port(), "postern", "correct horse"
		id := s.submit(t, letter)
		if final := s.follow(t, id, relay); final.Status != "completed" || final.Sent != 3 {
			t.Errorf("ended as %+v", final)
		}
		for _, m := range relay.Messages() {
			if !m.TLS || m.User != "postern" {
				t.Errorf("message to %v came with TLS %v as %q", m.To, m.TLS, m.User)
			}
		}
	})
}

func TestDefaultPasswordGoesToTheDefaultRelayOnly(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	other := startRelay(t, smtptest.Config{Users: map[string]string{"postern": "correct horse"}, ClearAuth: true})
	env := relayEnv(t, relay)
	env["RELAY_PORTS"] += "," + other.Addr()[strings.LastIndex(other.Addr(), ":")+1:]
	s := start(t, embedded(t), env)
	s.importContacts(t, addresses(1))

	plain := false
	letter := simpleLetter()
	letter.Server, letter.Port, letter.UseTLS, letter.Username = other.Host(), other.Port(), &plain, "postern"
	_, err := s.Submit(t.Context(), letter)
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusBadRequest || !strings.Contains(string(e.Body), "smtp_password") {
		t.Errorf("another relay with the default user name and no password: %v; want 400 naming smtp_password", err)
	}
	if other.Stats().Opened != 0 {
		t.Error("the other relay was connected to")
	}
}

func TestRelayDownAndBack(t *testing.T) {
	t.Parallel()
	certificate, err := smtptest.NewCertificate(smtptest.CertificateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := relayConfig()
	cfg.Certificate, cfg.Addr = certificate, vacant(t)
	relay := startRelay(t, cfg)
	env := relayEnv(t, relay)
	relay.Close()
	s := start(t, embedded(t), env)
	s.importContacts(t, addresses(5))
	id := s.submit(t, simpleLetter())

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen, err := s.Follow(ctx, id, func(st client.Status) error {
		if strings.Contains(st.Notice, "refuses") {
			return errNoticed
		}
		return nil
	})
	if !errors.Is(err, errNoticed) {
		t.Fatalf("no notice of the dead relay: %+v, %v", seen, err)
	}
	back := startRelay(t, cfg)
	final := s.follow(t, id, back)
	if final.Status != "completed" || final.Sent != 5 || final.Notice != "" {
		t.Errorf("ended as %+v", final)
	}
	for address, d := range s.deliveries(t, id) {
		if d.Attempts != 1 {
			t.Errorf("%s bore the relay's trouble: %d attempts", address, d.Attempts)
		}
	}
}

var errNoticed = errors.New("noticed")
