package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// postfixDir is where Debian keeps Postfix's test programs, which is in no
// ordinary user's PATH.
const postfixDir = "/usr/sbin"

// errNoPostfix says what to do.
var errNoPostfix = errors.New("smtp-sink and smtp-source of Postfix are needed: apt-get install postfix (Debian, Ubuntu; the mail system itself need not run)")

// postfix is Postfix's pair of test programs.
type postfix struct{ sink, source string }

func findPostfix() (p postfix, err error) {
	if p.sink, err = lookPostfix("smtp-sink"); err != nil {
		return p, err
	}
	p.source, err = lookPostfix("smtp-source")
	return p, err
}

func lookPostfix(name string) (string, error) {
	for _, candidate := range []string{name, postfixDir + "/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path, nil
		}
	}
	return "", errNoPostfix
}

// startSink starts smtp-sink, which takes all mail and keeps none.
func (p postfix) startSink(ctx context.Context) (addr string, stop func(), err error) {
	if addr, err = freeAddr(ctx); err != nil {
		return "", nil, err
	}
	args := []string{"-c", addr, "1000"}
	if os.Getuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	cmd := exec.CommandContext(ctx, p.sink, args...) //nolint:gosec // G204: found in PATH by its name
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed, which is no news
	}
	if err := awaitListener(ctx, addr); err != nil {
		stop()
		return "", nil, fmt.Errorf("smtp-sink: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return addr, stop, nil
}

// send has smtp-source put n messages of so many octets on the relay, over
// connections that it keeps.
func (p postfix) send(ctx context.Context, addr string, connections, n, octets int) (sample, error) {
	cmd := exec.CommandContext(ctx, p.source, "-d", //nolint:gosec // G204: found in PATH by its name
		"-s", strconv.Itoa(connections), "-m", strconv.Itoa(n), "-l", strconv.Itoa(octets),
		"-M", "client.example", "-f", sender, "-t", "reader@rcpt.example", addr)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	peak := watchMemory(ctx, cmd.Process.Pid)
	err := cmd.Wait()
	elapsed := time.Since(began)
	memory := peak()
	if err != nil {
		return sample{}, fmt.Errorf("smtp-source: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return sample{
		Messages: n, Elapsed: elapsed, PeakAnon: memory,
		CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(),
	}, nil
}

// calibrate says how many messages smtp-source sends in about the time.
func (p postfix) calibrate(ctx context.Context, addr string, c work, octets int, within time.Duration) (int, error) {
	const least = 250 * time.Millisecond
	for n := 4 * c.Connections; ; n *= 4 {
		s, err := p.send(ctx, addr, c.Connections, n, octets)
		if err != nil {
			return 0, err
		}
		if s.Elapsed >= least {
			return max(int(s.rate()*within.Seconds()), c.Connections), nil
		}
	}
}

func freeAddr(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// awaitListener dials until somebody listens.
func awaitListener(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
