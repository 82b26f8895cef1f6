package api_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/api"
	"postern/internal/auth"
	"postern/internal/campaign"
)

const (
	goodEndpoint  = "vpce-0a1b2c3d4e5f60718"
	otherEndpoint = "vpce-0a1b2c3d4e5f60719"
)

// purse has tokens of every kind, and the file that they are in.
type purse struct {
	path                             string
	keeper                           *auth.Keeper
	contactsRead, send, admin, spent string
	revoked                          string // was never in the file
}

func newPurse(t *testing.T) *purse {
	t.Helper()
	p := &purse{path: filepath.Join(t.TempDir(), "tokens.jsonl")}
	p.contactsRead = p.add(t, time.Now(), auth.ContactsRead)
	p.send = p.add(t, time.Now(), auth.CampaignsSend)
	p.admin = p.add(t, time.Now(), auth.Admin)
	p.spent = p.add(t, time.Now().Add(-2*time.Hour), auth.Admin)
	p.revoked, _ = mint(t, time.Now(), auth.Admin)
	var err error
	p.keeper, err = auth.Open(t.Context(), auth.Config{
		Source: auth.File(p.path), Every: time.Millisecond, Now: time.Now, Changed: func(int) {}, Failed: func(error) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mint makes a token for an hour.
func mint(t *testing.T, at time.Time, scopes ...auth.Scope) (token string, line []byte) {
	t.Helper()
	token, line, err := auth.Mint(auth.Order{Name: "of a test", Scopes: scopes, For: time.Hour}, at)
	if err != nil {
		t.Fatal(err)
	}
	return token, line
}

func (p *purse) add(t *testing.T, at time.Time, scopes ...auth.Scope) string {
	t.Helper()
	token, line := mint(t, at, scopes...)
	if err := auth.Append(p.path, line); err != nil {
		t.Fatal(err)
	}
	return token
}

// guarded is the API with tokens.
func guarded(t *testing.T, change ...func(*api.Options)) (*service, *purse) {
	t.Helper()
	p := newPurse(t)
	change = append([]func(*api.Options){func(o *api.Options) { o.Access.Tokens = p.keeper }}, change...)
	return start(t, change...), p
}

// TestTokens goes through what a caller may present.
func TestTokens(t *testing.T) {
	t.Parallel()
	s, p := guarded(t)
	const bare = `Bearer realm="postern"`
	invalid, ambiguous := bare+`, error="invalid_token"`, bare+`, error="invalid_request"`
	tests := []struct {
		name      string
		headers   []string
		status    int
		challenge string
	}{
		{"none", nil, 401, bare},
		{"in Authorization", []string{"Authorization", "Bearer " + p.contactsRead}, 200, ""},
		{"in X-Api-Token", []string{"X-Api-Token", p.contactsRead}, 200, ""},
		{"header in another case", []string{"x-API-token", p.contactsRead}, 200, ""},
		{"scheme in another case", []string{"Authorization", "bEARER " + p.contactsRead}, 200, ""},
		{"white space around it", []string{"Authorization", "  Bearer   " + p.contactsRead + "  "}, 200, ""},
		{"admin", []string{"Authorization", "Bearer " + p.admin}, 200, ""},
		{"beside a signature", []string{"Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-gov-west-1/execute-api/aws4_request, Signature=ab", "X-Api-Token", p.admin}, 200, ""},
		{"a signature alone", []string{"Authorization", "AWS4-HMAC-SHA256 Credential=AKIA"}, 401, bare},
		{"Basic", []string{"Authorization", "Basic " + p.admin}, 401, bare},
		{"no scheme", []string{"Authorization", p.admin}, 401, bare},
		{"no token behind the scheme", []string{"Authorization", "Bearer"}, 401, invalid},
		{"never made here", []string{"Authorization", "Bearer " + p.revoked}, 401, invalid},
		{"secret of another", []string{"Authorization", "Bearer " + p.contactsRead[:20] + p.admin[20:]}, 401, invalid},
		{"expired", []string{"Authorization", "Bearer " + p.spent}, 401, invalid},
		{"quoted", []string{"Authorization", `Bearer "` + p.admin + `"`}, 401, invalid},
		{"two in one", []string{"Authorization", "Bearer " + p.admin + ", Bearer " + p.admin}, 401, invalid},
		{"a list", []string{"X-Api-Token", p.revoked + "," + p.admin}, 401, invalid},
		{"empty", []string{"X-Api-Token", " "}, 401, invalid},
		{"long", []string{"Authorization", "Bearer " + p.admin + strings.Repeat("0", 8<<10)}, 401, invalid},
		{"both headers", []string{"Authorization", "Bearer " + p.admin, "X-Api-Token", p.contactsRead}, 400, ambiguous},
		{"the same in both", []string{"Authorization", "Bearer " + p.admin, "X-Api-Token", p.admin}, 400, ambiguous},
		{"Authorization twice", []string{"Authorization", "Bearer " + p.admin, "Authorization", "Bearer " + p.admin}, 400, ambiguous},
		{"Authorization twice, one of another scheme", []string{"Authorization", "Basic x", "Authorization", "Bearer " + p.admin}, 400, ambiguous},
		{"X-Api-Token twice", []string{"X-Api-Token", p.revoked, "X-Api-Token", p.admin}, 400, ambiguous},
		{"without the scope", []string{"Authorization", "Bearer " + p.send}, 403, bare + `, error="insufficient_scope", scope="contacts:read"`},
	}
	for _, tt := range tests {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r := s.call(method, "/contacts", "", tt.headers...)
			if got := r.header.Get("WWW-Authenticate"); r.status != tt.status || got != tt.challenge {
				t.Errorf("%s, %s: %d with %q, want %d with %q", tt.name, method, r.status, got, tt.status, tt.challenge)
			}
		}
	}
	for _, query := range []string{"access_token=", "token=", "api_token=", "X-Api-Token=", "authorization=Bearer%20"} {
		s.call(http.MethodGet, "/contacts?"+query+p.admin, "").want(http.StatusUnauthorized)
	}
	log := s.log.String()
	for _, token := range []string{p.contactsRead, p.send, p.admin, p.spent, p.revoked} {
		if strings.Contains(log, token[20:]) {
			t.Errorf("the log has a token: %s", log)
		}
	}
}

// TestScopesOfRoutes calls every route with tokens of one scope each: that of
// the route gets past, and no other one does.
func TestScopesOfRoutes(t *testing.T) {
	t.Parallel()
	p := newPurse(t)
	tokens := map[auth.Scope]string{}
	for _, scope := range auth.Scopes {
		tokens[scope] = p.add(t, time.Now(), scope)
	}
	both := p.add(t, time.Now(), auth.ContactsRead, auth.CampaignsRead)
	var err error
	p.keeper, err = auth.Open(t.Context(), auth.Config{Source: auth.File(p.path), Every: time.Hour, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, func(o *api.Options) { o.Access.Tokens = p.keeper })
	doc, _ := loadDocument(t)
	for path, item := range doc.Paths.Map() {
		path := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "some-id")
		for method, operation := range item.Operations() {
			needs, _ := operation.Extensions["x-scope"].(string)
			if needs == "" {
				s.call(method, path, "").want(http.StatusOK)
				continue
			}
			s.call(method, path, "").want(http.StatusUnauthorized)
			for scope, token := range tokens {
				r := s.call(method, path, "", "Authorization", "Bearer "+token)
				passes := r.status != http.StatusUnauthorized && r.status != http.StatusForbidden
				if want := string(scope) == needs || scope == auth.Admin; passes != want {
					t.Errorf("%s %s with %s: %d", method, path, scope, r.status)
				}
			}
		}
	}
	// What is known of a person is of contacts and of campaigns.
	if r := s.call(http.MethodGet, "/contacts/some-id/data", "", "Authorization", "Bearer "+both); r.status == http.StatusForbidden {
		t.Errorf("both scopes: %d", r.status)
	}
	s.call(http.MethodGet, "/nowhere", "").want(http.StatusUnauthorized)
	s.call("BREW", "/contacts", "").want(http.StatusUnauthorized)
	s.call(http.MethodOptions, "/contacts", "").want(http.StatusUnauthorized)
	s.call(http.MethodGet, "/nowhere", "", "Authorization", "Bearer "+p.send).want(http.StatusNotFound)
	s.call("BREW", "/contacts", "", "Authorization", "Bearer "+p.send).want(http.StatusMethodNotAllowed)
}

// TestNothingGetsPast sends what no client would, octet by octet: spellings of
// paths, methods and headers. Nobody reaches the engine.
func TestNothingGetsPast(t *testing.T) {
	t.Parallel()
	s, p := guarded(t)
	s.contacts["ana@x.org"] = campaign.Contact{Address: "ana@x.org"}
	address := serve(t, api.NewServer(s.handler))
	lines := []string{
		"GET //contacts HTTP/1.1", "GET /contacts/ HTTP/1.1", "GET /./contacts HTTP/1.1", "GET /%2e/contacts HTTP/1.1",
		"GET /healthz/../contacts HTTP/1.1", "GET /healthz/%2e%2e/contacts HTTP/1.1", "GET /healthz%2f..%2fcontacts HTTP/1.1",
		"GET /%63ontacts HTTP/1.1", "GET /contacts%2f HTTP/1.1", "GET /contacts%00 HTTP/1.1", "GET /contacts;/healthz HTTP/1.1",
		"GET /contacts?/healthz HTTP/1.1", "GET /healthz/ HTTP/1.1", "GET /Healthz HTTP/1.1", "GET /%68ealthz/../contacts HTTP/1.1",
		"GET \\contacts HTTP/1.1", "GET http://x/contacts HTTP/1.1", "GET http://healthz/contacts HTTP/1.1", "GET contacts HTTP/1.1",
		"get /contacts HTTP/1.1", "GeT /contacts HTTP/1.1", "BREW /contacts HTTP/1.1", "TRACE /contacts HTTP/1.1", "CONNECT /contacts HTTP/1.1",
		"HEAD /contacts HTTP/1.1", "PROPFIND /contacts HTTP/1.1", "OPTIONS * HTTP/1.1", "PRI * HTTP/2.0", "GET /contacts HTTP/1.0",
		"GET /readyz%2f..%2fcampaigns HTTP/1.1", "GET /openapi.yaml/../campaigns HTTP/1.1", "GET /campaigns/%2e%2e%2fcontacts HTTP/1.1",
		"DELETE /contacts?email=ana@x.org HTTP/1.1", "POST /contacts HTTP/1.1\r\nX-HTTP-Method-Override: GET", "POST /healthz HTTP/1.1\r\nX-Original-URL: /contacts",
		"GET /contacts HTTP/1.1\r\nAuthorization: Bearer\t" + p.admin,
		"GET /contacts HTTP/1.1\r\nAuthorization: Bearer " + p.admin + "\x00",
		"GET /contacts HTTP/1.1\r\nX-Api-Token: \x01" + p.admin,
		"GET /contacts HTTP/1.1\r\nX-Api-Token : " + p.admin,
		"GET /contacts HTTP/1.1\r\nX_Api_Token: " + p.admin,
		"GET /contacts HTTP/1.1\r\nX-Api-Token:\r\n " + p.admin + "x",
		"GET /contacts HTTP/1.1\r\nCookie: token=" + p.admin,
		"GET /contacts HTTP/1.1\r\nAuthorization: Bearer " + strings.Repeat("x", 12<<10),
		"GET /contacts HTTP/1.1\r\nTrailer: Authorization\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer " + p.admin,
	}
	for _, line := range lines {
		got := exchange(t, address, line+"\r\nHost: x\r\nConnection: close\r\n\r\n")
		// 200 is for OPTIONS *, which net/http answers by itself, with nothing.
		ok := regexp.MustCompile(`^HTTP/1\.[01] (400|401|404|405|431|505) |^HTTP/1.1 200 OK\r\nContent-Length: 0\r\n`).MatchString(got)
		if !ok || strings.Contains(got, "ana@x.org") {
			t.Errorf("%.100q: %.200q", line, got)
		}
	}
	if len(s.contacts) != 1 || s.upserts != 0 {
		t.Errorf("contacts %v, %d changes", s.contacts, s.upserts)
	}
	// The same door, with a key.
	got := exchange(t, address, "GET /contacts HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer "+p.contactsRead+"\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, "ana@x.org") {
		t.Errorf("with a token: %.200q", got)
	}
}

// behindGateway is AUTH=vpce.
func behindGateway(o *api.Options) { o.Access.EndpointIDs = []string{goodEndpoint} }

// TestEndpoints is AUTH=vpce.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	s := start(t, behindGateway)
	tests := []struct {
		name    string
		headers []string
		status  int
	}{
		{"the right one", []string{"X-Source-Vpce", goodEndpoint}, 200},
		{"header in another case", []string{"x-source-VPCE", goodEndpoint}, 200},
		{"white space around it", []string{"X-Source-Vpce", " " + goodEndpoint + "\t"}, 200},
		{"none", nil, 403},
		{"empty", []string{"X-Source-Vpce", " "}, 403},
		{"another", []string{"X-Source-Vpce", otherEndpoint}, 403},
		{"upper case", []string{"X-Source-Vpce", strings.ToUpper(goodEndpoint)}, 403},
		{"a beginning", []string{"X-Source-Vpce", goodEndpoint[:len(goodEndpoint)-1]}, 403},
		{"a list", []string{"X-Source-Vpce", otherEndpoint + "," + goodEndpoint}, 403},
		{"the same in a list", []string{"X-Source-Vpce", goodEndpoint + ", " + goodEndpoint}, 403},
		{"two headers", []string{"X-Source-Vpce", goodEndpoint, "X-Source-Vpce", otherEndpoint}, 403},
		{"two headers, the other way", []string{"X-Source-Vpce", otherEndpoint, "x-source-vpce", goodEndpoint}, 403},
		{"the same twice", []string{"X-Source-Vpce", goodEndpoint, "X-Source-Vpce", goodEndpoint}, 403},
		{"underscores", []string{"X_Source_Vpce", goodEndpoint}, 403},
		{"a header of another name", []string{"X-Forwarded-Vpce", goodEndpoint}, 403},
	}
	for _, tt := range tests {
		r := s.call(http.MethodGet, "/contacts", "", tt.headers...)
		if r.status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, r.status, tt.status)
		}
		if r.status == 403 && r.json()["error"] != "VPC access required" {
			t.Errorf("%s: %s", tt.name, r.body)
		}
	}
	for _, open := range []string{"/healthz", "/readyz", "/openapi.yaml"} {
		s.call(http.MethodGet, open, "").want(http.StatusOK)
	}
	s.call(http.MethodGet, "/nowhere", "").want(http.StatusForbidden)

	// Asked for, and none listed: nobody.
	none := start(t, func(o *api.Options) { o.Access.EndpointIDs = []string{} })
	none.call(http.MethodGet, "/contacts", "", "X-Source-Vpce", goodEndpoint).want(http.StatusForbidden)
}

