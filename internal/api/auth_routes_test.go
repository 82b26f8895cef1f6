package api

import (
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// TestEveryRouteHasItsScope: each route is open on purpose or has a row in
// scopes, no row is without a route, and the document says the same.
func TestEveryRouteHasItsScope(t *testing.T) {
	t.Parallel()
	open := []string{"GET /healthz", "GET /readyz", "GET /openapi.yaml"}
	handler := New(nil, Options{
		Logger: zerolog.New(io.Discard), Registerer: prometheus.NewRegistry(), CursorKey: cursorKey(1), MaxRequestBytes: 1, MaxInFlightBytes: 1,
	})
	var routed []string
	err := chi.Walk(handler.(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routed = append(routed, method+" "+route)
		if _, listed := scopes[method+" "+route]; !listed && !slices.Contains(open, method+" "+route) {
			t.Errorf("%s %s has no row in scopes (auth.go)", method, route)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for row := range scopes {
		if !slices.Contains(routed, row) {
			t.Errorf("scopes has %s, which is no route", row)
		}
	}
	doc, err := openapi3.NewLoader().LoadFromData(openapiDocument)
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			row := method + " " + path
			if slices.Contains(open, row) {
				if operation.Security == nil || len(*operation.Security) != 0 || operation.Extensions["x-scope"] != nil {
					t.Errorf("%s is open, and the document does not say so", row)
				}
				continue
			}
			if got := operation.Extensions["x-scope"]; got != scopeList(scopes[row]) || operation.Security != nil {
				t.Errorf("%s needs %s, and the document says %v", row, scopes[row], got)
			}
			if operation.Responses.Value("401") == nil || operation.Responses.Value("403") == nil {
				t.Errorf("%s: 401 or 403 is not documented", row)
			}
		}
	}
}

func TestLocalNames(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:8080": true, "[::1]": true, "[::1]:8080": true, "localhost": true, "LocalHost:80": true, "10.1.2.3:80": true,
		"": false, ":8080": false, "evil.example": false, "evil.example:8080": false, "localhost.evil.example": false,
		"127.0.0.1.evil.example": false, "evil.example:127.0.0.1": false, "2130706433": false, "0x7f.1": false, "[localhost": true,
	} {
		if got := LocalName(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}
