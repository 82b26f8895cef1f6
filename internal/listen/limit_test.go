package listen_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"postern/internal/config"
)

func few(n int) func(*config.Config) {
	return func(c *config.Config) { c.MaxConnections = n }
}

func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// ask sends a request over a connection and reads the answer.
func ask(conn net.Conn) error {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// askOnce is ask over a connection of its own.
func askOnce(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	return ask(conn)
}

// TestSilentClientsGivePlace: connections that say nothing, that send half a
// request, that stop in a handshake or rest between requests keep nobody out,
// many more of them than there are places.
func TestSilentClientsGivePlace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		secure config.TLS
		begin  func(net.Conn) error
	}{
		"silent":          {config.TLS{Mode: config.TLSOff}, func(net.Conn) error { return nil }},
		"half a request":  {config.TLS{Mode: config.TLSOff}, func(c net.Conn) error { _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost:"); return err }},
		"half a hello":    {config.TLS{Mode: config.TLSSelfSigned}, func(c net.Conn) error { _, err := c.Write([]byte{22, 3, 1, 1, 0}); return err }},
		"between letters": {config.TLS{Mode: config.TLSOff}, ask},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const places = 4
			cfg, _ := serve(t, tt.secure, few(places))
			for range places {
				if err := tt.begin(connect(t, cfg.ListenAddr)); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 * places { // they wait in the queue, in front of us
				conn := connect(t, cfg.ListenAddr)
				if name != "between letters" {
					_ = tt.begin(conn)
				}
			}
			if err := healthy(t, cfg); err != nil {
				t.Errorf("kept out: %v", err)
			}
		})
	}
}

// TestOthersWait: connections with a request at work are not closed for others,
// and places are given back.
func TestOthersWait(t *testing.T) {
	t.Parallel()
	cfg, _ := serve(t, config.TLS{Mode: config.TLSOff}, few(2))
	errs := make(chan error)
	for range 20 {
		go func() {
			began := time.Now()
			err := askOnce(cfg.ListenAddr)
			// On a machine that stands still for the time that a client has, its
			// request may come, or be read, too late.
			for err != nil && time.Since(began) >= time.Second {
				began = time.Now()
				err = askOnce(cfg.ListenAddr)
			}
			if err != nil {
				err = fmt.Errorf("one of many: %w", err)
			}
			errs <- err
		}()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
