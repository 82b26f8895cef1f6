package app_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/app"
	"postern/internal/client"
	"postern/internal/config"
	"postern/internal/doctor"
	"postern/internal/mailer/smtptest"
	"postern/internal/seal"
	"postern/internal/store/dynamo/dynamotest"
)

// states gives what came of each step, by "subject step".
func states(checks ...doctor.Check) map[string]doctor.State {
	all := map[string]doctor.State{}
	for _, c := range checks {
		subject, _, _ := strings.Cut(c.Subject, " ")
		for _, s := range c.Steps {
			all[subject+" "+s.Name] = s.State
		}
	}
	return all
}

func expectStates(t *testing.T, got, want map[string]doctor.State) {
	t.Helper()
	for name, state := range want {
		if got[name] != state {
			t.Errorf("%s is %q, want %q; all: %v", name, got[name], state, got)
		}
	}
}

// check asks the service about a relay.
func (s *service) check(t *testing.T, body map[string]any) doctor.Check {
	t.Helper()
	var c doctor.Check
	if err := s.Call(t.Context(), "POST", "relays/check", body, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCheckOfARelay: callers learn how the default relay is with its own
// credentials, and about another one with theirs.
func TestCheckOfARelay(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	s := start(t, embedded(t), relayEnv(t, relay))
	c := s.check(t, nil)
	if !c.OK || c.TLS == nil || !c.TLS.Verified {
		t.Errorf("%+v", c)
	}
	expectStates(t, states(c), map[string]doctor.State{"relay auth": doctor.OK, "relay mail": doctor.Skipped})
	c = s.check(t, map[string]any{"smtp_username": "postern", "smtp_password": "wrong one"})
	expectStates(t, states(c), map[string]doctor.State{"relay auth": doctor.Failed, "relay size": doctor.Skipped})
	c = s.check(t, map[string]any{"mail_from": "a@example.org", "rcpt_to": "b@example.org"})
	expectStates(t, states(c), map[string]doctor.State{"relay mail": doctor.OK, "relay rcpt": doctor.OK})
	if text, _ := json.Marshal(c); strings.Contains(string(text), "correct horse") {
		t.Errorf("the password shows: %s", text)
	}
	err := s.Call(t.Context(), "POST", "relays/check", map[string]any{"smtp_server": "10.1.2.3"}, nil)
	if err == nil || !strings.Contains(err.Error(), "RELAY_ALLOW") {
		t.Errorf("a relay that is not allowed: %v", err)
	}
	if relay.Count() != 0 {
		t.Error("a message was sent")
	}
}

// TestCheckTellsNoAddresses: what a name leads to within the network, callers
// do not learn.
func TestCheckTellsNoAddresses(t *testing.T) {
	t.Parallel()
	s := start(t, embedded(t)) // without a default relay
	c := s.check(t, map[string]any{"smtp_server": "private.attacker.test", "smtp_port": 587})
	expectStates(t, states(c), map[string]doctor.State{"relay dns": doctor.OK, "relay rules": doctor.Failed, "relay tcp": doctor.Skipped})
	if text, _ := json.Marshal(c); strings.Contains(string(text), "10.0.0.1") || !strings.Contains(string(text), "addresses that the rules for relays refuse") {
		t.Errorf("%s", text)
	}
}

// hole accepts connections and says nothing, until it is closed; connected
// tells of each.
func hole(t *testing.T) (port int, connected <-chan struct{}, closeAll func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	told, done := make(chan struct{}, 64), make(chan struct{})
	go func() {
		defer close(done)
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			held = append(held, c)
			told <- struct{}{}
		}
		for _, c := range held {
			_ = c.Close()
		}
	}()
	closeAll = func() {
		_ = l.Close()
		<-done
	}
	t.Cleanup(closeAll)
	return l.Addr().(*net.TCPAddr).Port, told, closeAll
}

// TestChecksAreFew: a relay that says nothing holds up no more than four
// callers.
func TestChecksAreFew(t *testing.T) {
	t.Parallel()
	port, connected, closeAll := hole(t)
	s := start(t, embedded(t), map[string]string{
		"SMTP_SERVER": "127.0.0.1", "SMTP_PORT": strconv.Itoa(port), "RELAY_PORTS": strconv.Itoa(port), "RELAY_ALLOW": "127.0.0.1",
	})
	answers := make(chan doctor.Check)
	for range 4 {
		go func() {
			var c doctor.Check
			_ = s.Call(t.Context(), "POST", "relays/check", nil, &c)
			answers <- c
		}()
	}
	for range 4 {
		<-connected
	}
	err := s.Call(t.Context(), "POST", "relays/check", nil, nil)
	if answer, is := errors.AsType[*client.Error](err); !is || answer.Status != http.StatusServiceUnavailable {
		t.Errorf("a fifth check: %v", err)
	}
	closeAll()
	for range 4 {
		c := <-answers
		expectStates(t, states(c), map[string]doctor.State{"relay tcp": doctor.OK, "relay greeting": doctor.Failed})
	}
}

// TestIndicators: a campaign's status has what is known of its network, and the
// relay as the campaign's own sessions know it.
func TestIndicators(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, relayConfig())
			s := start(t, b.env(t), relayEnv(t, relay))
			var n struct {
				Store struct {
					Kind      string
					Endpoint  *string
					Reachable *bool
					Latency   *float64 `json:"latency_ms"`
				}
				Relay struct {
					Reachable *bool
					Source    string
					TLS       *doctor.TLS
				}
				Task struct{ Reason string }
			}
			// A measurement has a time-out, which a busy machine may exceed: then
			// there is another one.
			reached := func(is *bool) bool { return is != nil && *is }
			for deadline := time.Now().Add(patience); ; time.Sleep(time.Second) {
				if err := s.Call(t.Context(), "GET", "network", nil, &n); err != nil {
					t.Fatal(err)
				}
				if reached(n.Store.Reachable) && reached(n.Relay.Reachable) || time.Now().After(deadline) {
					break
				}
			}
			if n.Store.Kind != b.name || (n.Store.Endpoint != nil) != (b.name == "dynamodb") || n.Store.Reachable == nil || !*n.Store.Reachable ||
				n.Store.Latency == nil || n.Task.Reason == "" {
				t.Errorf("%+v", n)
			}
			if n.Relay.Reachable == nil || !*n.Relay.Reachable || n.Relay.TLS == nil || n.Relay.TLS.Certificate == nil || n.Relay.Source != "probe" {
				t.Errorf("%+v", n.Relay)
			}
		})
	}
}

