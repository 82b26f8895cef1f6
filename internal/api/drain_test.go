package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strings"
	"testing"
	"time"

	"postern/internal/api"
)

// forever is how long a test waits for what must happen before it fails.
const forever = 2 * time.Minute

// client is a connection whose requests are written by hand.
type client struct {
	t *testing.T
	net.Conn

	in *bufio.Reader
}

func dial(t *testing.T, address string) client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(forever)); err != nil {
		t.Fatal(err)
	}
	return client{t: t, Conn: conn, in: bufio.NewReader(conn)}
}

// head writes a request's first line and headers.
func (c client) head(request string, headers ...string) {
	c.t.Helper()
	lines := append([]string{request + " HTTP/1.1", "Host: x"}, headers...)
	if _, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

// body writes JSON of so many octets, in chunks where there is no length.
func (c client) body(octets int, chunked bool) {
	c.t.Helper()
	var w io.Writer = c
	if chunked {
		chunks := httputil.NewChunkedWriter(c)
		defer func() { _ = chunks.Close(); _, _ = io.WriteString(c, "\r\n") }()
		w = chunks
	}
	const contact = `{"email":"a@x.org"}`
	_, err := io.Copy(w, io.MultiReader(strings.NewReader(contact), io.LimitReader(spaces{}, int64(octets-len(contact)))))
	if err != nil {
		c.t.Fatalf("the body could not be sent: %v", err)
	}
}

// spaces is white space without end.
type spaces struct{}

var blank = bytes.Repeat([]byte(" "), 32<<10)

func (spaces) Read(p []byte) (int, error) { return copy(p, blank), nil }

// status reads an answer and gives its status, after making sure that it is
// whole.
func (c client) status() int {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusContinue {
		return resp.StatusCode
	}
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		c.t.Fatalf("status %d: %v", resp.StatusCode, err)
	}
	return resp.StatusCode
}

// large is beyond what the sockets' buffers hold and what net/http itself
// reads behind an answer.
const large = 12 << 20

// TestClientsThatSendAllFirst writes the whole request before it reads, as
// Python's urllib does.
func TestClientsThatSendAllFirst(t *testing.T) {
	t.Parallel()
	s := start(t) // 1 MiB a request
	address := serve(t, api.NewServer(s.handler))
	full := start(t, func(o *api.Options) { o.MaxRequestBytes, o.MaxInFlightBytes = large, large })
	entered, leave := make(chan struct{}), make(chan struct{})
	full.hook = func(context.Context) { close(entered); <-leave }
	replies := make(chan reply)
	go func() {
		replies <- full.call(http.MethodPost, "/smtp-campaign", smallCampaign+strings.Repeat(" ", 32<<10))
	}()
	<-entered
	defer func() { close(leave); (<-replies).want(http.StatusAccepted) }()
	busy := serve(t, api.NewServer(full.handler))

	const contentType = "Content-Type: application/json"
	length := fmt.Sprintf("Content-Length: %d", large)
	for _, tt := range []struct {
		name, address, request string
		headers                []string
		want                   int
	}{
		{"too large", address, "POST /contacts", []string{contentType, length}, 413},
		{"too large in chunks", address, "PUT /contacts", []string{contentType, "Transfer-Encoding: chunked"}, 413},
		{"too many at once", busy, "POST /smtp-campaign", []string{contentType, length}, 503},
		{"too many at once in chunks", busy, "POST /smtp-campaign", []string{contentType, "Transfer-Encoding: chunked"}, 503},
		{"another type", address, "POST /contacts", []string{"Content-Type: text/csv", length}, 415},
		{"bad key", address, "POST /smtp-campaign", []string{contentType, "Transfer-Encoding: chunked", "Idempotency-Key: a b"}, 400},
		{"no such path", address, "POST /contact", []string{contentType, length}, 404},
		{"no such method", address, "PATCH /contacts", []string{contentType, length}, 405},
		{"nothing that takes a body", address, "DELETE /contacts", []string{length}, 400},
	} {
		c := dial(t, tt.address)
		c.head(tt.request, tt.headers...)
		c.body(large, strings.Contains(strings.Join(tt.headers, " "), "chunked"))
		if got := c.status(); got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestExpectContinue: a client that asks before it sends is told no without
// the body, and one that was told to go on gets its answer behind the body.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	address := serve(t, api.NewServer(start(t).handler))
	const contentType, expect = "Content-Type: application/json", "Expect: 100-continue"
	for request, headers := range map[string][]string{
		"POST /contacts": {contentType, expect, fmt.Sprintf("Content-Length: %d", large)},
		"PUT /contacts":  {"Content-Type: text/csv", expect, "Transfer-Encoding: chunked"},
		"POST /nowhere":  {contentType, expect, "Content-Length: 1000"},
	} {
		c := dial(t, address)
		c.head(request, headers...)
		if got := c.status(); got != 413 && got != 415 && got != 404 {
			t.Errorf("%s: status %d before the body", request, got)
		}
	}
	for octets, want := range map[int]int{1000: 200, large: 413} {
		c := dial(t, address)
		c.head("POST /contacts", contentType, expect, "Transfer-Encoding: chunked")
		if got := c.status(); got != http.StatusContinue {
			t.Fatalf("status %d, want 100", got)
		}
		c.body(octets, true)
		if got := c.status(); got != want {
			t.Errorf("%d octets: status %d, want %d", octets, got, want)
		}
	}
}

// TestBodiesWithoutEnd: what is announced beyond all bounds is answered
// unread, and what never ends is cut off.
func TestBodiesWithoutEnd(t *testing.T) {
	t.Parallel()
	address := serve(t, api.NewServer(start(t).handler))
	const contentType = "Content-Type: application/json"
	announced := dial(t, address)
	announced.head("POST /contacts", contentType, "Content-Length: 1000000000")
	if got := announced.status(); got != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", got)
	}

	endless := dial(t, address)
	endless.head("POST /contacts", contentType, "Transfer-Encoding: chunked")
	sent, err := io.Copy(httputil.NewChunkedWriter(endless), spaces{})
	if errors.Is(err, os.ErrDeadlineExceeded) || sent > 100<<20 {
		t.Errorf("%d octets were taken of a body without end: %v", sent, err)
	}
}
