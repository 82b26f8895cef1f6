package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/api"
	"postern/internal/campaign"
)

func TestErrorCodes(t *testing.T) {
	t.Parallel()
	cause := errors.New("dial tcp 10.0.0.7:8000: secret cause")
	tests := []struct {
		err        error
		status     int
		detail     string
		retryAfter string
	}{
		{campaign.Invalid("subject", "must be short"), 400, "invalid request: subject must be short", ""},
		{campaign.Wrap(campaign.CodeForbidden, cause, "VPC access required"), 403, "VPC access required", ""},
		{campaign.Errorf(campaign.CodeNotFound, "Contact not found"), 404, "Contact not found", ""},
		{campaign.Errorf(campaign.CodeConflict, "under way"), 409, "under way", "1"},
		{campaign.Errorf(campaign.CodeTooLarge, "too large"), 413, "too large", ""},
		{campaign.Errorf(campaign.CodeKeyReused, "reused"), 422, "reused", ""},
		{campaign.Wrap(campaign.CodeUnavailable, cause, "the store does not answer"), 503, "the store does not answer", "5"},
		{fmt.Errorf("list: %w", context.DeadlineExceeded), 503, "the request took too long", "5"},
		{campaign.Wrap(campaign.CodeDamaged, cause, "campaign c is damaged"), 500, "campaign c is damaged", ""},
		{campaign.Wrap(campaign.CodeInternal, cause, "secret message"), 500, "internal error; the log has the cause under this request_id", ""},
		{cause, 500, "internal error; the log has the cause under this request_id", ""},
		{campaign.Errorf("a code from the future", "x"), 500, "internal error; the log has the cause under this request_id", ""},
	}
	for _, tt := range tests {
		s := start(t)
		s.fail(tt.err)
		r := s.call(http.MethodPost, "/smtp-campaign", smallCampaign).want(tt.status)
		p := r.json()
		if p["detail"] != tt.detail || p["title"] != http.StatusText(tt.status) || r.header.Get("Retry-After") != tt.retryAfter {
			t.Errorf("%v: %v with Retry-After %q", tt.err, p, r.header.Get("Retry-After"))
		}
		if strings.Contains(string(r.body), "secret") {
			t.Errorf("%v: the answer tells %s", tt.err, r.body)
		}
		s.server.Close() // a line is written behind its answer
		if tt.status >= 500 && !strings.Contains(s.log.String(), tt.err.Error()) {
			t.Errorf("%v: the log lacks it: %s", tt.err, s.log.String())
		}
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"/", "/metrics", "/smtp-campaign/", "/campaigns/a/b", "//contacts", "/contacts/../x"} {
		s.call(http.MethodGet, path, "").want(http.StatusNotFound)
	}
	for path, want := range map[string]string{
		"/smtp-campaign":     "POST, OPTIONS",
		"/contacts":          "GET, HEAD, POST, PUT, DELETE, OPTIONS",
		"/campaign-status/x": "GET, HEAD, OPTIONS",
	} {
		for _, method := range []string{http.MethodPatch, "BREW"} {
			r := s.call(method, path, "").want(http.StatusMethodNotAllowed)
			if got := r.header.Get("Allow"); got != want {
				t.Errorf("%s: Allow %q, want %q", path, got, want)
			}
		}
		r := s.call(http.MethodOptions, path, "").want(http.StatusNoContent)
		if got := r.header.Get("Allow"); got != want {
			t.Errorf("OPTIONS %s: Allow %q, want %q", path, got, want)
		}
	}
	s.call(http.MethodHead, "/healthz", "").want(http.StatusOK)
}

func TestContentType(t *testing.T) {
	t.Parallel()
	s := start(t)
	const page = "https://pages.example.org"
	tests := []struct {
		contentType, origin string
		status              int
	}{
		{"application/json", "", 202},
		{"application/json; charset=utf-8", page, 202},
		{"Application/JSON", "", 202},
		{"", "", 202},
		{"", page, 415}, // a "simple" request of a page: no preflight has asked
		{"text/plain", "", 415},
		{"text/plain;charset=UTF-8", page, 415},
		{"application/x-www-form-urlencoded", "", 415},
		{"application/json, text/plain", "", 415},
		{"application/", "", 415},
	}
	for _, tt := range tests {
		s.call(http.MethodPost, "/smtp-campaign", smallCampaign, "Content-Type", "", "Content-Type", tt.contentType, "Origin", tt.origin).want(tt.status)
	}
	s.call(http.MethodPost, "/smtp-campaign", smallCampaign, "Content-Encoding", "gzip").want(415)
}

