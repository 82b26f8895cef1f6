package app_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// fetch gives status and body of a path.
func fetch(t *testing.T, s *service, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// awaitReady asks until the service is as ready as wanted, and gives the last
// answer.
func awaitReady(t *testing.T, s *service, want int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		if status, body := fetch(t, s, s.Base+"/readyz"); status == want {
			return body
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("/readyz does not become %d", want)
	return ""
}

// TestDeadRelayIsNoReasonToRestart: a task whose relay is gone lives and is
// ready, while its campaign waits.
func TestDeadRelayIsNoReasonToRestart(t *testing.T) {
	t.Parallel()
	cfg := relayConfig()
	cfg.Addr = vacant(t)
	relay := startRelay(t, cfg)
	env := relayEnv(t, relay)
	relay.Close()
	s := start(t, embedded(t), env)
	s.importContacts(t, addresses(3))
	id := s.submit(t, simpleLetter())
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		st, err := s.Status(t.Context(), id)
		if err == nil && strings.Contains(st.Notice, "in trouble") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the relay's trouble does not show: %+v, %v", st, err)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := fetch(t, s, s.Base+path); status != http.StatusOK {
			t.Errorf("%s answers %d %s", path, status, body)
		}
	}
}

// TestLostStore: without its store a task lives and is not ready, says which
// table it misses and no more than that, and comes back by itself with the
// campaign that it had at work.
func TestLostStore(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*between){"stopped": (*between).hang, "gone": (*between).cut} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, relayConfig())
			store, env := startBetween(t)
			s := start(t, env, relayEnv(t, relay))
			s.importContacts(t, addresses(20))
			awaitReady(t, s, http.StatusOK)

			lose(store)
			body := awaitReady(t, s, http.StatusServiceUnavailable)
			if !strings.Contains(body, "DynamoDB") || !strings.Contains(body, env["TABLE_PREFIX"]) {
				t.Errorf("the answer does not say what is wrong: %s", body)
			}
			for _, secret := range []string{env["ENCRYPTION_KEY"], "correct horse", "127.0.0.1"} {
				if strings.Contains(body, secret) {
					t.Errorf("the answer has %q: %s", secret, body)
				}
			}
			if status, body := fetch(t, s, s.Base+"/healthz"); status != http.StatusOK {
				t.Errorf("/healthz answers %d %s", status, body)
			}

			store.behave()
			awaitReady(t, s, http.StatusOK)
			if final := s.follow(t, s.submit(t, simpleLetter()), relay); final.Status != "completed" || final.Sent != 20 {
				t.Errorf("after the store has come back: %+v", final)
			}
		})
	}
}

// TestProfiling: profiles are beside the metrics where they are asked for, and
// never beside the API.
func TestProfiling(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	for setting, want := range map[string]int{"true": http.StatusOK, "false": http.StatusNotFound} {
		s := start(t, embedded(t), relayEnv(t, relay), map[string]string{"PROFILING": setting})
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
			if status, _ := fetch(t, s, s.metrics+path); status != want {
				t.Errorf("PROFILING=%s: %s answers %d; want %d", setting, path, status, want)
			}
			if status, _ := fetch(t, s, s.Base+path); status != http.StatusNotFound {
				t.Errorf("PROFILING=%s: the API answers %s with %d", setting, path, status)
			}
		}
		if status, body := fetch(t, s, s.metrics+"/metrics"); status != http.StatusOK || !strings.Contains(body, "go_build_info") {
			t.Errorf("/metrics answers %d", status)
		}
	}
}
