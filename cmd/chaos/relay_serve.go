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
	"time"
)

// relayHello is what the relay's process says first, as a line of JSON.
type relayHello struct {
	SMTP    int    // port, on 127.0.0.1
	Control string // base URL
}

// serveRelay is the relay's process: it serves until its input ends, as it
// does when the harness dies.
func serveRelay(seed uint64, in io.Reader, out io.Writer) error {
	r, err := startRelay(seed)
	if err != nil {
		return err
	}
	defer r.server.Close()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control := &http.Server{Handler: r.routes(), ReadHeaderTimeout: time.Minute}
	go func() { _ = control.Serve(listener) }()
	defer func() { _ = control.Close() }()
	hello := relayHello{SMTP: r.server.Port(), Control: "http://" + listener.Addr().String()}
	if err := json.NewEncoder(out).Encode(hello); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

func (r *relay) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /task", answer(func(_ context.Context, pid int) (bool, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pids = append(r.pids, pid)
		return true, nil
	}))
	mux.Handle("POST /gone", answer(func(_ context.Context, pid int) (bool, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pids = slices.DeleteFunc(r.pids, func(p int) bool { return p == pid })
		return true, nil
	}))
	mux.Handle("POST /order", answer(r.await))
	mux.Handle("POST /signal", answer(func(_ context.Context, s signalled) (strike, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if s.IfOpen && len(r.flights(s.PID)) == 0 {
			return strike{}, nil
		}
		return r.signal(s.PID, s.Deed), nil
	}))
	mux.Handle("POST /flights", answer(func(_ context.Context, pid int) ([]flight, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.flights(pid), nil
	}))
	mux.Handle("POST /settled", answer(r.settled))
	mux.Handle("POST /sky", answer(func(_ context.Context, sky []weather) (bool, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sky = sky
		return true, nil
	}))
	mux.Handle("POST /pace", answer(func(_ context.Context, pace time.Duration) (bool, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pace = pace
		return true, nil
	}))
	mux.Handle("POST /tally", answer(func(_ context.Context, from string) (tally, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		b := r.book(from)
		return tally{Messages: len(b.records), Recipients: len(b.times), Cuts: r.cuts[from]}, nil
	}))
	mux.Handle("POST /records", answer(r.records))
	mux.Handle("POST /limits", answer(r.limits))
	return mux
}

// answer serves a call whose input and output are JSON.
func answer[In, Out any](do func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var in In
		err := json.NewDecoder(req.Body).Decode(&in)
		var out Out
		if err == nil {
			out, err = do(req.Context(), in)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	})
}

// await carries an order out when its event comes. It is taken back when the
// caller does not wait any longer.
func (r *relay) await(ctx context.Context, o order) (strike, error) {
	s := &standing{order: o, struck: make(chan strike, 1)}
	r.mu.Lock()
	r.orders = append(r.orders, s)
	r.mu.Unlock()
	select {
	case done := <-s.struck:
		if done.PID == 0 {
			return done, errors.New("the task was gone already")
		}
		return done, nil
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		r.orders = slices.DeleteFunc(r.orders, func(other *standing) bool { return other == s })
		return strike{}, ctx.Err()
	}
}

// settled waits until a task has no connection any more: what it had written
// has been read then.
func (r *relay) settled(ctx context.Context, pid int) (bool, error) {
	for {
		r.mu.Lock()
		closed, has := r.closed, false
		for _, c := range r.conns {
			has = has || c.pid == pid
		}
		r.mu.Unlock()
		if !has {
			return true, nil
		}
		select {
		case <-closed:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

func (r *relay) records(_ context.Context, from string) ([]record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]record, 0, len(r.book(from).records))
	for _, rec := range r.book(from).records {
		all = append(all, *rec)
	}
	return all, nil
}

func (r *relay) limits(context.Context, struct{}) (limits, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stats := r.server.Stats()
	l := limits{Open: stats.Peak, Violations: r.server.Violations().Total(), Issuing: r.mostIssuing(), Second: r.mostInASecond()}
	taken := 0
	for _, b := range r.books {
		taken += len(b.records)
	}
	if taken != stats.Accepted {
		return l, fmt.Errorf("the relay has taken %d messages and the books have %d", stats.Accepted, taken)
	}
	return l, nil
}

func (r *relay) mostIssuing() (most int) {
	spans := slices.Clone(r.spans)
	for _, c := range r.conns {
		spans = append(spans, c.span)
	}
	var begins, ends []time.Time
	for _, s := range spans {
		begins, ends = append(begins, s.first), append(ends, s.last)
	}
	slices.SortFunc(begins, time.Time.Compare)
	slices.SortFunc(ends, time.Time.Compare)
	over := 0 // have ended before the connection at hand begins
	for i, begin := range begins {
		for over < len(ends) && ends[over].Before(begin) {
			over++
		}
		most = max(most, i+1-over)
	}
	return most
}

func (r *relay) mostInASecond() (most int) {
	var times []time.Time
	for _, b := range r.books {
		for _, rec := range b.records {
			times = append(times, rec.At)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	first := 0
	for i, at := range times {
		for at.Sub(times[first]) >= time.Second {
			first++
		}
		most = max(most, i+1-first)
	}
	return most
}
