package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Sizes of the proxy. What may be under way in one direction of a connection
// bounds its throughput to that much per delay, far above what loopback does.
const (
	proxyBlock  = 32 << 10
	proxyBlocks = 4096
)

// proxy hands on what it reads in each direction, each octet its delay later
// and nothing sooner or in larger bunches than it came. The connection itself
// is made without delay.
type proxy struct {
	net.Listener
	target  string
	delay   time.Duration
	blocks  sync.Pool
	serving sync.WaitGroup
}

func startProxy(ctx context.Context, s spec, ready io.Writer) (io.Closer, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{Listener: l, target: s.Addr, delay: s.Delay, blocks: sync.Pool{New: func() any { return new([proxyBlock]byte) }}}
	p.serving.Go(func() { p.serve(ctx) })
	return p, json.NewEncoder(ready).Encode(place{Addr: l.Addr().String()})
}

func (p *proxy) serve(ctx context.Context) {
	for {
		from, err := p.Accept()
		if err != nil {
			return
		}
		var d net.Dialer
		to, err := d.DialContext(ctx, "tcp", p.target)
		if err != nil {
			_ = from.Close()
			continue
		}
		go p.pass(to, from)
		go p.pass(from, to)
	}
}

// block is what one read brought. The last one of a direction has no octets.
type block struct {
	due    time.Time
	octets []byte
	memory *[proxyBlock]byte
}

// pass takes one direction of a connection to its end.
func (p *proxy) pass(to, from net.Conn) {
	queue := make(chan block, proxyBlocks)
	go p.read(from, queue)
	p.write(to, queue)
}

func (p *proxy) read(from net.Conn, queue chan<- block) {
	defer close(queue)
	for {
		memory, ok := p.blocks.Get().(*[proxyBlock]byte)
		if !ok {
			return
		}
		n, err := from.Read(memory[:])
		if n > 0 {
			queue <- block{due: time.Now().Add(p.delay), octets: memory[:n], memory: memory}
		}
		if err != nil {
			queue <- block{due: time.Now().Add(p.delay)}
			return
		}
	}
}

// write hands blocks on when they are due. When a direction has ended, or
// cannot be written to, the whole connection ends.
func (p *proxy) write(to net.Conn, queue <-chan block) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for b := range queue {
		if wait := time.Until(b.due); wait > 0 {
			timer.Reset(wait)
			<-timer.C
		}
		if len(b.octets) == 0 {
			_ = to.Close()
			continue
		}
		if _, err := to.Write(b.octets); err != nil {
			_ = to.Close() // and what still comes is dropped, so that the reader ends
		}
		p.blocks.Put(b.memory)
	}
}

// Close takes no more connections.
func (p *proxy) Close() error {
	err := p.Listener.Close()
	p.serving.Wait()
	return err
}

// proxyCheck is what was measured of the proxy: that it delays as it says, and
// does not stand in the way otherwise.
type proxyCheck struct {
	Delay            time.Duration // one way, as asked for
	Least, Mid, Most time.Duration // of round trips
	OctetsPerSecond  float64
}

// Numbers of the check.
const (
	proxyPings = 100
	proxyBulk  = 256 << 20
)

// checkProxy measures a proxy in front of a server of its own.
func checkProxy(ctx context.Context, delay time.Duration) (_ proxyCheck, err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return proxyCheck{}, err
	}
	defer func() { _ = l.Close() }()
	go echo(l)
	p, err := startHelper(ctx, spec{Kind: kindProxy, Addr: l.Addr().String(), Delay: delay})
	if err != nil {
		return proxyCheck{}, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.Addr)
	if err != nil {
		return proxyCheck{}, err
	}
	defer func() { _ = conn.Close() }()
	check, err := pingProxy(conn)
	if err != nil {
		return check, err
	}
	check.Delay = delay
	check.OctetsPerSecond, err = fillProxy(conn)
	return check, err
}

// echo gives back what it reads.
func echo(l net.Listener) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.Copy(conn, conn)
}

func pingProxy(conn net.Conn) (proxyCheck, error) {
	trips := make([]time.Duration, proxyPings)
	ball := make([]byte, 64)
	for i := range trips {
		began := time.Now()
		if _, err := conn.Write(ball); err != nil {
			return proxyCheck{}, err
		}
		if _, err := io.ReadFull(conn, ball); err != nil {
			return proxyCheck{}, err
		}
		trips[i] = time.Since(began)
	}
	slices.Sort(trips)
	return proxyCheck{Least: trips[0], Mid: trips[proxyPings/2], Most: trips[proxyPings-1]}, nil
}

// fillProxy sends a lot there and back.
func fillProxy(conn net.Conn) (octetsPerSecond float64, err error) {
	began := time.Now()
	written := make(chan error, 1)
	go func() {
		piece := make([]byte, 1<<20)
		var err error
		for n := 0; n < proxyBulk && err == nil; n += len(piece) {
			_, err = conn.Write(piece)
		}
		written <- err
	}()
	_, err = io.CopyN(io.Discard, conn, proxyBulk)
	return proxyBulk / time.Since(began).Seconds(), errors.Join(err, <-written)
}
