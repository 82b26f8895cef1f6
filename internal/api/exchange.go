package api

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Headers of requests and answers that are not the standard library's.
const (
	headerRequestID   = "X-Request-Id"
	headerReplayed    = "Idempotent-Replayed"
	headerIdempotency = "Idempotency-Key"
	// These are set by API Gateway's mapping of context.requestId,
	// context.identity.vpceId and context.identity.userArn. They are read only
	// where Access.EndpointIDs says that nobody else can set them.
	headerGatewayID  = "X-Amzn-Request-Id"
	headerSourceVPCE = "X-Source-Vpce"
	headerCallerARN  = "X-Caller-Arn"
)

// exchange is what the middleware and the handlers of one request share.
type exchange struct {
	id     string
	about  string // the campaign's id; "" where it is about none
	body   *incoming
	answer *outgoing
	room   *room  // nil for a request whose body nobody reads
	err    error  // why the answer is not 2xx
	stack  string // of a panic

	actor   string  // who asked, once it is known
	refused refusal // why the caller may not; "" when it may
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	if e, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return e
	}
	noDeadline := func(time.Time) error { return http.ErrNotSupported }
	return &exchange{body: &incoming{ReadCloser: http.NoBody, deadline: noDeadline}, answer: &outgoing{}}
}

// identify gives the request its id: API Gateway's where that is trusted, or
// a new one. It also keeps hold of the body as it comes, for the end.
func (a *api) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := &exchange{id: a.gatewayHeader(r, headerGatewayID, isGatewayID)}
		if e.id == "" {
			e.id = uuid.Must(uuid.NewV7()).String()
		}
		e.answer, e.body = a.paced(w, r)
		w.Header().Set(headerRequestID, e.id)
		if mayHideRequest(r) {
			w.Header().Set("Connection", "close")
		}
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, e))
		r.Body = e.body
		next.ServeHTTP(e.answer, r)
	})
}

// mayHideRequest says whether a proxy in front may have seen another end of the
// request than net/http, so that what follows on the connection is not to be
// believed (request smuggling). Of a request with Transfer-Encoding net/http does
// not tell whether a Content-Length came with it, which obliges a server to
// close the connection (RFC 9112 section 6.1); nor of one in HTTP/1.0 whether a
// Transfer-Encoding did, which does the same.
func mayHideRequest(r *http.Request) bool {
	return len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1)
}

// observe counts and logs the request. The log has no body, no address and no
// query string.
func (a *api) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		a.metrics.inFlight.Inc()
		defer func() { // for a handler that panics to cut its answer off, too
			a.metrics.inFlight.Dec()
			seen := observation{
				method:  knownMethod(r.Method),
				route:   route(r),
				status:  max(ww.Status(), http.StatusOK),
				seconds: time.Since(start).Seconds(),
			}
			a.metrics.count(seen)
			a.log(exchangeOf(r.Context()), seen, ww.BytesWritten())
		}()
		next.ServeHTTP(ww, r)
	})
}

func (a *api) log(e *exchange, seen observation, bytes int) {
	level := zerolog.InfoLevel
	switch {
	case seen.status >= http.StatusInternalServerError:
		level = zerolog.ErrorLevel
	case e.refused != "":
		level = zerolog.WarnLevel
	case seen.route == "/healthz" || seen.route == "/readyz":
		level = zerolog.DebugLevel
	}
	line := a.opts.Logger.WithLevel(level).
		Str("request_id", e.id).
		Str("method", seen.method).
		Str("route", seen.route).
		Int("status", seen.status).
		Float64("seconds", seen.seconds).
		Int("bytes", bytes)
	if e.about != "" {
		line = line.Str("campaign", e.about)
	}
	if level == zerolog.ErrorLevel {
		line = line.AnErr("error", e.err)
	}
	if e.actor != "" {
		line = line.Str("actor", e.actor)
	}
	if e.refused != "" {
		line = line.Str("refused", string(e.refused))
	}
	if e.stack != "" {
		line = line.Str("stack", e.stack)
	}
	line.Msg("request")
}

// route is the pattern that the request matched, so that a label or a log
// line never holds an id.
func route(r *http.Request) string {
	if pattern := chi.RouteContext(r.Context()).RoutePattern(); pattern != "" {
		return pattern
	}
	return "unmatched"
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "other"
	}
}

// recoverPanic answers 500 for a panic and keeps its stack for the log.
func (a *api) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				a.panicked(w, r, v)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (a *api) panicked(w http.ResponseWriter, r *http.Request, v any) {
	if v == http.ErrAbortHandler { //nolint:errorlint // the very value, as net/http compares it
		panic(v)
	}
	e := exchangeOf(r.Context())
	e.stack = string(debug.Stack())
	err := fmt.Errorf("panic: %v", v)
	if ww, ok := w.(middleware.WrapResponseWriter); ok && ww.Status() != 0 {
		e.err = err
		panic(http.ErrAbortHandler) // the answer has begun: all that is left is to cut it off
	}
	a.fail(w, r, err)
}
