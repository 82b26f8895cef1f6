package api_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"postern/internal/api"
	"postern/internal/campaign"
	"postern/internal/engine"
)

// startAt is a service with a campaign of the status.
func startAt(t *testing.T, status campaign.Status) *service {
	t.Helper()
	s := start(t)
	s.reports["c-1"] = engine.Report{
		Campaign: campaign.Campaign{
			ID: "c-1", Status: status, Reason: "credentials refused", Promise: campaign.AtLeastOnce,
			Relay: campaign.Relay{Host: "h"}, CreatedAt: someTime, UpdatedAt: someTime,
		},
		Totals: campaign.Totals{Total: 3, Sent: 1, Failed: 1, Unknown: 1, Final: true},
	}
	return s
}

// TestChangesCourse asks for each change with no body, with an empty object
// and with one of an old client's. The answer is what GET gives then.
func TestChangesCourse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		call     string
		from, to campaign.Status
	}{
		{"pause", campaign.StatusInProgress, campaign.StatusPaused},
		{"cancel", campaign.StatusScheduled, campaign.StatusCancelled},
		{"resume", campaign.StatusPaused, campaign.StatusInProgress},
		{"retry", campaign.StatusCompleted, campaign.StatusInProgress},
	} {
		for _, body := range []string{"", "{}", `{"config_id":"x","smtp_port":""}`} {
			s := startAt(t, tt.from)
			changed := s.call(http.MethodPost, "/campaigns/c-1/"+tt.call, body).want(http.StatusOK).json()
			asked := s.call(http.MethodGet, "/campaigns/c-1", "").want(http.StatusOK).json()
			if changed["status"] != string(tt.to) {
				t.Errorf("%s with %q: status %v, want %s", tt.call, body, changed["status"], tt.to)
			}
			delete(changed, "links") // relative to where they stand
			delete(asked, "links")
			delete(asked, "network") // for those who ask
			if !reflect.DeepEqual(changed, asked) {
				t.Errorf("%s answers\n%v\nand GET\n%v", tt.call, changed, asked)
			}
		}
	}
}

func TestRelayAndStatesOfACourse(t *testing.T) {
	t.Parallel()
	no := false
	failed, unknown := campaign.DeliveryFailed, campaign.DeliveryUnknown
	for _, tt := range []struct {
		body   string
		relay  *engine.SubmittedRelay
		states []campaign.DeliveryState
	}{
		{``, nil, nil},
		{`{"smtp_server":"","smtp_port":"0","smtp_use_tls":null,"states":null}`, nil, nil},
		{`{"smtp_password":"new","states":["failed"]}`, &engine.SubmittedRelay{Password: "new"}, []campaign.DeliveryState{failed}},
		{`{"smtp_use_tls":"false","states":["unknown"]}`, &engine.SubmittedRelay{UseTLS: &no}, []campaign.DeliveryState{unknown}},
		{`{"smtp_server":"h2","smtp_port":"465","smtp_username":"u","smtp_password":"p","states":["unknown","failed"]}`,
			&engine.SubmittedRelay{Host: "h2", Port: 465, Username: "u", Password: "p"}, []campaign.DeliveryState{unknown, failed}},
	} {
		s := startAt(t, campaign.StatusFailed)
		s.call(http.MethodPost, "/campaigns/c-1/resume", tt.body).want(http.StatusOK)
		s = s.again(t, campaign.StatusCompleted)
		s.call(http.MethodPost, "/campaigns/c-1/retry", tt.body).want(http.StatusOK)
		if want := []engine.ResumeOptions{{Relay: tt.relay}}; !reflect.DeepEqual(s.resumed, want) {
			t.Errorf("%s resumes with %+v", tt.body, s.resumed)
		}
		if want := []engine.RetryOptions{{States: tt.states, Relay: tt.relay}}; !reflect.DeepEqual(s.retried, want) {
			t.Errorf("%s retries with %+v", tt.body, s.retried)
		}
	}
}

// again gives the campaign another status.
func (s *service) again(t *testing.T, status campaign.Status) *service {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.reports["c-1"]
	r.Campaign.Status = status
	s.reports["c-1"] = r
	return s
}