func TestBodyLimits(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *api.Options) { o.MaxRequestBytes = 1000 })
	fits := smallCampaign + strings.Repeat(" ", 1000-len(smallCampaign))
	s.call(http.MethodPost, "/smtp-campaign", fits).want(http.StatusAccepted)
	s.call(http.MethodPost, "/smtp-campaign", fits+" ").want(http.StatusRequestEntityTooLarge)
	s.call(http.MethodPut, "/contacts", fits+" ").want(http.StatusRequestEntityTooLarge)

	chunked := func(body string) reply {
		return s.send(s.request(http.MethodPost, "/smtp-campaign", io.MultiReader(strings.NewReader(body))), body)
	}
	chunked(fits).want(http.StatusAccepted)
	chunked(fits + " ").want(http.StatusRequestEntityTooLarge)
}

func TestContactsBodyLimit(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *api.Options) { o.MaxRequestBytes, o.MaxInFlightBytes = 40<<20, 80<<20 })
	body := `{"email":"a@x.org"}` + strings.Repeat(" ", 10<<20)
	s.call(http.MethodPost, "/contacts", body).want(http.StatusRequestEntityTooLarge)
}

// TestBodiesInFlight fills the memory for bodies with requests that wait in
// the engine.
func TestBodiesInFlight(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *api.Options) { o.MaxRequestBytes, o.MaxInFlightBytes = 50_000, 125_000 })
	entered, leave := make(chan struct{}), make(chan struct{})
	s.hook = func(context.Context) { entered <- struct{}{}; <-leave }
	body := smallCampaign + strings.Repeat(" ", 50_000-len(smallCampaign))
	replies := make(chan reply)
	for range 2 {
		go func() { replies <- s.call(http.MethodPost, "/smtp-campaign", body) }()
	}
	<-entered
	<-entered
	r := s.call(http.MethodPost, "/smtp-campaign", body).want(http.StatusServiceUnavailable)
	if after, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || after < 1 || after > 5 {
		t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
	}
	s.call(http.MethodPost, "/contacts", `{"email":"a@x.org"}`).want(http.StatusOK) // a small one fits in
	close(leave)
	for range 2 {
		(<-replies).want(http.StatusAccepted)
	}
	go func() { <-entered }()
	s.call(http.MethodPost, "/smtp-campaign", body).want(http.StatusAccepted)
}

