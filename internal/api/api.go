// Package api is Postern's HTTP edge: routes, JSON shapes, limits, and the
// only table from error code to HTTP status. What the shapes are, openapi.yaml
// says; the service serves it at /openapi.yaml, and the tests hold the two
// together.
//
// # One door for JSON
//
// Every request body is read whole, within limits of its own and of all bodies
// in flight together, and goes through decode (decode.go), which is stricter
// than encoding/json: duplicate names, invalid UTF-8, trailing data and deep
// nesting are errors. Unknown members are accepted, because clients spread
// stored configurations into their requests.
//
// # Errors
//
// Every answer outside 2xx is problem+json (RFC 9457) with the member "error"
// for older clients, whether a handler, the router or a panic made it. A 5xx
// answer names no cause: that is in the log, under the request id.
//
// # Who may call
//
// authenticate (auth.go) stands around every handler but the open ones, the
// router's own included, and authorize asks for the scope of the route that the
// router has chosen. Neither looks at the path, so no spelling of a path gets
// past them.
//
// # Behind API Gateway
//
// The service does not know the stage in front of its paths, so Location and
// links are relative references (RFC 3986 section 4.2): from
// https://host/prod/smtp-campaign, "campaign-status/ID" leads to
// https://host/prod/campaign-status/ID.
package api

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/cors"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"postern/internal/campaign"
	"postern/internal/engine"
)

// Service is what the API needs of the engine. Errors are *campaign.Error
// with a code, or the context's.
type Service interface {
	Submit(ctx context.Context, s engine.Submission) (r engine.Report, created bool, err error)
	Report(ctx context.Context, campaignID string) (engine.Report, error)
	Pause(ctx context.Context, campaignID string) (engine.Report, error)
	Resume(ctx context.Context, campaignID string, o engine.ResumeOptions) (engine.Report, error)
	Cancel(ctx context.Context, campaignID string) (engine.Report, error)
	Retry(ctx context.Context, campaignID string, o engine.RetryOptions) (engine.Report, error)
	Campaigns(ctx context.Context, cursor string, limit int) (engine.CampaignPage, error)
	Deliveries(ctx context.Context, campaignID string, q engine.DeliveryQuery) (deliveries []campaign.Delivery, next string, err error)
	UpsertContacts(ctx context.Context, changes []campaign.ContactChange) error
	UpdateContact(ctx context.Context, change campaign.ContactChange) (campaign.Contact, error)
	DeleteContact(ctx context.Context, address string) error
	Contacts(ctx context.Context, cursor string, limit int) (contacts []campaign.Contact, next string, err error)
	Contact(ctx context.Context, address string) (campaign.Contact, error)
	Person(ctx context.Context, address, cursor string) (engine.PersonPage, error)
	ErasePerson(ctx context.Context, address, cursor string) (engine.ErasurePage, error)
	Audit(ctx context.Context, campaignID string, w io.Writer) error
	AuditKeys() ([]engine.AuditKey, error)
	Ready(ctx context.Context) error
}

// Options configure the API. Registerer, CursorKey and the limits are required.
type Options struct {
	Logger     zerolog.Logger
	Registerer prometheus.Registerer
	// CORSOrigins are the origins whose pages may call the API; none when
	// empty, all when it is "*".
	CORSOrigins []string
	// Access says who may call.
	Access Access
	// Warnings are what whoever runs the service should see in /readyz, though it
	// is ready; nil for none ever. It says nothing that strangers may not know.
	Warnings func() []string
	// Diagnosis finds out why mail does not flow. Required.
	Diagnosis Diagnosis
	// CursorKey, of 32 octets, seals cursors. All tasks of a service share it,
	// so that a page's cursor holds at each of them.
	CursorKey []byte

	MaxRequestBytes  int64 // octets of a request's body
	MaxInFlightBytes int64 // octets of all bodies in flight, at least MaxRequestBytes

	// StallTimeout is how long a client may take for each 256 KiB of a body and
	// each 64 KiB of an answer; 10 s when 0.
	StallTimeout time.Duration
}