// TestIndicatorsOfARelayAtWork are from the campaign's sessions.
func TestIndicatorsOfARelayAtWork(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	cfg := relayConfig()
	// The third message waits, so the lane stands.
	cfg.Hook = func(e smtptest.Event) smtptest.Action {
		if e.Stage == smtptest.StageDot && e.Rcpt() == "r2@example.org" {
			return smtptest.Action{}.After(goOn)
		}
		return smtptest.Action{}
	}
	relay := startRelay(t, cfg)
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{"RELAY_MAX_CONNECTIONS": "1"})
	s.importContacts(t, addresses(3))
	id := s.submit(t, simpleLetter())
	deadline := time.Now().Add(patience)
	var got struct {
		Network struct {
			Relay struct {
				Reachable *bool
				Source    string
				TLS       *doctor.TLS
			}
		}
	}
	for got.Network.Relay.Source != "sessions" && time.Now().Before(deadline) {
		if err := s.Call(t.Context(), "GET", "campaign-status/"+id, nil, &got); err != nil {
			t.Fatal(err)
		}
	}
	r := got.Network.Relay
	if r.Source != "sessions" || !*r.Reachable || r.TLS == nil || r.TLS.Version != "TLS 1.3" || !r.TLS.Verified {
		t.Errorf("%+v", r)
	}
	close(goOn)
	s.follow(t, id, relay)
}

func examine(t *testing.T, x app.Examination, envs ...map[string]string) []doctor.Check {
	t.Helper()
	env := map[string]string{}
	for _, e := range envs {
		maps.Copy(env, e)
	}
	cfg, err := config.Load(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	x.StepTimeout = time.Minute
	return app.Examine(t.Context(), cfg, x)
}

// TestExamine: beside a server that runs, behind it, and with another key.
func TestExamine(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	env := embedded(t)
	s := start(t, env, relayEnv(t, relay))
	beside := examine(t, app.Examination{}, env, relayEnv(t, relay))
	expectStates(t, states(beside...), map[string]doctor.State{"store file": doctor.Warning, "relay auth": doctor.OK})
	if !doctor.Healthy(beside) {
		t.Errorf("%+v", beside)
	}
	s.importContacts(t, addresses(1))
	s.follow(t, s.submit(t, simpleLetter()), relay)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	behind := examine(t, app.Examination{}, env)
	expectStates(t, states(behind...), map[string]doctor.State{
		"configuration SMTP_SERVER": doctor.Warning, "store read": doctor.OK, "store key": doctor.OK, "relay dns": "",
	})
	other, err := seal.LoadOrCreateKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	wrong := examine(t, app.Examination{}, env, map[string]string{"ENCRYPTION_KEY": base64.StdEncoding.EncodeToString(other[0])})
	expectStates(t, states(wrong...), map[string]doctor.State{"store key": doctor.Failed})
	if doctor.Healthy(wrong) {
		t.Error("a key that opens nothing is healthy")
	}
}

// TestExamineDynamoDB: the tables, and tables that are not there.
func TestExamineDynamoDB(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	env := dynamoDB(t)
	s := start(t, env, relayEnv(t, relay))
	s.importContacts(t, addresses(1))
	s.follow(t, s.submit(t, simpleLetter()), relay)
	checks := examine(t, app.Examination{}, env)
	expectStates(t, states(checks...), map[string]doctor.State{
		"store endpoint": doctor.OK, "store table " + env["TABLE_PREFIX"] + "EmailWork": doctor.OK, "store key": doctor.OK,
	})
	env["TABLE_PREFIX"] = dynamotest.Prefix()
	checks = examine(t, app.Examination{}, env)
	expectStates(t, states(checks...), map[string]doctor.State{
		"store table " + env["TABLE_PREFIX"] + "EmailWork": doctor.Failed, "store key": doctor.Skipped,
	})
}

// TestExamineAnotherRelay: the default relay's password goes to no other.
func TestExamineAnotherRelay(t *testing.T) {
	t.Parallel()
	relay, other := startRelay(t, relayConfig()), startRelay(t, relayConfig())
	env := relayEnv(t, relay)
	env["RELAY_PORTS"] += "," + strconv.Itoa(other.Port())
	env["DATA_DIR"] = filepath.Join(t.TempDir(), "none")
	x := app.Examination{Host: other.Host(), Port: other.Port(), From: "a@example.org"}
	checks := examine(t, x, env)
	// The other relay's authority is not the one of RELAY_CA_FILE.
	expectStates(t, states(checks...), map[string]doctor.State{"relay tcp": doctor.OK, "relay starttls": doctor.Failed, "relay mail": doctor.Skipped})
	env["SMTP_USE_TLS"] = "false"
	expectStates(t, states(examine(t, x, env)...), map[string]doctor.State{"relay auth": doctor.Skipped, "relay mail": doctor.Failed})
	other.Close()
	if n := other.Stats().Commands["AUTH"]; n != 0 {
		t.Errorf("%d logins", n)
	}
}
