package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// TestOneRefusedRecipientDoesNotStopTheOthers: "relay access denied", as
// Postfix answers it, is temporary and concerns one recipient.
func TestOneRefusedRecipientDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	cfg := relayConfig()
	cfg.Hook = func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageRcpt || e.Rcpt() != "r3@example.org" {
			return smtptest.Action{}
		}
		return smtptest.Reply("454 4.7.1 <r3@example.org>: Relay access denied")
	}
	relay := startRelay(t, cfg)
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{
		"RELAY_MAX_CONNECTIONS": "1", "RETRY_MIN": "20ms", "RETRY_MAX": "40ms", "RETRY_FOR": "200ms",
	})
	s.importContacts(t, addresses(40))
	id := s.submit(t, simpleLetter())
	final := s.follow(t, id, relay)
	if final.Status != "completed" || final.Sent != 39 || final.Failed != 1 {
		t.Errorf("ended as %+v", final)
	}
	if d := s.deliveries(t, id)["r3@example.org"]; d.State != "failed" || !strings.Contains(d.Reply, "454 4.7.1") {
		t.Errorf("the refused recipient: %+v", d)
	}
}

// TestPoisonousMessage: a message at which the relay drops the connection is
// given up in the end, and all others go on, a campaign beside it included.
// That one shows that the relay as a whole is well.
func TestPoisonousMessage(t *testing.T) {
	t.Parallel()
	const n, beside = 10, 2000 // for as long as even a busy machine takes with the one message
	cfg := relayConfig()
	cfg.Hook = func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageRcpt || e.Rcpt() != "r3@example.org" {
			return smtptest.Action{}
		}
		return smtptest.Close()
	}
	relay := startRelay(t, cfg)
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{
		"RELAY_RATE": "200", "RELAY_MAX_CONNECTIONS": "4", "RETRY_MIN": "10ms", "RETRY_MAX": "10ms", "RETRY_FOR": "10ms",
	})
	contacts := addresses(n + beside)
	for _, c := range contacts[n:] {
		c["tags"] = []string{"beside"}
	}
	s.importContacts(t, contacts)
	well, poisoned := simpleLetter(), simpleLetter()
	well.Tags = []string{"beside"}
	for _, c := range contacts[:n] {
		poisoned.Recipients = append(poisoned.Recipients, field(c, "email"))
	}
	other := s.submit(t, well)
	final := s.follow(t, s.submit(t, poisoned), relay)
	if final.Status != "completed" || final.Sent != n-1 || final.Failed != 1 {
		t.Errorf("ended as %+v", final)
	}
	if final := s.follow(t, other, relay); final.Status != "completed" || final.Sent != beside {
		t.Errorf("the campaign beside it ended as %+v", final)
	}
}

// TestDeadRelaysDoNotStarveOthers: more campaigns than a task holds chunks
// wait for a relay that is down; one for another relay is sent.
func TestDeadRelaysDoNotStarveOthers(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	gone := vacantPort(t)
	env := relayEnv(t, relay)
	env["RELAY_PORTS"] += "," + strconv.Itoa(gone)
	s := start(t, embedded(t), env)
	s.importContacts(t, addresses(2))
	plain := false
	for i := range 70 {
		letter := simpleLetter()
		letter.Name, letter.Server, letter.Port, letter.UseTLS = fmt.Sprint("dead ", i), "127.0.0.1", gone, &plain
		s.submit(t, letter)
	}
	final := s.follow(t, s.submit(t, simpleLetter()), relay)
	if final.Status != "completed" || final.Sent != 2 {
		t.Errorf("ended as %+v", final)
	}
}

// TestStopDoesNotWaitForAGreeting: a relay that accepts a connection and says
// nothing does not make the stop unclean, as nothing is in flight.
func TestStopDoesNotWaitForAGreeting(t *testing.T) {
	t.Parallel()
	connected := make(chan struct{})
	cfg := relayConfig()
	cfg.Hook = smtptest.Times(1, func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageGreeting {
			return smtptest.Action{}
		}
		close(connected)
		return smtptest.Hang()
	})
	relay := startRelay(t, cfg)
	s := start(t, embedded(t), relayEnv(t, relay))
	s.importContacts(t, addresses(2))
	s.submit(t, simpleLetter())
	<-connected
	if err := s.stop(); err != nil {
		t.Errorf("the stop was not clean: %v", err)
	}
}

