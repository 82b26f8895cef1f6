package api

import (
	"context"
	_ "embed" // for openapi.yaml
	"errors"
	"net/http"
	"time"

	"postern/internal/campaign"
)

// openapiDocument describes the API in OpenAPI 3.0.3, the latest that API
// Gateway imports.
//
//go:embed openapi.yaml
var openapiDocument []byte

// readyTimeout is below the usual time-out of a health check, 5 s.
const readyTimeout = 4 * time.Second

type healthOut struct {
	Status string `json:"status"`
}

// readyOut has what should be looked at although the service is ready.
type readyOut struct {
	Status   string   `json:"status"`
	Warnings []string `json:"warnings"`
}

// healthz says that the process answers, and nothing of what it depends on:
// restarting it would mend none of that.
func (a *api) healthz(w http.ResponseWriter, _ *http.Request) {
	ok(w, healthOut{Status: "ok"})
}

// readyz says whether the service can do its work.
func (a *api) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := a.service.Ready(ctx); err != nil {
		a.fail(w, r, campaign.Wrap(campaign.CodeUnavailable, err, "not ready%s", because(err)))
		return
	}
	out := readyOut{Status: "ready", Warnings: []string{}}
	if a.opts.Warnings != nil {
		out.Warnings = append(out.Warnings, a.opts.Warnings()...)
	}
	ok(w, out)
}

// because is what an error says for the person who can act. Causes stay in the
// log: they may have more than a caller should see.
func because(err error) string {
	if e, ok := errors.AsType[*campaign.Error](err); ok && e.Message != "" {
		return ": " + e.Message
	}
	return ""
}

func (a *api) openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openapiDocument)
}
