package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
)

const password = "correct horse battery"

// guarded is a relay with STARTTLS and a password.
func guarded() smtptest.Config {
	return smtptest.Config{TLS: smtptest.StartTLS, Users: map[string]string{"postern": password}, MaxSize: 40 << 20}
}

func startRelay(t *testing.T, cfg smtptest.Config) *smtptest.Server {
	t.Helper()
	s, err := smtptest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// startAtVacant starts a relay at a port that nobody is given behind its end.
func startAtVacant(t *testing.T, cfg smtptest.Config) *smtptest.Server {
	t.Helper()
	addr, release, err := smtptest.Vacant()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	cfg.Addr = addr
	return startRelay(t, cfg)
}

// relayOf is a relay at an address of this machine, as a campaign would use it.
func relayOf(t *testing.T, host string, port int, roots *x509.CertPool) Relay {
	t.Helper()
	rules, err := mailer.ParseRules([]string{"127.0.0.0/8", "localhost"}, []int{port})
	if err != nil {
		t.Fatal(err)
	}
	return Relay{
		Relay: mailer.Relay{Host: host, Port: port, UseTLS: true, Username: "postern", Password: password},
		Session: mailer.Options{
			Rules: rules, RootCAs: roots, LocalName: "client.test", Timeouts: mailer.Timeouts{Longest: time.Minute},
		},
		Within: time.Minute, MaxAttachmentBytes: 25 << 20,
	}
}

func relayAt(t *testing.T, s *smtptest.Server) Relay {
	t.Helper()
	return relayOf(t, s.Host(), s.Port(), s.RootCAs())
}

// steps gives the states by name, and fails the test where a secret shows.
func steps(t *testing.T, c Check) map[string]Step {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{
		password, base64.StdEncoding.EncodeToString([]byte(password)),
		base64.StdEncoding.EncodeToString([]byte("\x00postern\x00" + password)),
	} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the password shows: %s", text)
		}
	}
	all := map[string]Step{}
	for _, s := range c.Steps {
		all[s.Name] = s
	}
	return all
}

func TestGoodRelay(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, guarded())
	r := relayAt(t, relay)
	r.From, r.To = "news@example.org", "ada@example.org"
	r.Session.Timeouts.Quit = r.Session.Timeouts.Longest // the relay's end is awaited
	c := CheckRelay(t.Context(), r)
	var names []string
	for _, s := range c.Steps {
		names = append(names, s.Name)
		if s.State != OK {
			t.Errorf("%s is %s: %s", s.Name, s.State, s.Detail)
		}
	}
	if want := "dns rules tcp greeting ehlo starttls auth size mail rcpt"; strings.Join(names, " ") != want || !c.OK {
		t.Errorf("steps %q of %+v", names, c)
	}
	if c.TLS == nil || !c.TLS.Verified || c.TLS.Version != "TLS 1.3" || c.TLS.Certificate.Issuer != "CN=smtptest authority" {
		t.Errorf("TLS %+v", c.TLS)
	}
	if c.Offer == nil || c.Offer.Size == nil || *c.Offer.Size != 40<<20 || len(c.Offer.Auth) != 3 {
		t.Errorf("offer %+v", c.Offer)
	}
	steps(t, c)
	relay.Close()
	stats := relay.Stats()
	if stats.Commands["DATA"] != 0 || stats.Commands["RSET"] != 1 || stats.Commands["QUIT"] != 1 || relay.Count() != 0 {
		t.Errorf("commands %v", stats.Commands)
	}
	if v := relay.Violations(); v.Total() != 0 {
		t.Errorf("violations %+v", v)
	}
}

