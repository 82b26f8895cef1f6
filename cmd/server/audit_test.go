package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// audits runs `server audit` and fails the test unless it exits so and says
// all that.
func audits(t *testing.T, env map[string]string, code int, args []string, says ...string) string {
	t.Helper()
	var out bytes.Buffer
	got := run(append([]string{"audit"}, args...), func(name string) string { return env[name] }, &out, &out)
	if got != code {
		t.Errorf("server audit %q: exit %d, want %d:\n%s", args, got, code, out.String())
	}
	for _, s := range says {
		if !strings.Contains(out.String(), s) {
			t.Errorf("server audit %q does not say %q:\n%s", args, s, out.String())
		}
	}
	return out.String()
}

// awaitSigned verifies until the trails are signed, which they are soon behind a
// campaign's end.
func awaitSigned(t *testing.T, verify []string) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		var out bytes.Buffer
		code := run(append([]string{"audit"}, verify...), func(string) string { return "" }, &out, &out)
		if code == exitOK {
			return
		}
		if code != exitUnsigned || time.Now().After(deadline) {
			t.Fatalf("exit %d:\n%s", code, out.String())
		}
	}
}

// plainEnv is the environment of an embedded store and a relay without TLS.
func plainEnv(t *testing.T, relay *smtptest.Server) map[string]string {
	t.Helper()
	return map[string]string{
		"STORE": "embedded", "DATA_DIR": filepath.Join(t.TempDir(), "data"),
		"SMTP_SERVER": relay.Host(), "SMTP_PORT": strconv.Itoa(relay.Port()), "SMTP_USE_TLS": "false",
		"RELAY_ALLOW": "127.0.0.1/32", "RELAY_PORTS": strconv.Itoa(relay.Port()),
	}
}

