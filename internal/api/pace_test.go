package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/api"
	"postern/internal/campaign"
)

const jsonBody = "Content-Type: application/json"

// TestSlowBodies: a body may take much longer than the time-out, as long as
// each stretch of it comes in time; one that does not move on is cut off,
// whatever came before.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	const stall = 5 * time.Second
	s := start(t, func(o *api.Options) { o.StallTimeout, o.MaxRequestBytes, o.MaxInFlightBytes = stall, 4<<20, 64<<20 })
	server := api.NewServer(s.handler)
	server.ReadTimeout = stall
	address := serve(t, server)

	t.Run("goes on", func(t *testing.T) {
		t.Parallel()
		const octets, pieces = 3 << 20, 48
		c := dial(t, address)
		began := time.Now()
		c.head("POST /contacts", jsonBody, "Content-Length: "+strconv.Itoa(octets))
		body := strings.NewReader(`{"email":"slow@x.org"}` + strings.Repeat(" ", octets-22))
		tick := time.NewTicker(9 * stall / 4 / pieces)
		defer tick.Stop()
		for range pieces { // each stretch of 256 KB in less than a fifth of its time
			<-tick.C
			if _, err := io.CopyN(c, body, octets/pieces); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.status(); got != http.StatusOK || time.Since(began) < 2*stall {
			t.Errorf("status %d after %s", got, time.Since(began))
		}
	})
	for name, first := range map[string]int{"an octet at a time": 0, "fast, then an octet at a time": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, address)
			c.head("POST /contacts", jsonBody, "Content-Length: 2097152")
			if _, err := c.Write(bytes.Repeat([]byte(" "), first)); err != nil {
				t.Fatal(err)
			}
			stop := trickle(c, 50*time.Millisecond)
			defer stop()
			began := time.Now()
			if got := c.status(); got != http.StatusRequestTimeout {
				t.Errorf("status %d", got)
			}
			if took := time.Since(began); took > 5*stall {
				t.Errorf("cut off after %s", took)
			}
		})
	}
}

// trickle writes an octet at each tick until stop.
func trickle(c net.Conn, every time.Duration) (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if _, err := c.Write([]byte(" ")); err != nil {
					return
				}
			}
		}
	})
	return func() { close(done); ended.Wait() }
}

// TestSlowBodiesTakeNoRoom: clients that announce large bodies and send little
// of them keep no large body out.
func TestSlowBodiesTakeNoRoom(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *api.Options) { o.MaxRequestBytes, o.MaxInFlightBytes = 1<<20, 1<<20 })
	address := serve(t, api.NewServer(s.handler))
	for range 20 {
		c := dial(t, address)
		c.head("POST /contacts", jsonBody, "Content-Length: 1000000")
		if _, err := c.Write(bytes.Repeat([]byte(" "), 8<<10)); err != nil {
			t.Fatal(err)
		}
	}
	c := dial(t, address)
	c.head("POST /contacts", jsonBody, "Content-Length: 1000000")
	c.body(1_000_000, false)
	if got := c.status(); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
}

// TestWorkBehindASlowBody: the handler's context outlives the time that the
// body had.
func TestWorkBehindASlowBody(t *testing.T) {
	t.Parallel()
	const stall = time.Second
	s := start(t, func(o *api.Options) { o.StallTimeout = stall })
	address := serve(t, api.NewServer(s.handler))
	s.hook = func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(3 * stall):
		}
		if ctx.Err() != nil {
			t.Error("the request's context ended while the client waited")
		}
	}
	c := dial(t, address)
	// In one write, so that the body comes in its time on any machine.
	request := fmt.Sprintf("POST /smtp-campaign HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: %d\r\n\r\n%s", jsonBody, len(smallCampaign), smallCampaign)
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	if got := c.status(); got != http.StatusAccepted {
		t.Errorf("status %d", got)
	}
}

// fillBook makes contacts whose list has so many octets.
func fillBook(s *service, octets int) {
	const n = 200
	for i := range n {
		address := fmt.Sprintf("r%d@example.org", i)
		s.contacts[address] = campaign.Contact{Address: address, Fields: map[string]string{"note": strings.Repeat("x", octets/n)}}
	}
}