func TestBodyThatBreaksOff(t *testing.T) {
	t.Parallel()
	s := start(t)
	handlerOnly := func(body io.Reader) int {
		req := s.request(http.MethodPost, "/contacts", body)
		w := &recorder{header: http.Header{}}
		s.handler.ServeHTTP(w, req)
		return w.status
	}
	if got := handlerOnly(iotest.ErrReader(io.ErrUnexpectedEOF)); got != http.StatusBadRequest {
		t.Errorf("status %d", got)
	}
	if got := handlerOnly(iotest.ErrReader(&net.OpError{Op: "read", Err: timeout{}})); got != http.StatusRequestTimeout {
		t.Errorf("status %d", got)
	}
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// recorder is a ResponseWriter for requests that no client can send.
type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

func TestSlowClients(t *testing.T) {
	t.Parallel()
	s := start(t)
	server := api.NewServer(s.handler)
	if server.ReadHeaderTimeout <= 0 || server.ReadTimeout <= 0 || server.WriteTimeout <= 0 || server.IdleTimeout <= 0 || server.MaxHeaderBytes <= 0 {
		t.Fatalf("a time-out is missing: %+v", server)
	}
	patient := serve(t, server)
	impatient := serve(t, api.NewServer(start(t, func(o *api.Options) { o.StallTimeout = 400 * time.Millisecond }).handler))
	hasty := api.NewServer(s.handler)
	hasty.ReadHeaderTimeout = 400 * time.Millisecond
	impatientWithHeaders := serve(t, hasty)
	const post = "POST /contacts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for _, tt := range []struct{ name, address, sent, want string }{
		{"headers without end", impatientWithHeaders, "GET /healthz HTTP/1.1\r\nHost: x\r\n", ""},
		{"body without end", impatient, post + "Content-Length: 50\r\n\r\n{", "HTTP/1.1 408 "},
		{"large headers", patient, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 32<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		{"broken chunk", patient, post + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{", "HTTP/1.1 400 "},
	} {
		got := exchange(t, tt.address, tt.sent)
		if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: answer %.80q, want %q", tt.name, got, tt.want)
		}
	}
}

// serve runs a server until the test ends, and gives its address.
func serve(t *testing.T, server *http.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// exchange sends octets and reads until the server closes the connection.
func exchange(t *testing.T, address, sent string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(forever)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) { // it closes before it has read all
		t.Errorf("%.80q: the server did not close: %v", sent, err)
	}
	return string(got)
}

func TestCORS(t *testing.T) {
	t.Parallel()
	const page = "https://pages.example.org"
	s := start(t, func(o *api.Options) { o.CORSOrigins = []string{page} })
	preflight := func(origin, method, headers string) http.Header {
		return s.call(http.MethodOptions, "/smtp-campaign", "", "Origin", origin,
			"Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers).want(http.StatusOK).header
	}
	h := preflight(page, "POST", "content-type,idempotency-key,x-api-key")
	if h.Get("Access-Control-Allow-Origin") != page || h.Get("Access-Control-Allow-Methods") != "POST" ||
		!strings.Contains(strings.ToLower(h.Get("Access-Control-Allow-Headers")), "idempotency-key") {
		t.Errorf("preflight: %v", h)
	}
	for _, method := range []string{"PUT", "DELETE", "GET"} {
		if got := preflight(page, method, "").Get("Access-Control-Allow-Methods"); got != method {
			t.Errorf("preflight for %s allows %q", method, got)
		}
	}
	if got := preflight("https://other.example.org", "POST", "content-type").Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("another page is allowed: %q", got)
	}

	for path, status := range map[string]int{"/contacts": 200, "/campaign-status/none": 404, "/nowhere": 404, "/contacts?limit=x": 400} {
		r := s.call(http.MethodGet, path, "", "Origin", page).want(status)
		if r.header.Get("Access-Control-Allow-Origin") != page {
			t.Errorf("%s: %v", path, r.header)
		}
		exposed := strings.Split(r.header.Get("Access-Control-Expose-Headers"), ", ")
		for _, name := range []string{"Location", "Idempotent-Replayed", "Retry-After", "X-Request-Id"} {
			if !slices.Contains(exposed, name) {
				t.Errorf("%s exposes %v, not %s", path, exposed, name)
			}
		}
	}
	r := s.call(http.MethodPost, "/smtp-campaign", "{", "Origin", "null").want(http.StatusBadRequest)
	if r.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a sandboxed frame: %v", r.header)
	}
	r = s.call(http.MethodGet, "/contacts", "", "Origin", "https://other.example.org").want(http.StatusOK)
	if r.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another page: %v", r.header)
	}
}

func TestNoCORSUnlessConfigured(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, r := range []reply{
		s.call(http.MethodGet, "/contacts", "", "Origin", "https://pages.example.org").want(http.StatusOK),
		s.call(http.MethodOptions, "/contacts", "", "Origin", "https://pages.example.org", "Access-Control-Request-Method", "PUT").want(http.StatusNoContent),
	} {
		for name := range r.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("header %s", name)
			}
		}
	}
	all := start(t, func(o *api.Options) { o.CORSOrigins = []string{"*"} })
	r := all.call(http.MethodGet, "/contacts", "", "Origin", "https://anyone.example.org").want(http.StatusOK)
	if r.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("all: %v", r.header)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	own := start(t).call(http.MethodGet, "/healthz", "", "X-Amzn-Request-Id", "gateway-id-1", "X-Request-Id", "forged").header.Get("X-Request-Id")
	if id, err := uuid.Parse(own); err != nil || id.Version() != 7 {
		t.Errorf("id %q is no UUIDv7", own)
	}
	behind := start(t, behindGateway)
	for given, want := range map[string]bool{"gateway-id-1": true, "": false, "a b\"c\"{}": false, strings.Repeat("x", 200): false} {
		got := behind.call(http.MethodGet, "/healthz", "", "X-Amzn-Request-Id", given).header.Get("X-Request-Id")
		if (got == given) != want {
			t.Errorf("%q becomes %q", given, got)
		}
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	size := int64(len(smallCampaign))
	s := start(t, func(o *api.Options) {
		o.CORSOrigins = []string{"*"}
		o.MaxRequestBytes, o.MaxInFlightBytes = size, size // the second request needs what the first one held
	})
	s.hook = func(context.Context) { panic("secret of the program") }
	for range 2 {
		r := s.call(http.MethodPost, "/smtp-campaign", smallCampaign, "Origin", "https://x.org").want(http.StatusInternalServerError)
		if strings.Contains(string(r.body), "secret") || r.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("answer %v %s", r.header, r.body)
		}
	}
	line := s.logged(t, "/smtp-campaign")
	if line["error"] != "panic: secret of the program" || !strings.Contains(fmt.Sprint(line["stack"]), "fake_test.go") {
		t.Errorf("log %v", line)
	}
}