// TestFaults: each fault is found at its step, with a hint that names what to
// look at; what is before it works and what is behind it is skipped.
func TestFaults(t *testing.T) {
	t.Parallel()
	certificate := func(o smtptest.CertificateOptions) *smtptest.Certificate {
		c, err := smtptest.NewCertificate(o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, tt := range map[string]struct {
		relay  func(*smtptest.Config)
		change func(*Relay)
		step   string
		state  State
		detail string
		hint   string
	}{
		"wrong password": {
			change: func(r *Relay) { r.Password = "wrong" + password },
			step:   "auth", detail: "AUTH PLAIN: 535", hint: "app password",
		},
		"no AUTH offered": {
			relay: func(c *smtptest.Config) { c.Users = nil },
			step:  "auth", detail: "does not offer AUTH", hint: "SMTP_USERNAME",
		},
		"unknown authority": {
			change: func(r *Relay) { r.Session.RootCAs = x509.NewCertPool() },
			step:   "starttls", detail: "issued by CN=smtptest authority", hint: "RELAY_CA_FILE",
		},
		"certificate of another name": {
			relay: func(c *smtptest.Config) {
				c.Certificate = certificate(smtptest.CertificateOptions{Hosts: []string{"other.test"}})
			},
			step: "starttls", detail: "for other.test", hint: "SMTP_SERVER",
		},
		"expired certificate": {
			relay: func(c *smtptest.Config) {
				c.Certificate = certificate(smtptest.CertificateOptions{
					NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().Add(-time.Hour),
				})
			},
			step: "starttls", detail: "expired", hint: "renewed",
		},
		"certificate that ends soon": {
			relay: func(c *smtptest.Config) {
				c.Certificate = certificate(smtptest.CertificateOptions{NotAfter: time.Now().Add(5 * 24 * time.Hour)})
			},
			step: "starttls", state: Warning, detail: "verified", hint: "in 4 days",
		},
		"no STARTTLS": {
			relay: func(c *smtptest.Config) { c.TLS = smtptest.NoTLS },
			step:  "starttls", detail: "does not offer STARTTLS", hint: "465",
		},
		"TLS turned off": {
			relay:  func(c *smtptest.Config) { c.Users = nil },
			change: func(r *Relay) { r.UseTLS, r.Username, r.Password = false, "", "" },
			step:   "starttls", state: Warning, detail: "in clear", hint: "SMTP_USE_TLS",
		},
		"plain text behind STARTTLS": {
			relay: func(c *smtptest.Config) {
				c.Hook = smtptest.At(smtptest.StageStartTLS, smtptest.Action{}.Inject("250 injected\r\n"))
			},
			step: "starttls", detail: "sent plain text", hint: "between",
		},
		"TLS 1.1 at most": {
			relay: func(c *smtptest.Config) {
				c.TLSConfig = func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }
			},
			step: "starttls", detail: "protocol version", hint: "TLS 1.2",
		},
		"turned away": {
			relay: func(c *smtptest.Config) {
				c.Hook = smtptest.At(smtptest.StageGreeting, smtptest.Reply("554 5.7.1 not from there"))
			},
			step: "greeting", detail: "554 5.7.1 not from there", hint: "NAT gateway",
		},
		"SIZE below a letter's": {
			relay:  func(c *smtptest.Config) { c.MaxSize = 1000 },
			change: func(r *Relay) { r.LetterBytes = 1001 },
			step:   "size", detail: "this letter has 1001", hint: "MAX_ATTACHMENT_BYTES",
		},
		"SIZE below the attachments'": {
			relay: func(c *smtptest.Config) { c.MaxSize = 30 << 20 },
			step:  "size", state: Warning, detail: "as base64", hint: "MAX_ATTACHMENT_BYTES",
		},
		"sender refused": {
			relay: func(c *smtptest.Config) {
				c.Hook = smtptest.At(smtptest.StageMail, smtptest.Reply("550 5.7.60 not permitted to send as this sender"))
			},
			step: "mail", detail: "550 5.7.60", hint: "sender",
		},
		"recipient refused": {
			relay: func(c *smtptest.Config) {
				c.Hook = smtptest.At(smtptest.StageRcpt, smtptest.Reply("554 5.7.1 Relay access denied"))
			},
			step: "rcpt", detail: "Relay access denied", hint: "own domains",
		},
		"login wanted": {
			change: func(r *Relay) { r.Username, r.Password = "", "" },
			step:   "mail", detail: "530", hint: "SMTP_USERNAME",
		},
		"sender that is no address": {
			change: func(r *Relay) { r.From = "a@b.test>\r\nRCPT TO:<c@d.test" },
			step:   "mail", detail: "address", hint: "news@example.org",
		},
		"not allowed": {
			change: func(r *Relay) { r.Session.Rules, _ = mailer.ParseRules(nil, []int{r.Port}) },
			step:   "rules", detail: "is loopback and not allowed", hint: "RELAY_ALLOW",
		},
		"port not allowed": {
			change: func(r *Relay) { r.Session.Rules, _ = mailer.ParseRules([]string{"127.0.0.1"}, []int{587}) },
			step:   "rules", detail: "RELAY_PORTS sets them", hint: "RELAY_PORTS",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := guarded()
			if tt.relay != nil {
				tt.relay(&cfg)
			}
			r := relayAt(t, startRelay(t, cfg))
			r.From, r.To = "news@example.org", "ada@example.org"
			if tt.change != nil {
				tt.change(&r)
			}
			if tt.state == "" {
				tt.state = Failed
			}
			holdFault(t, CheckRelay(t.Context(), r), Step{Name: tt.step, State: tt.state, Detail: tt.detail, Hint: tt.hint})
		})
	}
}

