package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// gate is one task's way to DynamoDB: it sees each request go by, and can be
// told to spoil some.
type gate struct {
	url    string
	to     string
	server *http.Server
	via    *http.Transport

	mu      sync.Mutex
	rng     *rand.Rand
	fault   storeFault
	traps   []*trap
	closed  bool // the task is dead: what it has asked for is not passed on
	under   int  // requests that have been passed on and not answered
	changed chan struct{}
}

// storeFault is how the store is for some time.
type storeFault struct {
	throttled float64 // share of the requests that are refused for load
	lost      float64 // share of the requests that are applied and not answered
	down      bool    // no request gets through
}

// write is a kind of request that a trap waits for.
type write string

// The kinds, told by what they have in them (the package comment of
// internal/store/dynamo has the tables' layout).
const (
	writeResult write = "result" // a checkpoint with rows
	writeChunk  write = "chunk"  // freezing stores a chunk
	writeClaim  write = "claim"  // a lease is acquired
)

// trap waits for requests of a kind.
type trap struct {
	kind  write
	skip  int
	after bool // when it has been applied, before the answer
	// spring is called with the request held, and says whether it ends there.
	spring func() (ends bool)
}

func startGate(to string, seed uint64) (*gate, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gate{
		url: "http://" + listener.Addr().String(), to: to, changed: make(chan struct{}),
		via: &http.Transport{MaxIdleConnsPerHost: 64},
		rng: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // G404: repeatable, not secret
	}
	g.server = &http.Server{Handler: g, ReadHeaderTimeout: time.Minute}
	go func() { _ = g.server.Serve(listener) }()
	return g, nil
}

func (g *gate) close() {
	_ = g.server.Close()
	g.via.CloseIdleConnections()
}

// ServeHTTP passes a request on, unless a fault or a trap is in its way.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	refused, lost := g.fate()
	if refused {
		refuse(w)
		return
	}
	t := g.sprung(kindOf(op, body))
	if t != nil && !t.after && t.spring() {
		panic(http.ErrAbortHandler)
	}
	answer, err := g.pass(r, body)
	if t != nil && t.after && t.spring() || err != nil || lost {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.header)
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body)
}

// fate draws what happens to a request in the present state of the store.
func (g *gate) fate() (refused, lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault.down || g.closed {
		panic(http.ErrAbortHandler)
	}
	return g.rng.Float64() < g.fault.throttled, g.rng.Float64() < g.fault.lost
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = io.WriteString(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}`)
}

func kindOf(op string, body []byte) write {
	switch {
	case op == "TransactWriteItems" && bytes.Contains(body, []byte(`{"S":"audience"}`)):
		return writeChunk
	case op == "TransactWriteItems" && bytes.Contains(body, []byte(`EmailDeliveries"`)):
		return writeResult
	case op == "UpdateItem" && bytes.Contains(body, []byte(`{"S":"due#held"}`)):
		return writeClaim
	default:
		return ""
	}
}

// sprung gives the trap that a request springs, nil for none.
func (g *gate) sprung(kind write) *trap {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.traps {
		switch {
		case t.kind != kind:
		case t.skip > 0:
			t.skip--
		default:
			return t
		}
	}
	return nil
}

// reply is an answer of DynamoDB's.
type reply struct {
	status int
	header http.Header
	body   []byte
}

var errGateClosed = errors.New("the task is dead")

// pass hands a request on whatever becomes of the task meanwhile, and gives
// the answer.
func (g *gate) pass(r *http.Request, body []byte) (reply, error) {
	if !g.enter() {
		return reply{}, errGateClosed
	}
	defer g.leave()
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, g.to, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header = r.Header.Clone()
	response, err := g.via.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	return reply{status: response.StatusCode, header: response.Header, body: answer}, err
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.under++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under--
	close(g.changed)
	g.changed = make(chan struct{})
}

// set makes the store be so from now on.
func (g *gate) set(f storeFault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = f
}

// lay lays a trap, and gives what takes it up again.
func (g *gate) lay(t *trap) (remove func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.traps = append(g.traps, t)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.traps = slices.DeleteFunc(g.traps, func(other *trap) bool { return other == t })
	}
}

// shut passes nothing more on, and returns when what has been passed on has
// been applied: of a dead task nothing more comes.
func (g *gate) shut(ctx context.Context) error {
	for {
		g.mu.Lock()
		g.closed = true
		under, changed := g.under, g.changed
		g.mu.Unlock()
		if under == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
