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

// smallBody is as much of a body as is read before it must have room, in
// octets. So a client that announces much and sends little takes room from
// nobody, and a small request is never refused for large ones.
const smallBody = 16 << 10

// room is what a body needs of the memory for all that are in flight.
type room struct {
	of     *memory
	octets int64 // 0 for a small body, which needs none
	own    *part // nil until it is taken
}

func errBusy() error { return busy("too many large requests at once; try again") }

func (m *room) take(body *incoming) error {
	own, ok := m.of.try(m.octets, body)
	if !ok {
		return errBusy()
	}
	m.own = own
	return nil
}

func (m *room) leave() {
	if m.own != nil {
		m.own.release()
		m.own = nil
	}
}

// bodyLimit lets a request through whose body is JSON of at most limit octets
// and seems to fit beside the bodies that are in flight. The room that readBody
// takes for it is held until the handler returns: the body's own octets, times
// what decoding makes of each.
func (a *api) bodyLimit(limit, times int64) func(http.Handler) http.Handler {
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
			octets := r.ContentLength
			if octets < 0 { // chunked: it may become as large as is allowed
				octets = limit
			}
			m := &room{of: a.inFlight}
			if octets > smallBody {
				m.octets = min(octets*times, a.opts.MaxInFlightBytes)
			}
			if m.octets > 0 && !m.of.has(m.octets) {
				a.fail(w, r, errBusy())
				return
			}
			defer m.leave()
			exchangeOf(r.Context()).room = m
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

// drain reads what is left of a refused request's body, at most octets of it
// and for drainTimeout. Most clients send all of their request
// before they read; one that still sends when the server closes its connection
// finds it reset, and no answer. A client that waits for "100 Continue" (RFC
// 9110 section 10.1.1) is not told to go on, and one that announces more than
// is read here is cut off in any case.
func (e *exchange) drain(r *http.Request, most int64) {
	waits := r.Header.Get("Expect") != "" && !e.body.begun
	if waits || r.ContentLength > most {
		return
	}
	e.body.drainUntil()
	_, _ = io.CopyN(io.Discard, e.body, most) // the answer is the same however it ends
}

// readBody reads a body that passed bodyLimit.
func readBody(r *http.Request) ([]byte, error) {
	var body bytes.Buffer
	_, err := io.CopyN(&body, r.Body, smallBody)
	if err == nil {
		err = readLarge(&body, r)
	}
	if err == nil || errors.Is(err, io.EOF) {
		return body.Bytes(), nil
	}
	e := exchangeOf(r.Context())
	if e.room != nil {
		e.room.leave() // nothing is kept of it
	}
	return nil, bodyFault(e, err)
}

// readLarge reads what is behind the small part of a body, if there is room.
func readLarge(body *bytes.Buffer, r *http.Request) error {
	e := exchangeOf(r.Context())
	if e.room != nil && e.room.octets > 0 {
		if err := e.room.take(e.body); err != nil {
			return err
		}
	}
	if rest := int(r.ContentLength) - body.Len(); rest > 0 {
		body.Grow(rest + bytes.MinRead) // at once, not by doubling
	}
	_, err := body.ReadFrom(r.Body)
	return err
}

// bodyFault is why a body could not be read, in HTTP.
func bodyFault(e *exchange, err error) error {
	if _, ok := errors.AsType[*httpError](err); ok {
		return err // there is no room
	}
	if tooMuch, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(tooMuch.Limit)
	}
	if e.body.pressed.Load() {
		return errBusy()
	}
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return httpErrorf(http.StatusRequestTimeout, "the body did not arrive in time")
	}
	return httpErrorf(http.StatusBadRequest, "the body ended before its end")
}
