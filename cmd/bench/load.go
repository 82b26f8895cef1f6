package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"postern/internal/client"
)

// latencies are of one kind of request.
type latencies struct {
	Request        string
	PerSecond      int
	Count          int
	P50, P99, Most time.Duration
}

// at is the time within which the share of the requests was answered, of the
// sorted times of all.
func at(share float64, took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	return took[min(int(share*float64(len(took))), len(took)-1)]
}

// asker makes requests of one kind at a steady pace, whether or not the
// earlier ones are answered; the time of each counts from when it was due.
type asker struct {
	latencies
	ask func(ctx context.Context) error

	mu    sync.Mutex
	took  []time.Duration
	fault error
}

// run asks until the context ends, and then waits for the answers that are out.
func (a *asker) run(ctx context.Context) {
	// The answers that are out at the end are waited for.
	asking := context.WithoutCancel(ctx)
	tick := time.NewTicker(time.Second / time.Duration(a.PerSecond))
	defer tick.Stop()
	var out sync.WaitGroup
	defer out.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case due := <-tick.C:
			out.Go(func() { a.note(due, a.ask(asking)) })
		}
	}
}

func (a *asker) note(due time.Time, err error) {
	took := time.Since(due)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.fault = fmt.Errorf("%s: %w", a.Request, err)
		return
	}
	a.took = append(a.took, took)
}

// startIdle starts an HTTP server that does nothing. What it takes to answer
// is what the machine and the asking take.
func startIdle(ctx context.Context, ready io.Writer) (io.Closer, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	web := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }),
	}
	go func() { _ = web.Serve(l) }()
	return web, json.NewEncoder(ready).Encode(place{Addr: l.Addr().String()})
}

// underLoad sends a campaign at full speed while the API is asked as a busy
// front end would, and beside it a server that does nothing.
func (s *server) underLoad(ctx context.Context, contacts int) (_ sample, _ []latencies, err error) {
	idle, err := startHelper(ctx, spec{Kind: kindIdle})
	if err != nil {
		return sample{}, nil, err
	}
	defer func() { err = errors.Join(err, idle.Close()) }()
	nothing := client.Client{Base: "http://" + idle.Addr}
	var askers []*asker
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	sent, err := s.campaign(ctx, letterTo(0), contacts, func(id string) {
		askers = s.askers(id, nothing)
		for _, a := range askers {
			group.Go(func() { a.run(asking) })
		}
	})
	stop()
	group.Wait()
	if err != nil {
		return sample{}, nil, err
	}
	return sent, gather(askers), faultOf(askers)
}

func (s *server) askers(id string, nothing client.Client) []*asker {
	return []*asker{
		{latencies: latencies{Request: "GET /campaign-status/{id}", PerSecond: 50}, ask: func(ctx context.Context) error {
			_, err := s.Status(ctx, id)
			return err
		}},
		{latencies: latencies{Request: "GET /contacts?limit=100", PerSecond: 10}, ask: func(ctx context.Context) error {
			return s.Call(ctx, http.MethodGet, "contacts?limit=100", nil, nil)
		}},
		{latencies: latencies{Request: "POST /smtp-campaign to 10 contacts", PerSecond: 2}, ask: func(ctx context.Context) error {
			_, err := s.Submit(ctx, letterTo(0, firstReaders(10)...))
			return err
		}},
		{latencies: latencies{Request: "GET of an idle server", PerSecond: 50}, ask: func(ctx context.Context) error {
			return nothing.Call(ctx, http.MethodGet, "", nil, nil)
		}},
	}
}

func firstReaders(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("reader%07d@rcpt.example", i))
	}
	return list
}

func gather(askers []*asker) (all []latencies) {
	for _, a := range askers {
		slices.Sort(a.took)
		l := a.latencies
		l.Count, l.P50, l.P99, l.Most = len(a.took), at(0.5, a.took), at(0.99, a.took), at(1, a.took)
		all = append(all, l)
	}
	return all
}

func faultOf(askers []*asker) error {
	for _, a := range askers {
		if a.fault != nil {
			return a.fault
		}
	}
	return nil
}
