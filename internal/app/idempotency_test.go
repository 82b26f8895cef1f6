package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/auth"
	"postern/internal/client"
)

// replay is what a client sees of a POST /smtp-campaign.
type replay struct {
	status   int
	id       string
	replayed string // the header Idempotent-Replayed
}

// submitWithKey hands a campaign in with an Idempotency-Key.
func (s *service) submitWithKey(t *testing.T, key string, c client.Campaign) replay {
	t.Helper()
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Base+"/smtp-campaign", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	if s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token)
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		ID string `json:"campaign_id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("answer %d: %v", resp.StatusCode, err)
	}
	return replay{resp.StatusCode, answer.ID, resp.Header.Get("Idempotent-Replayed")}
}

// TestIdempotentReplay holds that a known Idempotency-Key brings back its
// campaign although the request would not be accepted any more, and that
// nobody is mailed twice for it.
func TestIdempotentReplay(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		s := start(t, env, relayEnv(t, relay))
		s.importContacts(t, addresses(2))
		letter := simpleLetter()
		letter.Recipients = []string{"r0@example.org", "r1@example.org"}
		want := func(got, want replay, what string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %+v, want %+v", what, got, want)
			}
		}

		first := s.submitWithKey(t, "first", letter)
		if first.status != http.StatusAccepted || first.id == "" || first.replayed != "" {
			t.Fatalf("the first request: %+v", first)
		}
		s.follow(t, first.id, relay)
		gone := "contacts?email=" + url.QueryEscape(letter.Recipients[0])
		if err := s.Call(t.Context(), http.MethodDelete, gone, nil, nil); err != nil {
			t.Fatal(err)
		}

		again := replay{http.StatusAccepted, first.id, "true"}
		want(s.submitWithKey(t, "first", letter), again, "the same request, with a contact gone")
		want(s.submitWithKey(t, "second", letter), replay{status: http.StatusBadRequest}, "the same body with another key")
		other := letter
		other.Subject = "Other"
		want(s.submitWithKey(t, "first", other), replay{status: http.StatusUnprocessableEntity}, "the key with another body")

		s.importContacts(t, addresses(1))
		second := s.submitWithKey(t, "second", letter)
		if second.status != http.StatusAccepted || second.id == first.id || second.replayed != "" {
			t.Errorf("the key of a refused request is not free: %+v", second)
		}
		s.follow(t, second.id, relay)
		want(s.submitWithKey(t, "first", letter), again, "the first request once more")
		if taken := relay.Count(); taken != 4 {
			t.Errorf("the relay has taken %d messages, want 2 of each of the two campaigns", taken)
		}
	})
}

// TestIdempotentReplayAfterRestart holds the same for the relay's rules, which
// change with the configuration, and in whatever task the key was used.
func TestIdempotentReplayAfterRestart(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		rules := relayEnv(t, relay)
		s := start(t, env, rules)
		s.importContacts(t, addresses(1))
		letter := simpleLetter()
		letter.Server, letter.Port = relay.Host(), relay.Port()
		first := s.submitWithKey(t, "key", letter)
		s.follow(t, first.id, relay)
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}

		for _, setting := range []string{"SMTP_SERVER", "SMTP_PORT", "SMTP_USERNAME", "SMTP_PASSWORD", "RELAY_ALLOW", "RELAY_PORTS"} {
			delete(rules, setting)
		}
		s = start(t, env, rules)
		if got, want := s.submitWithKey(t, "key", letter), (replay{http.StatusAccepted, first.id, "true"}); got != want {
			t.Errorf("the same request behind a restart with other rules: %+v, want %+v", got, want)
		}
		if got, want := s.submitWithKey(t, "other", letter), (replay{status: http.StatusBadRequest}); got != want {
			t.Errorf("the relay is still allowed: %+v, want %+v", got, want)
		}
	})
}

// TestIdempotencyKeysOfCallers: callers know nothing of each other's keys,
// whether by an answer or by a campaign that is theirs no more.
func TestIdempotencyKeysOfCallers(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		path := filepath.Join(t.TempDir(), "tokens.jsonl")
		var tokens []string
		for _, name := range []string{"one", "two"} {
			token, line, err := auth.Mint(auth.Order{Name: name, Scopes: []auth.Scope{auth.Admin}}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if err := auth.Append(path, line); err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, token)
		}
		s := start(t, env, relayEnv(t, relay), map[string]string{"AUTH": "token", "API_TOKENS_FILE": path})
		s.Token = tokens[0]
		s.importContacts(t, addresses(1))
		letter := simpleLetter()
		first := s.submitWithKey(t, "key", letter)
		s.Token = tokens[1]
		second := s.submitWithKey(t, "key", letter)
		if second.status != http.StatusAccepted || second.replayed != "" || second.id == first.id {
			t.Errorf("the key of another caller's %+v: %+v", first, second)
		}
		other := letter
		other.Subject = "Other"
		want := replay{status: http.StatusUnprocessableEntity}
		if got := s.submitWithKey(t, "key", other); got != want {
			t.Errorf("the caller's own key with another body: %+v, want %+v", got, want)
		}
		s.Token = tokens[0]
		if got, want := s.submitWithKey(t, "key", letter), (replay{http.StatusAccepted, first.id, "true"}); got != want {
			t.Errorf("the first caller's request again: %+v, want %+v", got, want)
		}
	})
}
