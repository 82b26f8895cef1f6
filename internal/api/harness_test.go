package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"postern/internal/api"
)

// TestMain looks for goroutines that are left. A server's own, which lingers for
// 500 ms behind an answer to a body that was not read to its end, is none.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// service is the API over real HTTP on a fake engine.
type service struct {
	*fake

	t        *testing.T
	handler  http.Handler
	server   *httptest.Server
	registry *prometheus.Registry
	log      *logBuffer
	// undocumented: requests that are accepted although the document is
	// stricter.
	undocumented bool
}

// logBuffer is a log that handlers write while a test reads.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func options(log io.Writer, registry *prometheus.Registry) api.Options {
	return api.Options{
		Logger: zerolog.New(log).Level(zerolog.DebugLevel), Registerer: registry,
		Diagnosis: &fakeDiagnosis{}, CursorKey: []byte("a key that all tasks share (32)."), MaxRequestBytes: 1 << 20, MaxInFlightBytes: 4 << 20,
	}
}

func start(t *testing.T, change ...func(*api.Options)) *service {
	t.Helper()
	s := &service{fake: newFake(), t: t, registry: prometheus.NewRegistry(), log: &logBuffer{}}
	opts := options(s.log, s.registry)
	for _, c := range change {
		c(&opts)
	}
	s.handler = api.New(s.fake, opts)
	s.server = httptest.NewServer(s.handler)
	t.Cleanup(s.server.Close)
	return s
}

// reply is an answer that was read whole.
type reply struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// json gives the body as an object.
func (r reply) json() map[string]any {
	r.t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		r.t.Fatalf("answer %q: %v", r.body, err)
	}
	return v
}

// want fails the test unless the status is as wanted.
func (r reply) want(status int) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("status %d, want %d: %.600s", r.status, status, r.body)
	}
	return r
}

// fields gives the faults' fields and messages, as "field message".
func (r reply) fields() []string {
	r.t.Helper()
	var p struct {
		Errors []struct{ Field, Message string }
	}
	if err := json.Unmarshal(r.body, &p); err != nil {
		r.t.Fatal(err)
	}
	lines := []string{}
	for _, e := range p.Errors {
		lines = append(lines, e.Field+" "+e.Message)
	}
	return lines
}

// call sends a request with JSON and holds both sides to the document.
// headers are names and values by turns.
func (s *service) call(method, path, body string, headers ...string) reply {
	s.t.Helper()
	return s.send(s.request(method, path, strings.NewReader(body), headers...), body)
}

func (s *service) request(method, path string, body io.Reader, headers ...string) *http.Request {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost || method == http.MethodPut {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

func (s *service) send(req *http.Request, sent string) reply {
	s.t.Helper()
	resp, err := s.server.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	r := reply{t: s.t, status: resp.StatusCode, header: resp.Header, body: body}
	s.hold(req, sent, r)
	return r
}

// described is openapi.yaml with a router made of it.
type described struct {
	doc    *openapi3.T
	router routers.Router
}

var document = sync.OnceValues(func() (described, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		return described{}, err
	}
	router, err := legacy.NewRouter(doc)
	return described{doc: doc, router: router}, err
})

func loadDocument(t *testing.T) (*openapi3.T, routers.Router) {
	t.Helper()
	d, err := document()
	if err != nil {
		t.Fatal(err)
	}
	return d.doc, d.router
}

// hold fails the test where an answer, or a request that was accepted, is not
// as openapi.yaml says.
func (s *service) hold(req *http.Request, sent string, r reply) {
	s.t.Helper()
	if r.header.Get("X-Request-Id") == "" || r.header.Get("X-Content-Type-Options") != "nosniff" {
		s.t.Errorf("%s %s: headers %v", req.Method, req.URL, r.header)
	}
	doc, router := loadDocument(s.t)
	if r.status >= 400 {
		s.holdProblem(doc, r)
	}
	if req.Method == http.MethodHead || req.Method == http.MethodOptions {
		return
	}
	route, params, err := router.FindRoute(req)
	if err != nil {
		unfound := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed}
		if !slices.Contains(unfound, r.status) {
			s.t.Errorf("%s %s answers %d and is not in the document: %v", req.Method, req.URL, r.status, err)
		}
		return
	}
	req = req.Clone(context.Background())
	req.Body = io.NopCloser(strings.NewReader(sent))
	if req.Header.Get("Content-Type") == "" && sent != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			SkipSettingDefaults: true, IncludeResponseStatus: true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, // the tests of tokens look at that
		},
	}
	if r.status < 300 && !s.undocumented {
		if err := openapi3filter.ValidateRequest(req.Context(), input); err != nil {
			s.t.Errorf("request against the document: %v", err)
		}
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: r.status, Header: r.header, Options: input.Options,
	}
	if err := openapi3filter.ValidateResponse(req.Context(), answer.SetBodyBytes(r.body)); err != nil {
		s.t.Errorf("%s %s: answer against the document: %v", req.Method, req.URL, err)
	}
}

// holdProblem makes sure that every error is a problem, the router's too.
func (s *service) holdProblem(doc *openapi3.T, r reply) {
	s.t.Helper()
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		s.t.Errorf("status %d with Content-Type %q", r.status, got)
		return
	}
	if len(r.body) == 0 {
		return // HEAD
	}
	p := r.json()
	if err := doc.Components.Schemas["Problem"].Value.VisitJSON(p); err != nil {
		s.t.Errorf("problem %s: %v", r.body, err)
	}
	if p["status"] != float64(r.status) || p["error"] != p["detail"] || p["request_id"] != r.header.Get("X-Request-Id") {
		s.t.Errorf("problem %s with status %d and id %s", r.body, r.status, r.header.Get("X-Request-Id"))
	}
}