// TestEndpointAndToken is AUTH=vpce+token: neither is enough by itself.
func TestEndpointAndToken(t *testing.T) {
	t.Parallel()
	s, p := guarded(t, behindGateway)
	s.call(http.MethodGet, "/contacts", "", "X-Source-Vpce", goodEndpoint).want(http.StatusUnauthorized)
	s.call(http.MethodGet, "/contacts", "", "X-Api-Token", p.admin).want(http.StatusForbidden)
	s.call(http.MethodGet, "/contacts", "", "X-Api-Token", p.admin, "X-Source-Vpce", otherEndpoint).want(http.StatusForbidden)
	s.call(http.MethodGet, "/contacts", "", "X-Api-Token", p.admin, "X-Source-Vpce", goodEndpoint).want(http.StatusOK)
}

// TestActor holds what the engine is told of the caller to what is proved.
func TestActor(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws-us-gov:sts::123456789012:assumed-role/mailing/ana@example.org"
	p := newPurse(t)
	id := "token:" + p.send[8:20]
	tests := []struct {
		name       string
		behind     bool // API Gateway
		tokens     bool
		headers    []string
		actor      string
		sourceVPCE string
	}{
		{"nobody asks", false, false, nil, "anonymous", ""},
		{"forged", false, false, []string{"X-Caller-Arn", arn, "X-Source-Vpce", goodEndpoint}, "anonymous", ""},
		{"IAM", true, false, []string{"X-Caller-Arn", arn, "X-Source-Vpce", goodEndpoint}, "iam:" + arn, goodEndpoint},
		{"forged beside a token", false, true, []string{"X-Api-Token", p.send, "X-Caller-Arn", arn, "X-Source-Vpce", goodEndpoint}, id, ""},
		{"no IAM", true, false, []string{"X-Caller-Arn", "", "X-Source-Vpce", goodEndpoint}, "anonymous", goodEndpoint},
		{"no ARN", true, false, []string{"X-Caller-Arn", "arn:aws:iam::1:root'", "X-Source-Vpce", goodEndpoint}, "anonymous", goodEndpoint},
		{"two ARNs", true, false, []string{"X-Caller-Arn", arn, "X-Caller-Arn", arn, "X-Source-Vpce", goodEndpoint}, "anonymous", goodEndpoint},
		{"two endpoints", false, false, []string{"X-Source-Vpce", goodEndpoint, "X-Source-Vpce", otherEndpoint}, "anonymous", ""},
		{"token", false, true, []string{"X-Api-Token", p.send}, id, ""},
		{"token and IAM", true, true, []string{"X-Api-Token", p.send, "X-Caller-Arn", arn, "X-Source-Vpce", goodEndpoint}, id, goodEndpoint},
		{"a token that nobody asks for", false, false, []string{"X-Api-Token", p.send}, "anonymous", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(o *api.Options) {
				if tt.behind {
					behindGateway(o)
				}
				if tt.tokens {
					o.Access.Tokens = p.keeper
				}
			})
			var got campaign.Actor
			s.hook = func(ctx context.Context) { got = campaign.ActorOf(ctx) }
			r := s.call(http.MethodPost, "/smtp-campaign", smallCampaign, tt.headers...).want(http.StatusAccepted)
			want := campaign.Actor{Name: tt.actor, SourceVPCE: tt.sourceVPCE, RequestID: r.header.Get("X-Request-Id")}
			if got != want {
				t.Errorf("actor %+v, want %+v", got, want)
			}
			if line := s.logged(t, "/smtp-campaign"); line["actor"] != tt.actor {
				t.Errorf("log %v", line)
			}
		})
	}
}