// holdFault holds a check to have one fault, at the step, with detail and hint
// in its own.
func holdFault(t *testing.T, c Check, want Step) {
	t.Helper()
	got := steps(t, c)[want.Name]
	if got.State != want.State || !strings.Contains(got.Detail, want.Detail) || !strings.Contains(got.Hint, want.Hint) {
		t.Errorf("step %+v\nwant  %+v", got, want)
	}
	if c.OK != (want.State != Failed) {
		t.Errorf("OK is %v: %+v", c.OK, c)
	}
	behind := false
	for _, s := range c.Steps {
		switch {
		case s.Name == want.Name:
			behind = true
		case behind && want.State == Failed && s.State != Skipped:
			t.Errorf("behind the fault: %+v", s)
		case !behind && s.State == Failed:
			t.Errorf("before the fault: %+v", s)
		}
	}
}

func TestClosedPort(t *testing.T) {
	t.Parallel()
	relay := startAtVacant(t, guarded())
	r := relayAt(t, relay)
	relay.Close()
	holdFault(t, CheckRelay(t.Context(), r), Step{Name: "tcp", State: Failed, Detail: "refuses connections", Hint: "SMTP_PORT"})
}

// TestDroppedPackets: what a security group does to a connection.
func TestDroppedPackets(t *testing.T) {
	t.Parallel()
	r := relayAt(t, startRelay(t, guarded()))
	r.Session.Timeouts.Connect = time.Nanosecond
	holdFault(t, CheckRelay(t.Context(), r), Step{
		Name: "tcp", State: Failed, Detail: "in time", Hint: "security group allows outbound TCP " + strconv.Itoa(r.Port),
	})
}

func TestHintsOfRoutes(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.ENETUNREACH, syscall.EHOSTUNREACH} {
		if hint := hintTCP(&mailer.Error{Err: cause}, mailer.Relay{}); !strings.Contains(hint, "route table") {
			t.Errorf("%v: %s", cause, hint)
		}
	}
}

// hole accepts connections and says nothing.
func hole(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			held = append(held, c)
		}
		for _, c := range held {
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().(*net.TCPAddr)
}

func TestBlackHole(t *testing.T) {
	t.Parallel()
	at := hole(t)
	r := relayOf(t, "127.0.0.1", at.Port, nil)
	r.Session.Timeouts.Greeting = 50 * time.Millisecond
	holdFault(t, CheckRelay(t.Context(), r), Step{
		Name: "greeting", State: Failed, Detail: "did not answer within 50ms", Hint: "load balancer",
	})
	// Long enough for the steps before, on a busy machine too.
	r.Session.Timeouts.Greeting, r.Session.Timeouts.Longest, r.Within = 0, 2*time.Minute, time.Second
	began := time.Now()
	holdFault(t, CheckRelay(t.Context(), r), Step{Name: "greeting", State: Failed, Detail: "as a whole may take 1s", Hint: "load balancer"})
	if took := time.Since(began); took > time.Minute {
		t.Errorf("bounded by a second, and took %s", took)
	}
}