// api holds what the handlers share.
type api struct {
	service  Service
	opts     Options
	cursors  cursors
	metrics  *metrics
	inFlight *memory // of bodies
	lists    *memory
	searches *memory // for persons: counts them, not octets
}

// New makes the API's handler. It panics where the metrics are registered
// already, or the CursorKey is none.
func New(service Service, opts Options) http.Handler {
	opts.StallTimeout = cmp.Or(opts.StallTimeout, stallTimeout)
	a := &api{
		service:  service,
		opts:     opts,
		cursors:  newCursors(opts.CursorKey),
		metrics:  newMetrics(opts.Registerer),
		inFlight: newMemory(opts.MaxInFlightBytes),
		lists:    newMemory(listsOctets),
		searches: newMemory(searchesAtOnce),
	}
	r := chi.NewRouter()
	r.Use(a.identify, a.observe, a.recoverPanic, headers)
	if len(opts.CORSOrigins) > 0 {
		// In front of whatever authenticates: a browser sends no credentials
		// with its OPTIONS.
		r.Use(cors.Handler(corsOptions(opts.CORSOrigins)))
	}
	r.Use(middleware.GetHead)
	r.NotFound(a.authenticate(http.HandlerFunc(a.notFound)).ServeHTTP)
	r.MethodNotAllowed(a.authenticate(a.methodNotAllowed(r)).ServeHTTP)
	a.routes(r)
	return r
}

// routes is the route table. openapi.yaml has the same one.
func (a *api) routes(r chi.Router) {
	letter := a.bodyLimit(a.opts.MaxRequestBytes, 1)
	contacts := a.bodyLimit(min(a.opts.MaxRequestBytes, maxContactsBytes), contactsTimes)
	course := a.bodyLimit(min(a.opts.MaxRequestBytes, maxCourseBytes), 1)

	r.Group(func(r chi.Router) { // each of them has a row in scopes
		r.Use(a.authenticate, a.authorize)
		r.With(letter).Post("/smtp-campaign", a.postCampaign)
		r.Get("/campaign-status/{campaign_id}", a.getCampaign)
		r.With(a.listLimit).Get("/campaigns", a.listCampaigns)
		r.Get("/campaigns/{campaign_id}", a.getCampaign)
		r.With(a.listLimit).Get("/campaigns/{campaign_id}/audit", a.getAudit)
		r.Get("/audit/key", a.getAuditKey)
		r.With(a.listLimit).Get("/campaigns/{campaign_id}/deliveries", a.listDeliveries)
		r.With(course).Post("/campaigns/{campaign_id}/pause", a.pauseCampaign)
		r.With(course).Post("/campaigns/{campaign_id}/resume", a.resumeCampaign)
		r.With(course).Post("/campaigns/{campaign_id}/cancel", a.cancelCampaign)
		r.With(course).Post("/campaigns/{campaign_id}/retry", a.retryCampaign)

		r.With(course).Post("/relays/check", a.checkRelay)
		r.Get("/network", a.getNetwork)

		r.With(a.listLimit).Get("/contacts", a.getContacts)
		r.With(contacts).Post("/contacts", a.postContacts)
		r.With(contacts).Put("/contacts", a.putContact)
		r.Delete("/contacts", a.deleteContact)
		r.With(a.searchLimit).Get("/contacts/{email}/data", a.getPerson)
		r.With(a.searchLimit).Delete("/contacts/{email}/data", a.erasePerson)
	})

	// Open: load balancers and readers of the document have no token.
	r.Get("/healthz", a.healthz)
	r.Get("/readyz", a.readyz)
	r.Get("/openapi.yaml", a.openapi)
}

func corsOptions(origins []string) cors.Options {
	return cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders: []string{"Accept", "Authorization", "Content-Type", "Idempotency-Key", "X-Api-Key", headerToken},
		ExposedHeaders: []string{"Location", headerReplayed, "Retry-After", headerRequestID, "WWW-Authenticate"},
		MaxAge:         300, // seconds; a browser's preflight holds that long
	}
}