// TestClientsThatNeverRead: their connections are closed, and others are served.
func TestClientsThatNeverRead(t *testing.T) {
	t.Parallel()
	const stall = 3 * time.Second
	s := start(t, func(o *api.Options) { o.StallTimeout = stall })
	fillBook(s, 6<<20) // beyond what sockets hold
	server := api.NewServer(s.handler)
	closed := make(chan struct{}, 100)
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	address := serve(t, server)
	const deaf = 3
	for range deaf {
		c := dial(t, address)
		if err := c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		c.head("GET /contacts?limit=1000")
	}
	c := dial(t, address)
	c.head("GET /contacts?limit=1000", "Connection: close")
	if got := c.status(); got != http.StatusOK {
		t.Errorf("who reads gets status %d", got)
	}
	for range deaf + 1 {
		select {
		case <-closed:
		case <-time.After(forever):
			t.Fatal("a client that does not read keeps its connection")
		}
	}
}

// TestSlowReaders: an answer may take longer than the time-out, as long as it
// is taken.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	const stall = 4 * time.Second
	s := start(t, func(o *api.Options) { o.StallTimeout = stall })
	fillBook(s, 4<<20)
	server := api.NewServer(s.handler)
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew { // as the listener does; else the kernel holds it all
			_ = conn.(*net.TCPConn).SetWriteBuffer(128 << 10)
		}
	}
	c := dial(t, serve(t, server))
	if err := c.Conn.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	c.head("GET /contacts?limit=1000", "Connection: close")
	began := time.Now()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	tick := time.NewTicker(stall / 8)
	defer tick.Stop()
	for err == nil {
		<-tick.C
		_, err = io.CopyN(&answer, resp.Body, 256<<10)
	}
	if !errors.Is(err, io.EOF) || !json.Valid(answer.Bytes()) {
		t.Errorf("%d octets after %s: %v", answer.Len(), time.Since(began), err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) < 2*stall {
		t.Errorf("took %s", time.Since(began))
	}
}

// TestSearchesAreFew: searches for persons, which take long, keep nobody from
// the lists, and more than a few of them are told to come again.
func TestSearchesAreFew(t *testing.T) {
	t.Parallel()
	const most, path = 2, "/contacts/ana@example.org/data"
	s := start(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	s.hook = func(context.Context) { entered <- struct{}{}; <-leave }
	answers := make(chan int)
	for range most {
		go func() { answers <- s.call(http.MethodGet, path, "").status }()
		<-entered
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if after := s.call(method, path, "").want(http.StatusServiceUnavailable).header.Get("Retry-After"); after == "" {
			t.Errorf("%s: no Retry-After", method)
		}
	}
	for range 20 {
		s.call(http.MethodGet, "/contacts", "").want(http.StatusOK)
	}
	close(leave)
	for range most {
		if status := <-answers; status != http.StatusOK {
			t.Errorf("a search gets status %d", status)
		}
	}
	s.call(http.MethodDelete, path, "").want(http.StatusAccepted)
}

// TestStalledBodiesLoseTheirRoom: who holds the memory and hardly sends loses
// it as soon as somebody else needs it, long before the time-out.
func TestStalledBodiesLoseTheirRoom(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *api.Options) { o.StallTimeout, o.MaxRequestBytes, o.MaxInFlightBytes = time.Hour, 1<<20, 1<<20 })
	address := serve(t, api.NewServer(s.handler))
	hog := dial(t, address)
	hog.head("POST /contacts", jsonBody, "Content-Length: 1000000")
	if _, err := hog.Write(bytes.Repeat([]byte(" "), 64<<10)); err != nil {
		t.Fatal(err)
	}
	for probe := http.StatusContinue; probe == http.StatusContinue; { // until the hog has the memory
		c := dial(t, address)
		c.head("POST /contacts", jsonBody, "Content-Length: 1000000", "Expect: 100-continue")
		probe = c.status()
		_ = c.Close()
	}
	for deadline := time.Now().Add(forever); ; {
		c := dial(t, address)
		c.head("POST /contacts", jsonBody, "Content-Length: 1000000")
		c.body(1_000_000, false)
		got := c.status()
		if got == http.StatusOK {
			break
		}
		if got != http.StatusServiceUnavailable || time.Now().After(deadline) {
			t.Fatalf("status %d", got)
		}
		<-time.After(100 * time.Millisecond)
	}
	if got := hog.status(); got != http.StatusServiceUnavailable {
		t.Errorf("who holds the memory gets status %d", got)
	}
}