// TestPasswordRepeatedByTheRelay: a relay that repeats the command that it
// refuses does not bring the password into the campaign's reason or the log.
func TestPasswordRepeatedByTheRelay(t *testing.T) {
	t.Parallel()
	cfg := relayConfig()
	cfg.Hook = func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageAuth {
			return smtptest.Action{}
		}
		return smtptest.Reply("535 5.7.8 do not know " + e.Command)
	}
	relay := startRelay(t, cfg)
	s := start(t, embedded(t), relayEnv(t, relay))
	s.importContacts(t, addresses(1))
	final := s.follow(t, s.submit(t, client.Campaign{From: "office@example.org", Subject: "s", Body: "b"}), relay)
	if final.Status != "paused" || !strings.Contains(final.Reason, "535") || strings.Contains(final.Reason, "AUTH PLAIN") {
		t.Errorf("rests as %+v", final)
	}
	if strings.Contains(s.log.String(), "AUTH PLAIN") {
		t.Error("the response of AUTH is in the log")
	}
}

// TestSilentRelay: a relay that takes a connection and says nothing shows in
// the campaign's notice once RELAY_TIMEOUT is over, and costs nobody anything.
func TestSilentRelay(t *testing.T) {
	t.Parallel()
	cfg := relayConfig()
	cfg.Hook = smtptest.Times(1, smtptest.At(smtptest.StageGreeting, smtptest.Hang()))
	relay := startRelay(t, cfg)
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{"RELAY_TIMEOUT": "5s"})
	s.importContacts(t, addresses(3))
	id := s.submit(t, simpleLetter())
	final := s.follow(t, id, relay)
	if final.Status != "completed" || final.Sent != 3 || !strings.Contains(s.log.String(), `"stage":"greeting"`) {
		t.Errorf("ended as %+v", final)
	}
	for address, d := range s.deliveries(t, id) {
		if d.Attempts != 1 {
			t.Errorf("%s bore the relay's silence: %+v", address, d)
		}
	}
}

// TestListedRelays: who may send, and no more than that, cannot have the
// contacts' fields sent to a relay of their own, nor over the network in clear.
func TestListedRelays(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{"RELAYS": "listed", "RELAY_REQUIRE_TLS": "true"})
	s.importContacts(t, addresses(1))
	const letter = `"subject": "{{ssn}}", "body": "{{email}}", "from_email": "a@example.org", `
	for _, tt := range []struct{ path, body, field string }{
		{"smtp-campaign", letter + `"smtp_server": "relay.evil.example"`, "smtp_server"},
		{"smtp-campaign", letter + `"smtp_server": "8.8.8.8"`, "smtp_server"},
		{"smtp-campaign", letter + `"smtp_use_tls": false`, "smtp_use_tls"},
		{"relays/check", `"smtp_server": "relay.evil.example"`, "smtp_server"},
		{"relays/check", `"smtp_use_tls": false`, "smtp_use_tls"},
	} {
		err := s.Call(t.Context(), http.MethodPost, tt.path, json.RawMessage("{"+tt.body+"}"), nil)
		if err == nil || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("%s %s: %v", tt.path, tt.body, err)
		}
	}
	id := s.submit(t, simpleLetter())
	if final := s.follow(t, id, relay); final.Status != "completed" || final.Sent != 1 {
		t.Errorf("by the default relay: %+v", final)
	}
	for _, body := range []string{`{"smtp_server": "relay.evil.example"}`, `{"smtp_use_tls": false}`} {
		if err := s.Call(t.Context(), http.MethodPost, "campaigns/"+id+"/retry", json.RawMessage(body), nil); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("retry with %s: %v", body, err)
		}
	}
}
