package main

import (
	"encoding/base64"
	"flag"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

var hostileSilent = flag.Int("silent", 20, "large `campaigns` for a relay that says nothing, in TestSilentRelay")

// silentMemory is less than the letters of the campaigns have together.
const silentMemory = 192 << 20

// TestSilentRelay: a relay that accepts connections and says nothing has more
// large campaigns waiting than there is memory for. The server stays up, also
// through a restart on the same data, another relay's campaign is sent
// meanwhile, and when the relay speaks all are completed.
func TestSilentRelay(t *testing.T) {
	t.Parallel()
	speak := make(chan struct{})
	silent, err := smtptest.Start(smtptest.Config{DigestOnly: true, Hook: smtptest.At(smtptest.StageGreeting, smtptest.Action{}.After(speak))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(silent.Close)
	other, err := smtptest.Start(smtptest.Config{DigestOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	env := map[string]string{
		"STORE": "embedded", "DATA_DIR": filepath.Join(t.TempDir(), "data"), "LISTEN_TLS": "self-signed", "LOG_LEVEL": "warn",
		"SMTP_SERVER": silent.Host(), "SMTP_PORT": strconv.Itoa(silent.Port()), "SMTP_USE_TLS": "false",
		"RELAY_ALLOW": "127.0.0.1/32", "RELAY_PORTS": strconv.Itoa(silent.Port()) + "," + strconv.Itoa(other.Port()),
		"GOMEMLIMIT": "160MiB", "MAX_REQUEST_BYTES": "10485760", "MAX_INFLIGHT_BYTES": "20971520", "MAX_LETTER_BYTES": "33554432",
	}
	p, peak := startConfined(t, env)
	importAudience(t, p)
	file := base64.StdEncoding.EncodeToString(make([]byte, fileOctets))
	for i := range *hostileSilent {
		status, _, err := post(t.Context(), p, i, file)
		if err != nil || status != http.StatusAccepted && i%tooLargeEvery != tooLargeEvery-1 {
			t.Fatalf("campaign %d: %d, %v", i, status, err)
		}
	}
	before := peak()
	p.kill(t)

	p, peak = startConfined(t, env)
	sendOver(t, p, other)
	close(speak)
	if err := silent.Wait(t.Context(), *hostileSilent-*hostileSilent/tooLargeEvery); err != nil {
		t.Error(err)
	}
	after := peak()
	stopsCleanly(t, p)
	t.Logf("peak RssAnon %d MB, and %d MB after a restart", before>>20, after>>20)
	if !raceDetector && max(before, after) > silentMemory {
		t.Errorf("peak memory %d MB", max(before, after)>>20)
	}
}

func startConfined(t *testing.T, env map[string]string) (p *process, peak func() int64) {
	t.Helper()
	p = startProcess(t, env)
	if !raceDetector {
		confine(t, p, silentMemory)
	}
	return p, watchMemory(t, p.cmd.Process.Pid)
}

// sendOver has a small campaign sent over a relay of its own.
func sendOver(t *testing.T, p *process, relay *smtptest.Server) {
	t.Helper()
	var accepted client.Status
	err := p.Call(t.Context(), http.MethodPost, "smtp-campaign", map[string]any{
		"subject": "Hello", "body": "<p>Hello</p>", "from_email": "office@example.org", "recipients": []string{"r0@example.org"},
		"smtp_server": relay.Host(), "smtp_port": relay.Port(), "smtp_use_tls": false,
	}, &accepted)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for relay.Count() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the other relay's campaign is not sent")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
