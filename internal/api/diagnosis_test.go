package api_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"postern/internal/api"
	"postern/internal/campaign"
	"postern/internal/doctor"
	"postern/internal/engine"
	"postern/internal/network"
)

var _ api.Diagnosis = (*fakeDiagnosis)(nil)

// fakeDiagnosis answers what it was made with.
type fakeDiagnosis struct {
	asked    []api.RelayQuestion
	check    doctor.Check
	snapshot network.Snapshot
	err      error
}

func (f *fakeDiagnosis) CheckRelay(_ context.Context, q api.RelayQuestion) (doctor.Check, error) {
	f.asked = append(f.asked, q)
	return f.check, f.err
}

func (f *fakeDiagnosis) Network(context.Context) network.Snapshot {
	s := f.snapshot
	s.Store.Kind = "dynamodb"
	return s
}

func (f *fakeDiagnosis) Indicators(host string, port int) network.Snapshot {
	s := f.Network(context.Background())
	s.Relay.Server, s.Relay.Port = &host, &port
	return s
}

// diagnosed starts the API with a diagnosis to look into.
func diagnosed(t *testing.T, f *fakeDiagnosis) *service {
	t.Helper()
	return start(t, func(o *api.Options) { o.Diagnosis = f })
}

func TestCheckRelay(t *testing.T) {
	t.Parallel()
	size := int64(1000)
	f := &fakeDiagnosis{check: doctor.Check{
		Subject: "relay mail.example.org:587", OK: true,
		Steps: []doctor.Step{{Name: "dns", State: doctor.OK, Milliseconds: 1.5, Detail: "d"}, {Name: "tcp", State: doctor.Skipped, Hint: "h"}},
		Offer: &doctor.Offer{Size: &size, Auth: []string{}},
		TLS:   &doctor.TLS{Version: "TLS 1.3", Verified: true, Certificate: &doctor.Certificate{Subject: "CN=s", Names: []string{}}},
	}}
	s := diagnosed(t, f)
	got := s.call(http.MethodPost, "/relays/check", `{"smtp_server": "mail.example.org", "smtp_port": "2525", "smtp_use_tls": false,
		"smtp_username": "u", "smtp_password": "p", "mail_from": "a@example.org", "rcpt_to": "b@example.org", "letter_bytes": 5}`).
		want(http.StatusOK).json()
	if steps, _ := got["steps"].([]any); got["ok"] != true || got["subject"] != "relay mail.example.org:587" || len(steps) != 2 {
		t.Errorf("%v", got)
	}
	s.call(http.MethodPost, "/relays/check", "").want(http.StatusOK)
	f.check = doctor.Check{Steps: []doctor.Step{}, Offer: &doctor.Offer{Auth: []string{"PLAIN"}}, TLS: &doctor.TLS{Problem: "expired"}}
	s.call(http.MethodPost, "/relays/check", "{}").want(http.StatusOK)
	off := false
	want := []api.RelayQuestion{{
		Relay: engine.SubmittedRelay{Host: "mail.example.org", Port: 2525, UseTLS: &off, Username: "u", Password: "p"},
		From:  "a@example.org", To: "b@example.org", LetterBytes: 5,
	}, {}, {}}
	if given := f.asked[0].Relay.UseTLS; given == nil || *given {
		t.Error("TLS is not off")
	}
	f.asked[0].Relay.UseTLS = &off // to compare the rest
	if !slices.Equal(f.asked, want) {
		t.Errorf("asked %+v, want %+v", f.asked, want)
	}
}

func TestCheckRelayRefuses(t *testing.T) {
	t.Parallel()
	f := &fakeDiagnosis{}
	s := diagnosed(t, f)
	fields := s.call(http.MethodPost, "/relays/check",
		`{"smtp_port": 70000, "mail_from": "a@b.test>\r\nDATA", "rcpt_to": "nobody", "letter_bytes": -1}`).want(http.StatusBadRequest).fields()
	if len(fields) != 4 {
		t.Errorf("%q", fields)
	}
	fields = s.call(http.MethodPost, "/relays/check", `{"rcpt_to": "b@example.org"}`).want(http.StatusBadRequest).fields()
	if !slices.Equal(fields, []string{"mail_from is required where there is a rcpt_to"}) {
		t.Errorf("%q", fields)
	}
	if len(f.asked) > 0 {
		t.Errorf("asked %+v", f.asked)
	}
	f.err = campaign.Errorf(campaign.CodeUnavailable, "4 checks are under way")
	if r := s.call(http.MethodPost, "/relays/check", "{}").want(http.StatusServiceUnavailable); r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	f.err = campaign.Invalid("smtp_server", "is not allowed")
	s.call(http.MethodPost, "/relays/check", "{}").want(http.StatusBadRequest)
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	s := start(t, behindGateway)
	caller := func(r reply) map[string]any {
		v, _ := r.want(http.StatusOK).json()["caller"].(map[string]any)
		return v
	}
	if got := caller(s.call(http.MethodGet, "/network", "", "X-Source-Vpce", goodEndpoint)); got["vpc_endpoint"] != goodEndpoint || got["reason"] != nil {
		t.Errorf("%v", got)
	}
	plain := start(t)
	r := plain.call(http.MethodGet, "/network", "", "X-Source-Vpce", goodEndpoint)
	if got := caller(r); got["vpc_endpoint"] != nil || got["reason"] != "AUTH asks for no VPC endpoint, so no header that names one is trusted" {
		t.Errorf("%v", got)
	}
	task, _ := r.json()["task"].(map[string]any)
	if subnets, there := task["subnets"]; !there || subnets != nil {
		t.Errorf("subnets that are not known are %v", subnets)
	}
}

// TestStatusHasIndicators: in the status of a campaign, the relay is the
// campaign's own.
func TestStatusHasIndicators(t *testing.T) {
	t.Parallel()
	s := diagnosed(t, &fakeDiagnosis{})
	id := s.call(http.MethodPost, "/smtp-campaign", `{"subject": "s", "body": "b", "from_email": "a@example.org", "smtp_server": "own.example.org"}`).
		want(http.StatusAccepted).json()["campaign_id"].(string)
	got, _ := s.call(http.MethodGet, "/campaign-status/"+id, "").want(http.StatusOK).json()["network"].(map[string]any)
	relay, _ := got["relay"].(map[string]any)
	if relay["server"] != "own.example.org" || got["caller"] == nil || got["store"] == nil {
		t.Errorf("%v", got)
	}
	list, _ := s.call(http.MethodGet, "/campaigns", "").want(http.StatusOK).json()["campaigns"].([]any)
	if first, _ := list[0].(map[string]any); first["network"] != nil {
		t.Error("a listing has the indicators in each of its campaigns")
	}
}
