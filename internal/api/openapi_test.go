package api_test

import (
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/api"
)

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	doc, _ := loadDocument(t)
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
	if doc.OpenAPI != "3.0.3" {
		t.Errorf("version %s: API Gateway imports 3.0 only", doc.OpenAPI)
	}
}

func TestDocumentAndRoutesAgree(t *testing.T) {
	t.Parallel()
	doc, _ := loadDocument(t)
	var documented []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	handler := api.New(newFake(), options(io.Discard, prometheus.NewRegistry()))
	routes, ok := handler.(chi.Routes)
	if !ok {
		t.Fatalf("%T has no routes", handler)
	}
	var routed []string
	err := chi.Walk(routes, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routed = append(routed, method+" "+route)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(documented)
	slices.Sort(routed)
	if !slices.Equal(documented, routed) {
		t.Errorf("documented\n%q\nrouted\n%q", documented, routed)
	}
}

func TestServesItsDocument(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := s.call(http.MethodGet, "/openapi.yaml", "").want(http.StatusOK)
	doc, err := openapi3.NewLoader().LoadFromData(r.body)
	if err != nil || doc.Info.Title != "Postern" {
		t.Errorf("served document: %v", err)
	}
}