// TestRebinding is AUTH=none: a page whose name leads to this machine is not
// let in.
func TestRebinding(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *api.Options) { o.Access.LocalNames = true })
	s.call(http.MethodGet, "/contacts", "").want(http.StatusOK)
	ask := func(path, host string) reply {
		req := s.request(http.MethodGet, path, http.NoBody)
		req.Host = host
		return s.send(req, "")
	}
	ask("/contacts", "localhost:8080").want(http.StatusOK)
	ask("/contacts", "rebound.example.com").want(http.StatusMisdirectedRequest)
	ask("/healthz", "rebound.example.com").want(http.StatusOK)
}

// TestPreflightComesFirst: a browser asks without a token, and is told that it
// may send one. An answer that refuses it can be read by the page.
func TestPreflightComesFirst(t *testing.T) {
	t.Parallel()
	const page = "https://pages.example.org"
	s, _ := guarded(t, func(o *api.Options) { o.CORSOrigins = []string{page} })
	for _, header := range []string{"authorization", "x-api-token"} {
		r := s.call(http.MethodOptions, "/contacts", "", "Origin", page,
			"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", header).want(http.StatusOK)
		if got := r.header.Get("Access-Control-Allow-Headers"); !strings.EqualFold(got, header) {
			t.Errorf("%s: %v", header, r.header)
		}
	}
	r := s.call(http.MethodGet, "/contacts", "", "Origin", page).want(http.StatusUnauthorized)
	if r.header.Get("Access-Control-Allow-Origin") != page {
		t.Errorf("refused: %v", r.header)
	}
}

