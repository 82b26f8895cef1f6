package mailer

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"postern/internal/mailer/smtptest"
)

func TestDialRefusesByRules(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	for name, c := range map[string]struct {
		host  string
		rules Rules
		text  string
	}{
		"address": {"127.0.0.1", mustRules(t, []int{relay.Port()}), "RELAY_ALLOW"},
		"port":    {"127.0.0.1", mustRules(t, nil, "127.0.0.1"), "RELAY_PORTS"},
		"number":  {"2130706433", mustRules(t, []int{relay.Port()}, "127.0.0.1"), "usual form"},
	} {
		_, err := Dial(t.Context(), Relay{Host: c.host, Port: relay.Port()}, Options{Rules: c.rules})
		expectError(t, err, Error{Stage: StageDial, Scope: ScopeCampaign})
		if !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", name, err, c.text)
		}
	}
	if n := relay.Stats().Opened; n != 0 {
		t.Errorf("%d connections", n)
	}
}

// nameServer answers A queries from a table; names that are not in it do not
// exist.
func nameServer(t *testing.T, table map[string][4]byte) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = pc.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(answerTo(t, buf[:n], table), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func answerTo(t *testing.T, query []byte, table map[string][4]byte) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		t.Error(err)
		return nil
	}
	q := m.Questions[0]
	ip, known := table[q.Name.String()]
	m.Response, m.RecursionAvailable = true, true
	m.Additionals = nil
	switch {
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	case ip == [4]byte{}:
		m.RCode = dnsmessage.RCodeServerFailure
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: ip},
		}}
	}
	packed, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return packed
}

// What counts is the address that a name leads to when it is dialled.
func TestDialChecksTheFinalAddress(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	resolver := nameServer(t, map[string][4]byte{
		"rebound.test.":  {127, 0, 0, 1},
		"metadata.test.": {169, 254, 169, 254},
		"broken.test.":   {},
	})
	ports := []int{relay.Port()}
	for name, c := range map[string]struct {
		host  string
		rules Rules
		want  Error
		text  string
	}{
		"a name that leads here": {
			"rebound.test", mustRules(t, ports), Error{Stage: StageDial, Scope: ScopeCampaign}, "is loopback",
		},
		"an allowed name that leads to the metadata service": {
			"metadata.test", mustRules(t, ports, "metadata.test"), Error{Stage: StageDial, Scope: ScopeCampaign}, "never",
		},
		"no such name": {
			"nowhere.test", mustRules(t, ports), Error{Stage: StageDial, Scope: ScopeRelay, Temporary: true}, "no host nowhere.test",
		},
		"name server fails": {
			"broken.test", mustRules(t, ports), Error{Stage: StageDial, Scope: ScopeRelay, Temporary: true}, "broken.test",
		},
	} {
		_, err := Dial(t.Context(), Relay{Host: c.host, Port: relay.Port()}, Options{Rules: c.rules, Resolver: resolver})
		expectError(t, err, c.want)
		if !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", name, err, c.text)
		}
	}

	allowed := Options{Rules: mustRules(t, ports, "Rebound.test"), Resolver: resolver}
	s, err := Dial(t.Context(), Relay{Host: "rebound.test", Port: relay.Port()}, allowed)
	if err != nil {
		t.Fatal(err)
	}
	s.Quit()
}

func TestDialRefused(t *testing.T) {
	t.Parallel()
	// Nobody listens there; a port that was free a moment ago may be another test's.
	to := Relay{Host: "127.0.0.1", Port: 1}
	_, err := Dial(t.Context(), to, Options{Rules: mustRules(t, []int{1}, "127.0.0.1")})
	expectError(t, err, Error{Stage: StageDial, Scope: ScopeRelay, Temporary: true})
	if !strings.Contains(err.Error(), "refuses connections") {
		t.Error(err)
	}
}

func TestDialTimeout(t *testing.T) {
	t.Parallel()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done() // a name server that never answers
		return nil, ctx.Err()
	}}
	opts := Options{Resolver: resolver, Timeouts: Timeouts{Connect: 50 * time.Millisecond}}
	_, err := Dial(t.Context(), Relay{Host: "relay.test", Port: 587}, opts)
	expectError(t, err, Error{Stage: StageDial, Scope: ScopeRelay, Temporary: true})

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	opts.Timeouts = Timeouts{}
	_, err = Dial(ctx, Relay{Host: "relay.test", Port: 587}, opts)
	expectError(t, err, Error{Stage: StageDial, Scope: ScopeSession, Temporary: true})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