// TestAuditVerify checks trails through the API of a process, beside it, and in
// the store that it leaves behind.
func TestAuditVerify(t *testing.T) {
	t.Parallel()
	relay, err := smtptest.Start(smtptest.Config{Hook: smtptest.RefuseRecipient("b@example.org")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	env := plainEnv(t, relay)
	audits(t, env, exitFailed, []string{"verify"}, "no store yet")
	p := startProcess(t, env)
	if err := p.Import(t.Context(), []client.Contact{{"email": "a@example.org"}, {"email": "b@example.org"}}); err != nil {
		t.Fatal(err)
	}
	id, err := p.Submit(t.Context(), client.Campaign{From: "office@example.org", Subject: "Hello", Body: "<p>Hello</p>"})
	if err != nil {
		t.Fatal(err)
	}
	if final, err := p.Follow(t.Context(), id, func(client.Status) error { return nil }); err != nil || final.Sent != 1 {
		t.Fatalf("%+v, %v", final, err)
	}
	url := []string{"verify", "-url", p.Base + "/"}
	awaitSigned(t, url)
	audits(t, nil, exitOK, append(url, "-campaign", id), id, "unbroken", "2 deliveries")
	audits(t, nil, exitOK, url, id)
	audits(t, nil, exitFailed, append(url, "-campaign", "nothing"), "404")
	audits(t, env, exitFailed, []string{"verify"}, "in another process", "-url")
	p.kill(t)
	audits(t, nil, exitFailed, url, "refused")
	audits(t, env, exitOK, []string{"verify"}, "unbroken")
}

// unreadTrails are of campaigns whose trails cannot be had.
type unreadTrails []string

func (u unreadTrails) Campaigns(_ context.Context, each func(id string) error) error {
	for _, id := range u {
		if err := each(id); err != nil {
			return err
		}
	}
	return nil
}

func (unreadTrails) Export(context.Context, string, io.Writer) error {
	return errors.New("the record is damaged")
}
func (unreadTrails) Keys(context.Context) ([]ed25519.PublicKey, error) { return nil, nil }
func (unreadTrails) Close() error                                      { return nil }

// TestAuditVerifyGoesOn: a trail that cannot be read does not keep the others
// from being checked, and is not taken for proven.
func TestAuditVerifyGoesOn(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := verification{}.verify(t.Context(), unreadTrails{"one", "two"}, &out)
	if !errors.Is(err, errUnread) {
		t.Errorf("%v; want %v", err, errUnread)
	}
	for _, says := range []string{"campaign one: read the export: the record is damaged", "campaign two: read the export: the record is damaged", "NOT CHECKED"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("does not say %q:\n%s", says, out.String())
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := (verification{}).verify(ended, unreadTrails{"one"}, &out); err == nil || errors.Is(err, errUnread) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestAuditVerifyKey: a trail that the service's key has signed is broken for
// whoever trusts another one.
func TestAuditVerifyKey(t *testing.T) {
	t.Parallel()
	relay, err := smtptest.Start(smtptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	p := startProcess(t, plainEnv(t, relay))
	if err := p.Import(t.Context(), []client.Contact{{"email": "a@example.org"}}); err != nil {
		t.Fatal(err)
	}
	id, err := p.Submit(t.Context(), client.Campaign{From: "office@example.org", Subject: "Hello", Body: "<p>Hello</p>"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Follow(t.Context(), id, func(client.Status) error { return nil }); err != nil {
		t.Fatal(err)
	}
	url := []string{"verify", "-url", p.Base}
	awaitSigned(t, url)
	stranger, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	audits(t, nil, exitFailed, append(url, "-key", base64.StdEncoding.EncodeToString(stranger)), "BROKEN", "first: the campaign's own chain", "signature")
}

func TestAuditMessage(t *testing.T) {
	t.Parallel()
	const sent = "Date: today\r\nSubject: x\r\n\r\nHello\r\n"
	write := func(text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "message.eml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := strings.TrimSpace(audits(t, nil, exitOK, []string{"message", write(sent)}))
	if len(plain) != 64 {
		t.Fatalf("the digest is %q", plain)
	}
	unix := strings.ReplaceAll(sent, "\r\n", "\n")
	audits(t, nil, exitOK, []string{"message", write(unix)}, plain)
	trace := "Return-Path: <a@example.org>\r\nReceived: from x\r\n\tby y; Date: no\r\n"
	if got := audits(t, nil, exitOK, []string{"message", write(trace + sent)}, plain+" without the first"); strings.HasPrefix(got, plain) {
		t.Errorf("with header fields in front it has the same digest: %s", got)
	}
	// A message that ends in an empty line may have got it on the way, or not.
	for _, extra := range []string{sent + "\r\n", sent + "\n", unix + "\n"} {
		lines := strings.Split(strings.TrimSpace(audits(t, nil, exitOK, []string{"message", write(extra)})), "\n")
		if len(lines) != 2 || lines[0] == plain || len(lines[0]) != 64 || lines[1] != plain+" without the empty line at its end" {
			t.Errorf("%q: %q", extra, lines)
		}
	}
	audits(t, nil, exitOK, []string{"message", write(trace + sent + "\r\n")},
		plain+fmt.Sprintf(" without the first %d octets, which are header fields in front of Date, and without the empty line at its end", len(trace)))
	if got := audits(t, nil, exitOK, []string{"message", write("Date: today\r\n\r\n")}); strings.Count(got, "\n") != 1 {
		t.Errorf("the end of a header is taken for one that something has added: %s", got)
	}
	audits(t, nil, exitFailed, []string{"message", write("no message")}, "empty line")
	audits(t, nil, exitFailed, []string{"message", filepath.Join(t.TempDir(), "missing")}, "no such file")
}

func TestAuditUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, exitUsage, "audit verify"},
		{[]string{"-h"}, exitOK, "audit verify"},
		{[]string{"burn"}, exitUsage, "audit verify"},
		{[]string{"message"}, exitUsage, "one file"},
		{[]string{"verify", "-h"}, exitOK, "-token-file"},
		{[]string{"verify", "-shout"}, exitUsage, "-shout"},
		{[]string{"verify", "all"}, exitUsage, `"all"`},
		{[]string{"verify", "-token-file", "x"}, exitUsage, "needs -url"},
		{[]string{"verify", "-url", "ftp://x"}, exitUsage, "http"},
		{[]string{"verify", "-key", "short"}, exitUsage, "base64"},
		{[]string{"verify", "-url", "http://127.0.0.1:1", "-token-file", "/does/not/exist"}, exitFailed, "no such file"},
	} {
		audits(t, map[string]string{}, c.code, c.args, c.says)
	}
	audits(t, map[string]string{"STORE": "oracle"}, exitUsage, []string{"verify"}, "STORE")
}
