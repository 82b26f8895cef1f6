package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postern/internal/mailer/smtptest"
)

// doctorEnv is the environment of a store that is not there yet and a relay
// with STARTTLS and a password.
func doctorEnv(t *testing.T, relay *smtptest.Server) map[string]string {
	t.Helper()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, relay.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(relay.Port())
	return map[string]string{
		"DATA_DIR": filepath.Join(dir, "data"), "SMTP_SERVER": "localhost", "SMTP_PORT": port, "RELAY_PORTS": port,
		"RELAY_ALLOW": "localhost", "RELAY_CA_FILE": ca, "SMTP_USERNAME": "postern", "SMTP_PASSWORD": "correct horse",
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	relay, err := smtptest.Start(smtptest.Config{TLS: smtptest.StartTLS, Users: map[string]string{"postern": "correct horse"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	good := doctorEnv(t, relay)
	with := func(changes map[string]string) map[string]string {
		env := maps.Clone(good)
		maps.Copy(env, changes)
		return env
	}
	for name, tt := range map[string]struct {
		args []string
		env  map[string]string
		code int
		says []string
	}{
		"well":     {env: good, code: exitOK, says: []string{"AUTH PLAIN accepted", "no store yet", "TLS 1.3"}},
		"envelope": {args: []string{"-mail-from", "a@example.org", "-rcpt-to", "b@example.org"}, env: good, says: []string{"no message was sent"}},
		"authority as text": {
			env:  with(map[string]string{"RELAY_CA_FILE": "", "RELAY_CA": string(relay.CertificatePEM())}),
			says: []string{"verified", "AUTH PLAIN accepted"},
		},
		"no authority": {
			env: with(map[string]string{"RELAY_CA_FILE": ""}), code: exitFailed,
			says: []string{"unknown authority", "as text into RELAY_CA"},
		},
		"two authorities": {
			env: with(map[string]string{"RELAY_CA": string(relay.CertificatePEM())}), code: exitFailed,
			says: []string{"FAILED   RELAY_CA ", "together with RELAY_CA_FILE"},
		},
		"wrong password": {env: with(map[string]string{"SMTP_PASSWORD": "battery staple"}), code: exitFailed, says: []string{"FAILED", "535", "-> The relay refuses the credentials"}},
		"faults":         {env: with(map[string]string{"SMTP_PORT": "mail"}), code: exitFailed, says: []string{"FAILED   SMTP_PORT"}},
		"another relay": {
			args: []string{"-relay", "127.0.0.1:587"}, env: good, code: exitFailed, says: []string{"RELAY_ALLOW can allow it"},
		},
		"no port":              {args: []string{"-relay", "mail.example.org"}, env: good, code: exitUsage, says: []string{"host:port"}},
		"recipient, no sender": {args: []string{"-rcpt-to", "b@example.org"}, env: good, code: exitUsage, says: []string{"-mail-from"}},
		"no such flag":         {args: []string{"-shout"}, env: good, code: exitUsage, says: []string{"-shout"}},
		"argument":             {args: []string{"all"}, env: good, code: exitUsage, says: []string{`"all"`}},
		"help":                 {args: []string{"-h"}, env: good, code: exitOK, says: []string{"-letter-bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			code := run(append([]string{"doctor"}, tt.args...), func(name string) string { return tt.env[name] }, &out, &out)
			if code != tt.code {
				t.Errorf("exit %d, want %d:\n%s", code, tt.code, out.String())
			}
			for _, says := range tt.says {
				if !strings.Contains(out.String(), says) {
					t.Errorf("does not say %q:\n%s", says, out.String())
				}
			}
			if p := tt.env["SMTP_PASSWORD"]; strings.Contains(out.String(), p) {
				t.Errorf("the password shows:\n%s", out.String())
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		code := run([]string{"doctor", "-json"}, func(name string) string { return good[name] }, &out, os.Stderr)
		var got struct {
			OK     bool
			Checks []struct {
				Subject string
				Steps   []struct{ Name, State string }
			}
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || code != exitOK || !got.OK || len(got.Checks) != 3 || len(got.Checks[2].Steps) != 10 {
			t.Errorf("exit %d, %v: %+v", code, err, got)
		}
	})
}
