package app_test

import (
	"bytes"
	"context"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/app"
	"postern/internal/client"
	"postern/internal/config"
	"postern/internal/mailer/smtptest"
	"postern/internal/store/dynamo/dynamotest"
)

func TestMain(m *testing.M) {
	net.DefaultResolver = hostileNames()
	code := m.Run()
	dynamotest.Stop()
	if code == 0 {
		if err := leaks(); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

// leaks are goroutines that are still there. Those of connections whose server
// is gone end a moment later, on a busy machine a longer one than goleak waits.
func leaks() (err error) {
	for end := time.Now().Add(3 * time.Second); ; {
		if err = goleak.Find(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// patience is how long a test waits for what must happen before it fails.
const patience = 2 * time.Minute

// backend is a store to run the service on.
type backend struct {
	name string
	env  func(t *testing.T) map[string]string
}

func embedded(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{"STORE": "embedded", "DATA_DIR": filepath.Join(t.TempDir(), "data")}
}

func dynamoDB(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"STORE": "dynamodb", "DYNAMODB_ENDPOINT": dynamotest.Endpoint(t), "AWS_REGION": "us-gov-west-1",
		"TABLE_PREFIX": dynamotest.Prefix(), "CREATE_TABLES": "true",
		"ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
	}
}

var backends = []backend{{"embedded", embedded}, {"dynamodb", dynamoDB}}

// relayConfig is a relay with STARTTLS and a password.
func relayConfig() smtptest.Config {
	return smtptest.Config{TLS: smtptest.StartTLS, Users: map[string]string{"postern": "correct horse"}}
}

func startRelay(t *testing.T, cfg smtptest.Config) *smtptest.Server {
	t.Helper()
	relay, err := smtptest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	return relay
}

// vacant is an address at which nobody listens, and which nobody else is given
// until the test ends: a relay that is down, or comes and goes.
func vacant(t *testing.T) string {
	t.Helper()
	addr, release, err := smtptest.Vacant()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return addr
}

// vacantPort is the port of a vacant address on 127.0.0.1.
func vacantPort(t *testing.T) int {
	t.Helper()
	_, text, err := net.SplitHostPort(vacant(t))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// relayEnv points the default relay at relay.
func relayEnv(t *testing.T, relay *smtptest.Server) map[string]string {
	t.Helper()
	env := map[string]string{
		"SMTP_SERVER": relay.Host(), "SMTP_PORT": strconv.Itoa(relay.Port()),
		"RELAY_ALLOW": "127.0.0.1/32", "RELAY_PORTS": strconv.Itoa(relay.Port()),
		"SMTP_USERNAME": "postern", "SMTP_PASSWORD": "correct horse",
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, relay.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	env["RELAY_CA_FILE"] = ca
	return env
}

// service is Postern, started in this process.
type service struct {
	client.Client
	log     *syncBuffer
	metrics string // the base URL of the metrics' listener
	stop    func() error
}

// start runs the service until stop or the end of the test.
func start(t *testing.T, envs ...map[string]string) *service {
	t.Helper()
	env := map[string]string{"LISTEN_ADDR": "127.0.0.1:0", "METRICS_ADDR": "127.0.0.1:0", "LOG_LEVEL": "warn"}
	for _, e := range envs {
		maps.Copy(env, e)
	}
	cfg, err := config.Load(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	s := &service{log: &syncBuffer{}}
	a, err := app.Start(t.Context(), cfg, s.log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	s.Base, s.metrics = "http://"+a.Addr(), "http://"+a.MetricsAddr()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		s.HTTP.CloseIdleConnections()
		if t.Failed() {
			t.Logf("the service's log:\n%s", s.log)
		}
	})
	s.HTTP = newHTTPClient()
	return s
}

// follow waits until the campaign rests and holds every answer on the way to
// the invariants: the parts make the total, and no more are counted as sent
// than the relay has acknowledged.
func (s *service) follow(t *testing.T, id string, relay *smtptest.Server) client.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience+time.Duration(*recipients)*100*time.Millisecond)
	defer cancel()
	final, err := s.Follow(ctx, id, func(st client.Status) error {
		if sum := st.Sent + st.Failed + st.Unknown + st.Suppressed + st.Pending; sum != st.Total || st.Pending < 0 {
			t.Errorf("the parts make %d of %d: %+v", sum, st.Total, st)
		}
		if taken := relay.Count(); st.Sent > taken {
			t.Errorf("%d are counted as sent, the relay has taken %d", st.Sent, taken)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("following the campaign: %v (last: %+v)", err, final)
	}
	return final
}

// submit hands a campaign in and fails the test when it is not accepted.
func (s *service) submit(t *testing.T, c client.Campaign) string {
	t.Helper()
	id, err := s.Submit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (s *service) importContacts(t *testing.T, contacts []client.Contact) {
	t.Helper()
	if err := s.Import(t.Context(), contacts); err != nil {
		t.Fatal(err)
	}
}

// countedContacts gives the contacts once a campaign has reached each of them:
// their statistics follow its end.
func (s *service) countedContacts(t *testing.T) []client.Contact {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		var page struct {
			Contacts []client.Contact `json:"contacts"`
			Count    int              `json:"count"`
		}
		if err := s.Call(t.Context(), http.MethodGet, "contacts", nil, &page); err != nil {
			t.Fatal(err)
		}
		if page.Count != len(page.Contacts) {
			t.Fatalf("%d contacts are listed, counted as %d", len(page.Contacts), page.Count)
		}
		uncounted := slices.IndexFunc(page.Contacts, func(c client.Contact) bool { return c["email_count"] == 0.0 })
		if uncounted < 0 {
			return page.Contacts
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v is not counted", page.Contacts[uncounted])
		}
	}
}

// deliveries gives the campaign's deliveries by address.
func (s *service) deliveries(t *testing.T, id string) map[string]client.Delivery {
	t.Helper()
	all, err := s.Deliveries(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]client.Delivery{}
	for _, d := range all {
		if _, twice := by[d.Email]; twice {
			t.Errorf("%s is listed twice", d.Email)
		}
		by[d.Email] = d
	}
	return by
}

func addresses(n int) []client.Contact {
	contacts := make([]client.Contact, n)
	for i := range contacts {
		contacts[i] = client.Contact{"email": "r" + strconv.Itoa(i) + "@example.org", "first_name": "R" + strconv.Itoa(i)}
	}
	return contacts
}

func simpleLetter() client.Campaign {
	return client.Campaign{From: "office@example.org", Subject: "Hello {{first_name}}", Body: "<p>Hello {{first_name}}</p>"}
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
