package mailer

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/mailer/smtptest"
)

func TestStartTLS(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		relay, to, opts := guardedRelay(t, smtptest.Config{TLSConfig: func(c *tls.Config) { c.MaxVersion = version }})
		s, err := Dial(t.Context(), to, opts)
		if err != nil {
			t.Fatal(err)
		}
		mustSend(t, s)
		s.Quit()
		if m := relay.Messages()[0]; !m.TLS || m.User != "user" {
			t.Errorf("message %+v", m)
		}
		if n := relay.Stats().Commands["EHLO"]; n != 2 {
			t.Errorf("%d EHLO: what is offered in clear must not be believed", n)
		}
		expectClean(t, relay)
	}
}

// dialImplicit opens a session as on port 465, which a test cannot listen on.
func dialImplicit(t *testing.T, s *smtptest.Server, opts Options) (*Session, *Error) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	to := Relay{Host: s.Host(), Port: portImplicitTLS, UseTLS: true}
	session := newSession(to, opts, conn)
	t.Cleanup(session.Close)
	failure := session.open(opts)
	return session, failure
}

func TestImplicitTLS(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{TLS: smtptest.ImplicitTLS})
	s, err := dialImplicit(t, relay, optionsFor(t, relay))
	if err != nil {
		t.Fatal(err)
	}
	mustSend(t, s)
	if !relay.Messages()[0].TLS {
		t.Error("in clear")
	}
}

func TestImplicitTLSWithPlainRelay(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	_, err := dialImplicit(t, relay, optionsFor(t, relay))
	expectError(t, err, Error{Stage: StageTLS, Scope: ScopeCampaign})
}

func TestTLSIsNeverSkipped(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Users: map[string]string{"user": "secret"}})
	to := relayAt(relay)
	to.UseTLS, to.Username, to.Password = true, "user", "secret"
	_, err := Dial(t.Context(), to, optionsFor(t, relay))
	expectError(t, err, Error{Stage: StageTLS, Scope: ScopeCampaign})
	if !strings.Contains(err.Error(), "does not offer STARTTLS") {
		t.Error(err)
	}
	relay.Close()
	if commands := relay.Stats().Commands; len(commands) != 1 || commands["EHLO"] != 1 {
		t.Errorf("more than EHLO was said: %v", commands)
	}
}

func TestNoTLSMeansNone(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{TLS: smtptest.StartTLS})
	mustSend(t, dialRelay(t, relay))
	if relay.Messages()[0].TLS {
		t.Error("TLS although it was turned off")
	}
}

func TestPlainTextBehindStartTLS(t *testing.T) {
	t.Parallel()
	inject := smtptest.At(smtptest.StageStartTLS, smtptest.Action{}.Inject("250-injected\r\n250 AUTH PLAIN\r\n"))
	relay, to, opts := guardedRelay(t, smtptest.Config{Hook: inject})
	_, err := Dial(t.Context(), to, opts)
	expectError(t, err, Error{Stage: StageTLS, Scope: ScopeCampaign})
	relay.Close()
	if n := relay.Stats().Commands["AUTH"]; n != 0 {
		t.Error("authenticated")
	}
}

func TestBadCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		options smtptest.CertificateOptions
		roots   func(*smtptest.Server) *x509.CertPool
		text    string
	}{
		"unknown authority": {roots: func(*smtptest.Server) *x509.CertPool { return x509.NewCertPool() }, text: "RELAY_CA_FILE"},
		"system's roots":    {roots: func(*smtptest.Server) *x509.CertPool { return nil }, text: "RELAY_CA_FILE"},
		"other name":        {options: smtptest.CertificateOptions{Hosts: []string{"other.test", "127.0.0.2"}}, text: "127.0.0.2"},
		"expired": {
			options: smtptest.CertificateOptions{NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.Add(-time.Hour)}, text: "expired",
		},
		"not yet valid": {
			options: smtptest.CertificateOptions{NotBefore: now.Add(time.Hour)}, text: "not yet valid",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert, err := smtptest.NewCertificate(c.options)
			if err != nil {
				t.Fatal(err)
			}
			relay, to, opts := guardedRelay(t, smtptest.Config{Certificate: cert})
			if c.roots != nil {
				opts.RootCAs = c.roots(relay)
			}
			_, err = Dial(t.Context(), to, opts)
			expectError(t, err, Error{Stage: StageTLS, Scope: ScopeCampaign})
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v does not say %q", err, c.text)
			}
		})
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	_, to, opts := guardedRelay(t, smtptest.Config{TLSConfig: func(c *tls.Config) {
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	}})
	s, err := Dial(t.Context(), to, opts)
	if err == nil {
		s.Close()
		t.Fatal("a session with TLS below 1.2")
	}
	if e := asError(t, err); e.Stage != StageTLS {
		t.Error(err)
	}
}
