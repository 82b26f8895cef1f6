package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/client"
	"postern/internal/engine"
	"postern/internal/mailer/smtptest"
	"postern/internal/store/dynamo/dynamotest"
)

// patience is how long a test waits for what must happen before it fails.
const patience = 3 * time.Minute

// asServer makes the test binary be the server, so that tests have a real
// process to kill, with the race detector in it.
const asServer = "POSTERN_TEST_AS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		main()
	}
	code := m.Run()
	dynamotest.Stop()
	os.Exit(code)
}

func TestUsageAndVersion(t *testing.T) {
	t.Parallel()
	noEnv := func(string) string { return "" }
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-h"}, exitOK, "LISTEN_ADDR"},
		{[]string{"version"}, exitOK, "postern"},
		{[]string{"serve-me"}, exitUsage, `unknown command "serve-me"`},
		{[]string{"healthcheck", "-h"}, exitOK, "server healthcheck"},
		{[]string{"healthcheck", "now"}, exitUsage, `"now"`},
	} {
		var out bytes.Buffer
		if code := run(c.args, noEnv, &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("server %v: exit %d, %q; want %d and %q", c.args, code, out.String(), c.code, c.says)
		}
		if c.code == exitUsage && strings.Count(out.String(), "\n") != 1 {
			t.Errorf("server %v: the error is one line of %q", c.args, out.String())
		}
	}
}

func TestFaultyConfigurationNamesAllFaults(t *testing.T) {
	t.Parallel()
	env := map[string]string{"SMTP_PORT": "mail", "RETRY_MIN": "soon", "STORE": "oracle"}
	var out bytes.Buffer
	code := run(nil, func(name string) string { return env[name] }, io.Discard, &out)
	if code != exitUsage {
		t.Errorf("exit %d; want %d", code, exitUsage)
	}
	for name := range env {
		if !strings.Contains(out.String(), name) {
			t.Errorf("%s is not named in %q", name, out.String())
		}
	}
}

// process is a server in a process of its own.
type process struct {
	client.Client
	env map[string]string
	cmd *exec.Cmd
	log *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startProcess starts a server and waits until it is ready.
func startProcess(t *testing.T, env map[string]string) *process {
	t.Helper()
	env = maps.Clone(env)
	env["LISTEN_ADDR"], env["METRICS_ADDR"] = vacant(t), vacant(t)
	p := &process{env: env, log: &lockedBuffer{}, Client: client.Client{Base: "http://" + env["LISTEN_ADDR"]}}
	if env["LISTEN_TLS"] != "" {
		p.Base, p.HTTP = "https://"+env["LISTEN_ADDR"], anyServer(t)
	}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), asServer+"=1")
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("the server's log:\n%s", p.log)
		}
	})
	deadline := time.Now().Add(patience)
	for p.Call(t.Context(), "GET", "readyz", nil, nil) != nil {
		if time.Now().After(deadline) {
			t.Fatalf("the server does not become ready: %s", p.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return p
}

// anyServer is a client for a process whose certificate is not the matter of
// the test.
func anyServer(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// kill ends the process as a power cut would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
}

// vacant is an address at which nobody listens, and which nobody is given by
// chance until the test ends.
func vacant(t *testing.T) string {
	t.Helper()
	addr, release, err := smtptest.Vacant()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return addr
}

const connections = 4

// TestKillAndRestart kills the server with SIGKILL in the middle of a
// campaign, several times, and starts it again: the campaign completes by
// itself, nobody is missing, and no more are mailed twice than were in flight
// or unrecorded at the kills.
func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]map[string]string{
		"embedded": {"STORE": "embedded", "DATA_DIR": filepath.Join(t.TempDir(), "data")},
		"dynamodb": {
			"STORE": "dynamodb", "DYNAMODB_ENDPOINT": dynamotest.Endpoint(t), "AWS_REGION": "us-gov-west-1",
			"TABLE_PREFIX": dynamotest.Prefix(), "CREATE_TABLES": "true",
			"ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killAndRestart(t, store)
		})
	}
}

func killAndRestart(t *testing.T, env map[string]string) {
	t.Helper()
	relay, err := smtptest.Start(smtptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	maps.Copy(env, map[string]string{
		"SMTP_SERVER": relay.Host(), "SMTP_PORT": strconv.Itoa(relay.Port()), "SMTP_USE_TLS": "false",
		"RELAY_ALLOW": "127.0.0.1/32", "RELAY_PORTS": strconv.Itoa(relay.Port()),
		"RELAY_MAX_CONNECTIONS": strconv.Itoa(connections), "RELAY_RATE": "600", "LOG_LEVEL": "warn",
	})
	const n, kills = 3000, 3
	p := startProcess(t, env)
	contacts := make([]client.Contact, n)
	for i := range contacts {
		contacts[i] = client.Contact{"email": fmt.Sprintf("r%d@example.org", i), "first_name": "R"}
	}
	if err := p.Import(t.Context(), contacts); err != nil {
		t.Fatal(err)
	}
	id, err := p.Submit(t.Context(), client.Campaign{From: "office@example.org", Subject: "Hello {{first_name}}", Body: "<p>Hello</p>"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	for i := range kills {
		if err := relay.Wait(ctx, (i+1)*n/(kills+2)); err != nil {
			t.Fatal(err)
		}
		p.kill(t)
		if relay.Count() >= n {
			t.Fatal("the campaign was over before the kill")
		}
		p = startProcess(t, env)
	}
	final, err := p.Follow(ctx, id, func(s client.Status) error {
		if sum := s.Sent + s.Failed + s.Unknown + s.Suppressed + s.Pending; sum != s.Total || s.Sent > relay.Count() {
			t.Errorf("with %d taken by the relay: %+v", relay.Count(), s)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("the campaign did not end: %v, %+v", err, final)
	}
	if final.Status != "completed" || final.Sent != n || final.Total != n {
		t.Errorf("ended as %+v", final)
	}
	duplicates := 0
	for _, times := range relay.PerRecipient() {
		duplicates += times - 1
	}
	if missing := n - len(relay.PerRecipient()); missing != 0 {
		t.Errorf("%d people were not mailed", missing)
	}
	if bound := kills * (2*connections + engine.Window); duplicates > bound {
		t.Errorf("%d duplicates; at most %d may be", duplicates, bound)
	}
	verify := []string{"verify", "-url", p.Base, "-campaign", id}
	awaitSigned(t, verify)
	audits(t, nil, exitOK, verify, "unbroken", "3000 deliveries")
	t.Logf("%d kills, %d messages, 0 lost, %d duplicates", kills, relay.Count(), duplicates)
}
