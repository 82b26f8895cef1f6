package api_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"postern/internal/campaign"
	"postern/internal/engine"
)

// audited is a service with a campaign c-1 that has an audit trail.
func audited(t *testing.T, trail string, err error) *service {
	t.Helper()
	s := start(t)
	s.reports["c-1"] = engine.Report{Campaign: campaign.Campaign{ID: "c-1"}}
	s.trail, s.trailErr = trail, err
	return s
}

// longTrail is more than an answer's piece and what a connection keeps of it.
var longTrail = strings.Repeat(strings.Repeat("x", 999)+"\n", 8000)

func TestAudit(t *testing.T) {
	t.Parallel()
	for _, trail := range []string{"{}\n", longTrail} {
		r := audited(t, trail, nil).call(http.MethodGet, "/campaigns/c-1/audit", "").want(http.StatusOK)
		if kind := r.header.Get("Content-Type"); kind != "application/x-ndjson" || string(r.body) != trail {
			t.Errorf("%d octets of %s, want %d", len(r.body), kind, len(trail))
		}
	}
	audited(t, "{}\n", nil).call(http.MethodGet, "/campaigns/c-2/audit", "").want(http.StatusNotFound)
}

// TestAuditFails: before the first line that is an answer as any other; later
// the answer is cut off, so that nobody takes it for a whole one.
func TestAuditFails(t *testing.T) {
	t.Parallel()
	away := campaign.Errorf(campaign.CodeUnavailable, "the store is away")
	audited(t, "", away).call(http.MethodGet, "/campaigns/c-1/audit", "").want(http.StatusServiceUnavailable)

	s := audited(t, longTrail, away)
	resp, err := s.server.Client().Do(s.request(http.MethodGet, "/campaigns/c-1/audit", http.NoBody))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the answer ended with %v, want it cut off", err)
	}
	s.server.Close() // waits for the handler
	if log := s.log.String(); !strings.Contains(log, "the store is away") {
		t.Errorf("the log does not say why: %s", log)
	}
}

func TestAuditKeys(t *testing.T) {
	t.Parallel()
	got := start(t).call(http.MethodGet, "/audit/key", "").want(http.StatusOK).json()
	keys, _ := got["keys"].([]any)
	if len(keys) != 1 || got["algorithm"] != "Ed25519" {
		t.Fatalf("got %v", got)
	}
	key, _ := keys[0].(map[string]any)
	if key["id"] != "01020304" || key["public_key"] != strings.Repeat("A", 43)+"=" {
		t.Errorf("got %v", key)
	}
}