// logged gives the last line of a route. A line is written behind its answer,
// so the server is closed first, which waits for the handlers.
func (s *service) logged(t *testing.T, route string) map[string]any {
	t.Helper()
	s.server.Close()
	var found map[string]any
	for line := range strings.SplitSeq(strings.TrimSpace(s.log.String()), "\n") {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if v["route"] == route {
			found = v
		}
	}
	return found
}

func TestLogAndMetrics(t *testing.T) {
	t.Parallel()
	s := start(t)
	posted := s.call(http.MethodPost, "/contacts", `{"email":"ana@x.org"}`)
	s.call(http.MethodGet, "/contacts?email=ana%40x.org", "").want(http.StatusOK)
	s.call(http.MethodGet, "/campaign-status/some-id", "").want(http.StatusNotFound)
	s.call("BREW", "/nowhere", "").want(http.StatusNotFound)
	line := s.logged(t, "/campaign-status/{campaign_id}")
	if line["method"] != "GET" || line["status"] != 404.0 || line["level"] != "info" || line["request_id"] == "" || line["bytes"].(float64) == 0 {
		t.Errorf("log line %v", line)
	}
	if _, has := line["seconds"].(float64); !has {
		t.Errorf("log line %v has no duration", line)
	}
	log := s.log.String()
	if !strings.Contains(log, posted.header.Get("X-Request-Id")) || strings.Contains(log, "ana") || strings.Contains(log, "some-id") {
		t.Errorf("log %s", log)
	}
	if got := strings.Count(log, "\n"); got != 4 {
		t.Errorf("%d log lines for 4 requests:\n%s", got, log)
	}
	const want = `
# HELP postern_http_requests_total Requests to the API, by route, method and class of status.
# TYPE postern_http_requests_total counter
postern_http_requests_total{method="GET",route="/campaign-status/{campaign_id}",status="4xx"} 1
postern_http_requests_total{method="GET",route="/contacts",status="2xx"} 1
postern_http_requests_total{method="POST",route="/contacts",status="2xx"} 1
postern_http_requests_total{method="other",route="unmatched",status="4xx"} 1
# HELP postern_http_requests_in_flight Requests to the API that are being answered.
# TYPE postern_http_requests_in_flight gauge
postern_http_requests_in_flight 0
`
	err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), "postern_http_requests_total", "postern_http_requests_in_flight")
	if err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(s.registry, "postern_http_request_duration_seconds"); err != nil || n != 4 {
		t.Errorf("%d histograms, %v", n, err)
	}
}

// TestLogNamesTheCampaign: whose id is in the path, or was just made.
func TestLogNamesTheCampaign(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := uuid.NewString()
	s.call(http.MethodGet, "/campaign-status/"+id, "").want(http.StatusNotFound)
	s.call(http.MethodGet, "/campaigns/bob@x.org", "").want(http.StatusNotFound)
	if line := s.logged(t, "/campaign-status/{campaign_id}"); line["campaign"] != id {
		t.Errorf("log line %v; want campaign %s", line, id)
	}
	if line := s.logged(t, "/campaigns/{campaign_id}"); line["campaign"] != nil {
		t.Errorf("log line %v names what is no campaign", line)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.call(http.MethodGet, "/readyz", "").want(http.StatusOK)
	s.fail(campaign.Wrap(campaign.CodeUnavailable, errors.New("secret cause"), "table EmailContacts is missing"))
	r := s.call(http.MethodGet, "/readyz", "").want(http.StatusServiceUnavailable)
	if r.json()["detail"] != "not ready: table EmailContacts is missing" || strings.Contains(string(r.body), "secret") {
		t.Errorf("answer %s", r.body)
	}
	s.call(http.MethodGet, "/healthz", "").want(http.StatusOK)

	deadline := start(t)
	deadline.hook = func(ctx context.Context) {
		if at, has := ctx.Deadline(); !has || time.Until(at) > 5*time.Second {
			t.Errorf("Ready may take until %v", at)
		}
	}
	deadline.call(http.MethodGet, "/readyz", "").want(http.StatusOK)
}
