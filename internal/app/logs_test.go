package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// canaryName is part of every address that must not be in a log.
const canaryName = "canary.person"

// canaryRelay repeats addresses in whatever it refuses: the recipient c0 for
// good, c1 for now, c2 by ending the connection; and the senders named so
// as a whole.
func canaryRelay(t *testing.T) *smtptest.Server {
	t.Helper()
	cfg := relayConfig()
	cfg.Hook = func(e smtptest.Event) smtptest.Action {
		switch {
		case e.Stage == smtptest.StageMail && strings.Contains(e.Command, canaryName):
			return smtptest.Reply("550 5.7.1 <" + canaryName + ".from@example.org>: sender refused for c0." + canaryName + "@Example.ORG.")
		case e.Stage != smtptest.StageRcpt:
		case strings.HasPrefix(e.Rcpt(), "c0"):
			return smtptest.Reply("550 5.1.1 <" + e.Rcpt() + ">: unknown")
		case strings.HasPrefix(e.Rcpt(), "c1"):
			return smtptest.Reply("450 4.2.1 " + e.Rcpt() + " is busy")
		case strings.HasPrefix(e.Rcpt(), "c2"):
			return smtptest.Reply("421 4.3.0 not for " + e.Rcpt()).ThenClose()
		}
		return smtptest.Action{}
	}
	return startRelay(t, cfg)
}

// failWithCanaries has campaigns to and from canaries fail in many ways.
func failWithCanaries(t *testing.T, settings map[string]string) *service {
	t.Helper()
	relay := canaryRelay(t)
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{
		"LOG_LEVEL": "trace", "RETRY_MIN": "10ms", "RETRY_MAX": "10ms", "RETRY_FOR": "20ms",
	}, settings)
	var contacts []client.Contact
	for _, name := range []string{"c0", "c1", "c2", "c3"} {
		contacts = append(contacts, client.Contact{"email": name + "." + canaryName + "@example.org", "first_name": canaryName})
	}
	s.importContacts(t, contacts)
	// First the sender: the recipients may leave the relay in trouble, and with
	// this RETRY_FOR whoever finds it so is paused.
	refused := simpleLetter()
	refused.From = canaryName + ".from@example.org"
	if final := s.follow(t, s.submit(t, refused), relay); final.Status != "failed" || strings.Contains(final.Reason, canaryName) {
		t.Errorf("the campaign of a refused sender: %+v", final)
	}
	s.follow(t, s.submit(t, simpleLetter()), relay)
	unknown := simpleLetter()
	unknown.Recipients = []string{"nobody." + canaryName + "@example.org"}
	if _, err := s.Submit(t.Context(), unknown); err == nil {
		t.Error("a campaign to nobody was accepted")
	}
	for _, path := range []string{"/contacts?email=c0." + canaryName + "@example.org", "/campaigns/" + canaryName + "@example.org", "/" + canaryName + "@example.org"} {
		fetch(t, s, s.Base+path)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	return s
}

// TestNoAddressesInLogs: whatever goes wrong, the log has digests of people's
// addresses, the same for the same person; unless it is to have them.
func TestNoAddressesInLogs(t *testing.T) {
	t.Parallel()
	log := failWithCanaries(t, nil).log.String()
	for line := range strings.Lines(log) {
		if strings.Contains(strings.ToLower(line), canaryName) {
			t.Errorf("an address is in the log: %s", line)
		}
		if !json.Valid([]byte(line)) {
			t.Errorf("a line is no JSON: %s", line)
		}
	}
	var refusal string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "sender refused") {
			refusal = line
		}
	}
	if !regexp.MustCompile(`<\[address:[0-9a-f]{12}\]>: sender refused for \[address:[0-9a-f]{12}\]\.`).MatchString(refusal) {
		t.Errorf("the refusal of the sender is logged as %s", refusal)
	}
	plain := failWithCanaries(t, map[string]string{"LOG_ADDRESSES": "true"}).log.String()
	if !strings.Contains(plain, canaryName+".from@example.org") {
		t.Error("LOG_ADDRESSES=true does not log addresses")
	}
}

// TestLogCorrelation: the request that has API Gateway's id is found by it, with
// the campaign, in the request's own line and in that of the change which it
// asked for.
func TestLogCorrelation(t *testing.T) {
	t.Parallel()
	const submitted, paused = "gateway-request-0001", "gateway-request-0002"
	relay := startRelay(t, relayConfig())
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{
		"LOG_LEVEL": "info", "AUTH": "vpce", "VPC_ENABLED": "true", "VPC_ENDPOINT_IDS": endpoint,
	})
	call := func(id, path, body string) map[string]any {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Base+path, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Source-Vpce", endpoint)
		req.Header.Set("X-Amzn-Request-Id", id)
		resp, err := s.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		var answer map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode >= http.StatusMultipleChoices {
			t.Fatalf("%s answers %d %v, %v", path, resp.StatusCode, answer, err)
		}
		return answer
	}
	c := call(submitted, "/smtp-campaign", `{"subject":"s","body":"b","from_email":"office@example.org","send_at":"`+tomorrow()+`"}`)
	id, _ := c["campaign_id"].(string)
	call(paused, "/campaigns/"+id+"/pause", "")
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	got := map[string]bool{}
	for line := range strings.Lines(s.log.String()) {
		var l struct {
			Message, Campaign string
			RequestID         string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if l.Campaign == id {
			got[l.Message+" "+l.RequestID] = true
		}
	}
	for _, want := range []string{
		"campaign accepted " + submitted, "request " + submitted, "the campaign's status changed " + paused, "request " + paused,
	} {
		if !got[want] {
			t.Errorf("no line %q of the campaign; there are %v", want, got)
		}
	}
}

func tomorrow() string { return time.Now().UTC().Add(24 * time.Hour).Format(time.RFC3339) }
