package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/doctor"
	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// metadata is an answer of the ECS task metadata endpoint, version 4, as
// Fargate gives it, with what is of no interest left out.
const metadata = `{
  "Cluster": "arn:aws-us-gov:ecs:us-gov-west-1:111122223333:cluster/postern",
  "TaskARN": "arn:aws-us-gov:ecs:us-gov-west-1:111122223333:task/postern/e9028f8d5d8e4f258373e7b93ce9a3c3",
  "Family": "postern", "Revision": "3", "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
  "Limits": {"CPU": 0.5, "Memory": 1024}, "AvailabilityZone": "us-gov-west-1b", "LaunchType": "FARGATE",
  "Containers": [
    {"DockerId": "1", "Name": "postern", "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.1.17"],
      "AttachmentIndex": 0, "MACAddress": "0a:de:f6:10:51:e5", "IPv4SubnetCIDRBlock": "10.0.1.0/24",
      "DomainNameServers": ["10.0.0.2"], "SubnetGatewayIpv4Address": "10.0.1.1/24"}]},
    {"DockerId": "2", "Name": "aws-guardduty-agent", "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.1.17"],
      "IPv4SubnetCIDRBlock": "10.0.1.0/24"}]}
  ]}`

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// start makes a monitor of an embedded store and no relay, but for what change
// says.
func start(t *testing.T, change func(*Config)) *Monitor {
	t.Helper()
	cfg := Config{
		StoreKind: "embedded", ReadStore: func(context.Context) error { return nil },
		Sessions: func() []RelayState { return nil },
	}
	if change != nil {
		change(&cfg)
	}
	m := New(cfg)
	t.Cleanup(m.Close)
	return m
}

func reasonOf(m Measured) string {
	if m.Reason == nil {
		return ""
	}
	return *m.Reason
}