func TestRefusesCourse(t *testing.T) {
	t.Parallel()
	s := startAt(t, campaign.StatusCancelled)
	for _, tt := range []struct{ call, body, fields string }{
		{"retry", `{"states":[]}`, "states must name one at least; leave it out for the failed ones"},
		{"retry", `{"states":"failed"}`, "states must be an array"},
		{"retry", `{"states":["failed",5]}`, "states[1] must be a string"},
		{"retry", `{"states":[],"smtp_port":-1}`, "states must name one at least; leave it out for the failed ones|smtp_port must be a port from 1 to 65535"},
		{"resume", `{"smtp_port":"smtp"}`, "smtp_port must be a whole number"},
		{"resume", `{"smtp_port":65536}`, "smtp_port must be a port from 1 to 65535"},
		{"resume", `{"smtp_use_tls":"perhaps"}`, "smtp_use_tls must be true or false"},
		{"resume", `{"smtp_password":"a","smtp_password":"b"}`, "smtp_password must be there once"},
		{"pause", `[]`, " must be an object"},
		{"cancel", `{} {}`, " must be one JSON value with nothing behind it"},
		{"cancel", ` `, " must be JSON, and ends too early"},
	} {
		r := s.call(http.MethodPost, "/campaigns/c-1/"+tt.call, tt.body).want(http.StatusBadRequest)
		if got := strings.Join(r.fields(), "|"); got != tt.fields {
			t.Errorf("%s with %s: %q, want %q", tt.call, tt.body, got, tt.fields)
		}
	}
	if len(s.resumed)+len(s.retried) > 0 {
		t.Errorf("refused, and yet asked for: %v %v", s.resumed, s.retried)
	}
	for _, call := range []string{"pause", "cancel", "resume", "retry"} {
		s = s.again(t, campaign.StatusCancelled)
		r := s.call(http.MethodPost, "/campaigns/c-1/"+call, "").want(http.StatusConflict)
		if !strings.Contains(r.json()["detail"].(string), "is cancelled") || r.header.Get("Retry-After") != "" {
			t.Errorf("%s of a cancelled campaign: %s, Retry-After %q", call, r.body, r.header.Get("Retry-After"))
		}
		for _, id := range []string{"none", "%FF", strings.Repeat("x", 3000)} {
			missing := s.call(http.MethodPost, "/campaigns/"+id+"/"+call, "").want(http.StatusNotFound)
			if got := missing.json()["error"]; got != "Campaign not found" {
				t.Errorf("%s of %.10s: error %q", call, id, got)
			}
		}
		large := "{}" + strings.Repeat(" ", 64<<10)
		s.call(http.MethodPost, "/campaigns/c-1/"+call, large).want(http.StatusRequestEntityTooLarge)
		// What a foreign page can send without asking first.
		s.call(http.MethodPost, "/campaigns/c-1/"+call, "", "Content-Type", "", "Origin", "https://x.org").want(http.StatusUnsupportedMediaType)
		s.call(http.MethodPost, "/campaigns/c-1/"+call, "{}", "Content-Type", "", "Content-Type", "text/plain").want(http.StatusUnsupportedMediaType)
		s.call(http.MethodGet, "/campaigns/c-1/"+call, "").want(http.StatusMethodNotAllowed)
	}
}

func TestCourseWithoutContentType(t *testing.T) {
	t.Parallel()
	s := startAt(t, campaign.StatusInProgress)
	s.call(http.MethodPost, "/campaigns/c-1/pause", "", "Content-Type", "").want(http.StatusOK)
}

func TestCoursePreflight(t *testing.T) {
	t.Parallel()
	const page = "https://pages.example.org"
	s := start(t, func(o *api.Options) { o.CORSOrigins = []string{page} })
	r := s.call(http.MethodOptions, "/campaigns/c-1/pause", "", "Origin", page, "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "content-type").want(http.StatusOK)
	if r.header.Get("Access-Control-Allow-Origin") != page || r.header.Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("preflight: %v", r.header)
	}
}

func TestScheduled(t *testing.T) {
	t.Parallel()
	s := start(t)
	body := strings.TrimSuffix(smallCampaign, "}") + `,"send_at":"2026-11-03T09:00:00-05:00","delivery":"at_most_once"}`
	got := s.call(http.MethodPost, "/smtp-campaign", body).want(http.StatusAccepted).json()
	if got["status"] != "scheduled" || got["send_at"] != "2026-11-03T14:00:00Z" || got["delivery"] != "at_most_once" {
		t.Errorf("answer %v", got)
	}
}
