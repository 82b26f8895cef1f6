package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
)

// bodyLimit lets a request through whose body is JSON of at most limit octets
// and fits beside the bodies that are in flight. Its share of the memory is
// held until the handler returns.
func (a *api) bodyLimit(limit int64) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := checkContentType(r); err != nil {
				a.fail(w, r, err)
				return
			}
			if r.ContentLength > limit {
				a.fail(w, r, tooLarge(limit))
				return
			}
			weight := r.ContentLength
			if weight < 0 { // chunked: it may become as large as is allowed
				weight = limit
			}
			if !a.inFlight.TryAcquire(weight) {
				a.fail(w, r, &httpError{
					answer:  answer{status: http.StatusServiceUnavailable, retryAfter: 1},
					message: "too many large requests at once; try again",
				})
				return
			}
			defer a.inFlight.Release(weight)
			r.Body = http.MaxBytesReader(w, r.Body, limit)
			next.ServeHTTP(w, r)
		})
	}
}

func tooLarge(limit int64) error {
	return httpErrorf(http.StatusRequestEntityTooLarge, "the body is larger than %d octets", limit)
}

// checkContentType wants JSON. text/plain and a missing type are what a page
// of a foreign origin can send without asking first (a "simple" request of
// the Fetch standard), so text/plain is refused, and a missing type is
// accepted only without an Origin, which every browser sends along.
func checkContentType(r *http.Request) error {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return httpErrorf(http.StatusUnsupportedMediaType, "Content-Encoding is not supported; send the JSON as it is")
	}
	given := r.Header.Get("Content-Type")
	if given == "" && r.Header.Get("Origin") == "" {
		return nil
	}
	if media, _, err := mime.ParseMediaType(given); err != nil || media != "application/json" {
		return httpErrorf(http.StatusUnsupportedMediaType, "Content-Type must be application/json")
	}
	return nil
}

// drainBeyond is how much more than the largest request is read of one that is
// refused, in octets. It covers a caller's large file in base64.
const drainBeyond = 32 << 20

// incoming is a request's body as it comes, whatever limit a handler reads it
// through.
type incoming struct {
	io.ReadCloser

	begun bool // somebody asked for some of it
}

// Read notes that the body is asked for.
func (b *incoming) Read(p []byte) (int, error) {
	b.begun = true
	return b.ReadCloser.Read(p)
}

// drain reads what is left of a refused request's body, at most octets of it
// and until the server's read deadline. Most clients send all of their request
// before they read; one that still sends when the server closes its connection
// finds it reset, and no answer. A client that waits for "100 Continue" (RFC
// 9110 section 10.1.1) is not told to go on, and one that announces more than
// is read here is cut off in any case.
func (e *exchange) drain(r *http.Request, most int64) {
	waits := r.Header.Get("Expect") != "" && !e.body.begun
	if waits || r.ContentLength > most {
		return
	}
	_, _ = io.CopyN(io.Discard, e.body, most) // the answer is the same however it ends
}

// readBody reads a body that passed bodyLimit.
func readBody(r *http.Request) ([]byte, error) {
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength) + bytes.MinRead) // at once, not by doubling
	}
	_, err := body.ReadFrom(r.Body)
	if err == nil {
		return body.Bytes(), nil
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge(e.Limit)
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return nil, httpErrorf(http.StatusRequestTimeout, "the body did not arrive in time")
	}
	return nil, httpErrorf(http.StatusBadRequest, "the body ended before its end")
}