func TestTask(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc // nil for no metadata endpoint
		zone   string
		reason string
	}{
		"on Fargate": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v4/abc/task" {
					w.WriteHeader(http.StatusNotFound)
				}
				_, _ = io.WriteString(w, metadata)
			},
			zone: "us-gov-west-1b",
		},
		"elsewhere":     {reason: "ECS_CONTAINER_METADATA_URI_V4 is not set"},
		"refused":       {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, reason: "403"},
		"no JSON":       {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, reason: "metadata"},
		"nothing in it": {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, reason: "does not say all"},
		"without end": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"AvailabilityZone": "`+strings.Repeat("a", 2<<20))
		}, reason: "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := start(t, func(c *Config) {
				if tt.answer != nil {
					c.TaskMetadata = serve(t, tt.answer) + "/v4/abc"
				}
			})
			got := m.Measure(t.Context()).Task
			if tt.reason != "" {
				if got.AvailabilityZone != nil || got.Subnets != nil || !strings.Contains(reasonOf(got.Measured), tt.reason) {
					t.Errorf("%+v because of %q", got, reasonOf(got.Measured))
				}
				return
			}
			if *got.AvailabilityZone != tt.zone || !slices.Equal(got.Subnets, []string{"10.0.1.0/24"}) ||
				!slices.Equal(got.PrivateAddresses, []string{"10.0.1.17"}) || got.Reason != nil || got.MeasuredAt == nil {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestLatestDoesNotWait: what is being measured is null with that reason, and
// callers do not start it a second time.
func TestLatestDoesNotWait(t *testing.T) {
	t.Parallel()
	var reads atomic.Int32
	answer := make(chan struct{})
	m := start(t, func(c *Config) {
		c.ReadStore = func(ctx context.Context) error {
			reads.Add(1)
			select {
			case <-answer:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	for range 100 {
		s := m.Latest().Store
		if s.LatencyMS != nil || s.Kind != "embedded" || reasonOf(s.Measured) != "it is being measured" {
			t.Fatalf("%+v", s)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s := m.Measure(ctx).Store; s.LatencyMS != nil {
		t.Errorf("measured although nobody waited: %+v", s)
	}
	close(answer)
	if s := m.Measure(t.Context()).Store; s.LatencyMS == nil || !*s.Reachable || !strings.Contains(reasonOf(s.Measured), "a file of the task's") {
		t.Errorf("%+v", s)
	}
	m.Measure(t.Context())
	m.Latest()
	if n := reads.Load(); n != 1 {
		t.Errorf("%d reads", n)
	}
}

func TestCloseEndsWhatIsMeasured(t *testing.T) {
	t.Parallel()
	m := start(t, func(c *Config) {
		c.ReadStore = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
	})
	m.Latest()
	m.Close()
	m.Latest() // starts nothing any more: goleak sees
}

// vacant is an address at which nobody listens, nor does by chance until the
// test ends.
func vacant(t *testing.T) string {
	t.Helper()
	addr, release, err := smtptest.Vacant()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return addr
}

func TestInternet(t *testing.T) {
	t.Parallel()
	if got := start(t, nil).Measure(t.Context()).Internet; got.Reachable != nil || !strings.Contains(reasonOf(got.Measured), "INTERNET_PROBE") {
		t.Errorf("%+v", got)
	}
	there := strings.TrimPrefix(serve(t, http.NotFound), "http://")
	for target, want := range map[string]bool{there: true, vacant(t): false} {
		got := start(t, func(c *Config) { c.InternetProbe = target }).Measure(t.Context()).Internet
		if *got.Reachable != want || *got.Target != target || (got.Milliseconds != nil) != want || (got.Reason == nil) != want {
			t.Errorf("%+v", got)
		}
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	endpoint := &url.URL{Scheme: "http", Host: "localhost:8000"}
	got := start(t, func(c *Config) { c.StoreKind, c.StoreURL = "dynamodb", endpoint }).Measure(t.Context()).Store
	if *got.Endpoint != "http://localhost:8000" || len(got.Addresses) == 0 || !got.Addresses[0].Private || got.GatewayEndpoint == nil ||
		*got.GatewayEndpoint || got.Reason != nil {
		t.Errorf("%+v", got)
	}
	got = start(t, func(c *Config) {
		c.StoreKind, c.StoreURL = "dynamodb", endpoint
		c.ReadStore = func(context.Context) error { return errors.New("no way") }
	}).Measure(t.Context()).Store
	if *got.Reachable || got.LatencyMS != nil || reasonOf(got.Measured) != "no way" {
		t.Errorf("%+v", got)
	}
}

// TestGatewayEndpoint: what cannot be known is not claimed.
func TestGatewayEndpoint(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	public, private := []Address{{Address: "52.94.1.1"}}, []Address{{Address: "10.0.1.5", Private: true}}
	for name, tt := range map[string]struct {
		store    Store
		internet *bool
		want     string
	}{
		"embedded":                        {want: "null"},
		"not measured":                    {store: Store{Endpoint: new("e")}, want: "null"},
		"interface endpoint":              {store: Store{Endpoint: new("e"), Addresses: private, Reachable: &yes}, want: "false"},
		"public, internet not tried":      {store: Store{Endpoint: new("e"), Addresses: public, Reachable: &yes}, want: "null"},
		"public, with the internet":       {store: Store{Endpoint: new("e"), Addresses: public, Reachable: &yes}, internet: &yes, want: "null"},
		"public, answers without it":      {store: Store{Endpoint: new("e"), Addresses: public, Reachable: &yes}, internet: &no, want: "true"},
		"public, does not answer, either": {store: Store{Endpoint: new("e"), Addresses: public, Reachable: &no}, internet: &no, want: "null"},
	} {
		is, reason := gatewayEndpoint(tt.store, Internet{Reachable: tt.internet})
		got := "null"
		if is != nil {
			got = fmt.Sprint(*is)
		}
		if got != tt.want || (is == nil) != (reason != nil) {
			t.Errorf("%s: %s, %v", name, got, reason)
		}
	}
}

// withRelay makes the relay the default one, at TLS, with a user name that a
// probe must not use.
func withRelay(t *testing.T, relay *smtptest.Server) func(*Config) {
	t.Helper()
	rules, err := mailer.ParseRules([]string{"127.0.0.1"}, []int{relay.Port()})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) {
		c.Relay = mailer.Relay{Host: relay.Host(), Port: relay.Port(), UseTLS: true, Username: "postern", Password: "secret"}
		c.Session = mailer.Options{Rules: rules, RootCAs: relay.RootCAs(), LocalName: "client.test"}
	}
}

func startRelay(t *testing.T) *smtptest.Server {
	t.Helper()
	relay, err := smtptest.Start(smtptest.Config{Addr: vacant(t), TLS: smtptest.StartTLS, Users: map[string]string{"postern": "other"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	return relay
}

func TestRelay(t *testing.T) {
	t.Parallel()
	if got := start(t, nil).Measure(t.Context()).Relay; got.Reachable != nil || !strings.Contains(reasonOf(got.Measured), "SMTP_SERVER") {
		t.Errorf("no relay: %+v", got)
	}
	relay := startRelay(t)
	m := start(t, withRelay(t, relay))
	got := m.Measure(t.Context()).Relay
	if !*got.Reachable || *got.Source != FromProbe || got.Reason != nil || got.TLS == nil || got.TLS.Version != "TLS 1.3" ||
		got.TLS.Certificate.NotAfter.Before(time.Now()) {
		t.Errorf("%+v because of %q", got, reasonOf(got.Measured))
	}
	if of := m.RelayOf(relay.Host(), relay.Port()); of.TLS == nil {
		t.Errorf("%+v", of)
	}
	if of := m.RelayOf("other.example.org", 587); of.Reachable != nil || *of.Server != "other.example.org" || of.Reason == nil {
		t.Errorf("a relay of which nothing is known: %+v", of)
	}
	relay.Close()
	stats := relay.Stats()
	if stats.Commands["AUTH"] != 0 || stats.Commands["MAIL"] != 0 || stats.Opened != 1 {
		t.Errorf("the probe said %v over %d connections", stats.Commands, stats.Opened)
	}
	down := start(t, withRelay(t, relay)).Measure(t.Context()).Relay
	if *down.Reachable || !strings.Contains(reasonOf(down.Measured), "tcp: 127.0.0.1") {
		t.Errorf("%+v because of %q", down, reasonOf(down.Measured))
	}
}

// TestRelayThatSessionsKnow is not dialled: its connections are counted.
func TestRelayThatSessionsKnow(t *testing.T) {
	t.Parallel()
	relay := startRelay(t)
	known := RelayState{Host: relay.Host(), Port: relay.Port(), Reachable: true, TLS: &doctor.TLS{Version: "TLS 1.2", Verified: true}}
	m := start(t, func(c *Config) {
		withRelay(t, relay)(c)
		c.Sessions = func() []RelayState {
			return []RelayState{{Host: "other.example.org", Port: 587, Trouble: "421 too busy"}, known}
		}
	})
	if got := m.Measure(t.Context()).Relay; !*got.Reachable || *got.Source != FromSessions || got.TLS.Version != "TLS 1.2" || got.Reason != nil {
		t.Errorf("%+v", got)
	}
	if got := m.RelayOf("other.example.org", 587); *got.Reachable || reasonOf(got.Measured) != "421 too busy" {
		t.Errorf("%+v", got)
	}
	relay.Close()
	if n := relay.Stats().Opened; n != 0 {
		t.Errorf("%d connections", n)
	}
}