func TestImplicitTLSAtAPortWithoutTLS(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{TLS: smtptest.ImplicitTLS})
	r := relayAt(t, relay)
	r.Session.Timeouts.Greeting = 100 * time.Millisecond
	holdFault(t, CheckRelay(t.Context(), r), Step{Name: "greeting", State: Failed, Hint: "465"})
}

// TestNames: all addresses of a name are shown, and one that no resolver knows
// is told apart from one that may not be asked for.
func TestNames(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, guarded())
	r := relayOf(t, "localhost", relay.Port(), relay.RootCAs())
	all := steps(t, CheckRelay(t.Context(), r))
	if s := all["dns"]; s.State != OK || !strings.Contains(s.Detail, "127.0.0.1") {
		t.Errorf("dns %+v", s)
	}
	if all["auth"].State != OK {
		t.Errorf("auth %+v", all["auth"])
	}
	r.Host = "127.1"
	all = steps(t, CheckRelay(t.Context(), r))
	if all["dns"].State != Skipped || all["rules"].State != Failed {
		t.Errorf("a host that is none: %+v", all)
	}
}

// TestDiscreet: who does not run the service learns of a name's addresses as
// far as the rules let them use it.
func TestDiscreet(t *testing.T) {
	t.Parallel()
	const both, refused, all = "127.0.0.1, ::1", "addresses that the rules for relays refuse", "127.0.0.0/8 ::1"
	for _, tt := range []struct {
		allow    string
		discreet bool
		want     string
	}{
		{"", true, "relay.test has " + refused},
		{"::1", true, "relay.test has ::1, and " + refused},
		{all, true, "relay.test has " + both},
		{"", false, "relay.test has " + both},
	} {
		r := relayOf(t, "relay.test", 587, nil)
		r.Discreet = tt.discreet
		r.Session.Rules, _ = mailer.ParseRules(strings.Fields(tt.allow), nil)
		p := &patient{Relay: r}
		if got := p.Host + " " + p.tell([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}); got != tt.want {
			t.Errorf("allowed %q, discreet %v: %q", tt.allow, tt.discreet, got)
		}
	}
}

func TestNoResolver(t *testing.T) {
	t.Parallel()
	r := relayOf(t, "mail.example.org", 587, nil)
	r.Session.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no way to the resolver")
	}}
	holdFault(t, CheckRelay(t.Context(), r), Step{Name: "dns", State: Failed, Detail: "no answer about mail.example.org", Hint: "enableDnsSupport"})
}

// TestNoPortScanner: of an address that the rules refuse nothing shows, whether
// a relay listens there or nothing does.
func TestNoPortScanner(t *testing.T) {
	t.Parallel()
	open := startRelay(t, guarded())
	closed := startAtVacant(t, guarded())
	closed.Close()
	told := func(s *smtptest.Server) string {
		r := relayAt(t, s)
		r.Session.Rules, _ = mailer.ParseRules([]string{"192.0.2.1"}, []int{s.Port()})
		c := CheckRelay(t.Context(), r)
		for i := range c.Steps {
			c.Steps[i].Milliseconds = 0
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(text), strconv.Itoa(s.Port()), "PORT")
	}
	if a, b := told(open), told(closed); a != b {
		t.Errorf("an open port is told apart from a closed one:\n%s\n%s", a, b)
	}
	open.Close()
	if n := open.Stats().Opened; n != 0 {
		t.Errorf("%d connections to an address that is refused", n)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	w := newWalk("relay mail.example.org:587")
	w.add("tcp", 1500*time.Microsecond, fine("connected\x1b[2J"))
	w.add("greeting", 0, failure("no answer", "Look there."))
	var b strings.Builder
	if err := Write(&b, []Check{w.check}); err != nil {
		t.Fatal(err)
	}
	want := `relay mail.example.org:587
  ok       tcp          1.5 ms  connected` + "\uFFFD" + `[2J
  FAILED   greeting             no answer
                                -> Look there.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
