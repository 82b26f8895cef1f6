package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"postern/internal/campaign"
)

// answer is what a code means in HTTP.
type answer struct {
	status     int
	retryAfter int // seconds; 0 for no Retry-After
}

// answers is the only table from error code to HTTP status.
var answers = map[campaign.Code]answer{
	campaign.CodeInvalid:     {status: http.StatusBadRequest},
	campaign.CodeNotFound:    {status: http.StatusNotFound},
	campaign.CodeConflict:    {status: http.StatusConflict},
	campaign.CodeKeyReused:   {status: http.StatusUnprocessableEntity},
	campaign.CodeTooLarge:    {status: http.StatusRequestEntityTooLarge},
	campaign.CodeForbidden:   {status: http.StatusForbidden},
	campaign.CodeUnavailable: {status: http.StatusServiceUnavailable, retryAfter: 5},
	campaign.CodeDamaged:     {status: http.StatusInternalServerError},
	campaign.CodeInternal:    {status: http.StatusInternalServerError},
}

// httpError is an error that only HTTP knows, such as a wrong Content-Type.
type httpError struct {
	answer

	message string
}

// Error gives the message.
func (e *httpError) Error() string { return e.message }

func httpErrorf(status int, format string, args ...any) *httpError {
	return &httpError{answer: answer{status: status}, message: fmt.Sprintf(format, args...)}
}

// problem is problem details (RFC 9457) with the members of Postern's own.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Error is Detail again, where older clients look.
	Error     string       `json:"error"`
	Errors    []fieldError `json:"errors,omitempty"`
	RequestID string       `json:"request_id"`
}

type fieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Limits of a problem's size, however much is wrong.
const (
	maxFieldErrors  = 100
	maxDetailFaults = 3
	maxFieldOctets  = 200
)

// fail answers with the problem that err is, and keeps err for the log. What
// is left of the body is read first.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := exchangeOf(r.Context())
	e.err = err
	e.drain(r, a.opts.MaxRequestBytes+drainBeyond)
	known, p := describe(err)
	p.RequestID = e.id
	if known.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(known.retryAfter))
	}
	writeJSON(w, known.status, "application/problem+json", p)
}

// describe says what an error is in HTTP, and no more than a caller may know.
func describe(err error) (answer, problem) {
	known, message, faults := classify(err)
	p := problem{
		Type:   "about:blank",
		Title:  http.StatusText(known.status),
		Status: known.status,
		Detail: message,
	}
	for i, f := range faults {
		if i == maxFieldErrors {
			break
		}
		p.Errors = append(p.Errors, fieldError{Field: fieldPath(f.Field), Message: f.Rule})
	}
	if len(faults) > 0 {
		p.Detail += ": " + summary(p.Errors, len(faults))
	}
	p.Error = p.Detail
	return known, p
}

func classify(err error) (answer, string, []campaign.Fault) {
	if e, ok := errors.AsType[*httpError](err); ok {
		return e.answer, e.message, nil
	}
	if e, ok := errors.AsType[*campaign.Error](err); ok && e.Code != campaign.CodeInternal {
		if known, ok := answers[e.Code]; ok {
			return known, e.Message, e.Faults
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return answers[campaign.CodeUnavailable], "the request took too long", nil
	}
	return answers[campaign.CodeInternal], "internal error; the log has the cause under this request_id", nil
}

// summary names the first faults in one line.
func summary(faults []fieldError, total int) string {
	var lines []string
	for _, f := range faults[:min(len(faults), maxDetailFaults)] {
		lines = append(lines, strings.TrimSpace(f.Field+" "+f.Message))
	}
	more := total - len(lines)
	switch {
	case total > maxFieldErrors: // some kinds of faults are not counted further
		lines = append(lines, "and many more")
	case more > 0:
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "; ")
}

// fieldPath makes a path fit to be shown: names in it may be a caller's own.
func fieldPath(path string) string {
	path = strings.TrimSuffix(path, ".")
	if len(path) > maxFieldOctets {
		path = path[:maxFieldOctets] + "..."
	}
	return strings.ToValidUTF8(path, "?")
}

// named gives a not-found error the message that the API promises; other
// errors stay as they are.
func named(err error, message string) error {
	if campaign.CodeOf(err) == campaign.CodeNotFound {
		return campaign.Wrap(campaign.CodeNotFound, err, "%s", message)
	}
	return err
}

func (a *api) notFound(w http.ResponseWriter, r *http.Request) {
	a.fail(w, r, httpErrorf(http.StatusNotFound, "there is nothing at this path"))
}

// methodNotAllowed answers with Allow (RFC 9110 section 15.5.6). OPTIONS that
// is no preflight asks for just that.
func (a *api) methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			if routes.Match(chi.NewRouteContext(), method, r.URL.Path) {
				allowed = append(allowed, method)
				if method == http.MethodGet {
					allowed = append(allowed, http.MethodHead)
				}
			}
		}
		if len(allowed) == 0 { // chi comes here for every path with a method that it does not know
			a.notFound(w, r)
			return
		}
		allowed = append(allowed, http.MethodOptions)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		a.fail(w, r, httpErrorf(http.StatusMethodNotAllowed, "this path allows %s", strings.Join(allowed, ", ")))
	}
}