func TestRefusalsAreCountedAndLogged(t *testing.T) {
	t.Parallel()
	s, p := guarded(t, func(o *api.Options) {
		o.Access.EndpointIDs, o.Access.LocalNames = []string{goodEndpoint}, true
	})
	call := func(headers ...string) {
		s.call(http.MethodGet, "/contacts", "", append(headers, "X-Source-Vpce", goodEndpoint)...)
	}
	s.call(http.MethodGet, "/contacts", "")
	call()
	call("X-Api-Token", p.revoked)
	call("X-Api-Token", p.admin, "X-Api-Token", p.admin)
	call("X-Api-Token", p.send)
	call("X-Api-Token", p.send)
	call("X-Api-Token", p.spent)
	line := s.logged(t, "/contacts")
	if line["refused"] != "expired_token" || line["actor"] != "token:"+p.spent[8:20] || line["level"] != "warn" || line["status"] != 401.0 {
		t.Errorf("log %v", line)
	}
	const want = `
# HELP postern_auth_refused_total Requests to the API whose caller was refused, by reason.
# TYPE postern_auth_refused_total counter
postern_auth_refused_total{reason="ambiguous_token"} 1
postern_auth_refused_total{reason="expired_token"} 1
postern_auth_refused_total{reason="host"} 0
postern_auth_refused_total{reason="insufficient_scope"} 2
postern_auth_refused_total{reason="invalid_token"} 1
postern_auth_refused_total{reason="no_token"} 1
postern_auth_refused_total{reason="vpc_endpoint"} 1
`
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), "postern_auth_refused_total"); err != nil {
		t.Error(err)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	if got := start(t).call(http.MethodGet, "/readyz", "").want(http.StatusOK).json()["warnings"]; fmt.Sprint(got) != "[]" {
		t.Errorf("warnings %v", got)
	}
	s := start(t, func(o *api.Options) { o.Warnings = func() []string { return []string{"mind the gap"} } })
	if got := s.call(http.MethodGet, "/readyz", "").want(http.StatusOK).json()["warnings"]; fmt.Sprint(got) != "[mind the gap]" {
		t.Errorf("warnings %v", got)
	}
}

// TestReloadUnderCalls replaces the file of tokens while callers come: the one
// whose token stays never notices.
func TestReloadUnderCalls(t *testing.T) {
	t.Parallel()
	s, p := guarded(t)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.keeper.Run(ctx) })
	for range 3 {
		running.Go(func() {
			for ctx.Err() == nil {
				if r := s.call(http.MethodGet, "/contacts", "", "X-Api-Token", p.contactsRead); r.status != http.StatusOK {
					t.Errorf("status %d", r.status)
					return
				}
				if r := s.call(http.MethodGet, "/contacts", "", "X-Api-Token", p.revoked); r.status != http.StatusUnauthorized {
					t.Errorf("status %d", r.status)
					return
				}
			}
		})
	}
	whole, err := os.ReadFile(p.path)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		late := p.add(t, time.Now(), auth.ContactsRead)
		for s.call(http.MethodGet, "/contacts", "", "X-Api-Token", late).status != http.StatusOK {
			if t.Failed() {
				break
			}
		}
		if err := os.WriteFile(p.path, whole[:len(whole)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p.path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	running.Wait()
}
