package listen_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"postern/internal/config"
	"postern/internal/listen"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// authored is a certificate that signs itself, in PEM.
type authored struct{ cert, key []byte }

func certificate(t *testing.T, name string, from, to time.Time) authored {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: from, NotAfter: to, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return authored{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
}

func valid(t *testing.T, name string) authored {
	t.Helper()
	return certificate(t, name, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

// files is a pair of files, as TLS_CERT_FILE and TLS_KEY_FILE.
func files(t *testing.T, a authored) config.TLS {
	t.Helper()
	dir := t.TempDir()
	f := config.TLS{Mode: config.TLSFiles, CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	write(t, f.CertFile, a.cert)
	write(t, f.KeyFile, a.key)
	return f
}

// write changes a file at once: nobody reads half of it.
func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// logs is what was logged.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve answers with "here" on a listener until the test ends.
func serve(t *testing.T, secure config.TLS, change ...func(*config.Config)) (cfg config.Config, log *logs) {
	t.Helper()
	cfg, log = config.Config{ListenAddr: "127.0.0.1:0", TLS: secure, MaxConnections: 100}, &logs{}
	for _, c := range change {
		c(&cfg)
	}
	l, err := listen.Open(t.Context(), cfg, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ListenAddr = l.Addr().String()
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }),
		ConnState:         l.ConnState,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          nil,
	}
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = server.Close(); ended.Wait() })
	return cfg, log
}

// client trusts what it is told to, under the name.
func client(t *testing.T, a authored, name string) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func get(c *http.Client, address string) (*http.Response, error) {
	resp, err := c.Get(address)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "here" {
		return nil, errors.Join(err, errors.New("answer "+string(body)))
	}
	return resp, nil
}

func TestVersions(t *testing.T) {
	t.Parallel()
	a := valid(t, "postern.example")
	cfg, _ := serve(t, files(t, a))
	for version, accepted := range map[uint16]bool{
		tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
	} {
		c := client(t, a, "postern.example")
		secure := c.Transport.(*http.Transport).TLSClientConfig
		secure.MinVersion, secure.MaxVersion = version, version
		resp, err := get(c, "https://"+cfg.ListenAddr)
		if (err == nil) != accepted {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil && (resp.ProtoMajor != 1 || resp.TLS.Version != version) {
			t.Errorf("%s: %s over %s", tls.VersionName(version), resp.Proto, tls.VersionName(resp.TLS.Version))
		}
	}
	if resp, err := http.Get("http://" + cfg.ListenAddr); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: %v, %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
}

// TestReload changes the certificate while clients come and go: each of them is
// served, with the one or the other, and soon with the new one.
func TestReload(t *testing.T) {
	t.Parallel()
	before, after := valid(t, "postern.example"), valid(t, "postern.example")
	pair := files(t, before)
	cfg, log := serve(t, pair)
	both := client(t, authored{cert: append(append([]byte(nil), before.cert...), after.cert...)}, "postern.example")
	ctx, stop := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	for range 4 {
		traffic.Go(func() {
			for ctx.Err() == nil {
				if _, err := get(both, "https://"+cfg.ListenAddr); err != nil {
					t.Errorf("during the change: %v", err)
				}
			}
		})
	}
	write(t, pair.CertFile, after.cert) // with the former key for a while: no pair
	eventually(t, "a complaint about half a change", func() bool { return strings.Contains(log.String(), pair.KeyFile) })
	write(t, pair.KeyFile, after.key)
	onlyNew := client(t, after, "postern.example")
	eventually(t, "the new certificate", func() bool { _, err := get(onlyNew, "https://"+cfg.ListenAddr); return err == nil })
	stop()
	traffic.Wait()
	if n := strings.Count(log.String(), "cannot be used"); n != 1 {
		t.Errorf("complained %d times:\n%s", n, log)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("there is not %s in time", what)
		}
	}
}

// unusable are pairs with the file that is at fault.
func unusable(t *testing.T) map[string]struct {
	a        authored
	key      bool // the key's file is named
	mentions string
} {
	t.Helper()
	one, other := valid(t, "postern.example"), valid(t, "postern.example")
	now := time.Now()
	type fault = struct {
		a        authored
		key      bool
		mentions string
	}
	return map[string]fault{
		"another's key":  {authored{one.cert, other.key}, true, "does not match"},
		"no certificate": {authored{[]byte("-----BEGIN"), one.key}, false, "PEM"},
		"no key":         {authored{one.cert, nil}, true, "PEM"},
		"broken chain":   {authored{append(append([]byte(nil), one.cert...), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})...), one.key}, false, "x509"},
		"expired":        {certificate(t, "postern.example", now.Add(-2*time.Hour), now.Add(-time.Hour)), false, "expired"},
		"not yet valid":  {certificate(t, "postern.example", now.Add(time.Hour), now.Add(2*time.Hour)), false, "not valid before"},
	}
}

// TestUnusableAtStart: the server does not start, and says why.
func TestUnusableAtStart(t *testing.T) {
	t.Parallel()
	for name, tt := range unusable(t) {
		pair := files(t, tt.a)
		_, err := listen.Open(t.Context(), config.Config{ListenAddr: "127.0.0.1:0", TLS: pair, MaxConnections: 1}, zerolog.Nop())
		named := pair.CertFile
		if tt.key {
			named = pair.KeyFile
		}
		if err == nil || !strings.Contains(err.Error(), named) || !strings.Contains(err.Error(), tt.mentions) {
			t.Errorf("%s: %v; want an error about %s with %q", name, err, named, tt.mentions)
		}
	}
	gone := config.TLS{Mode: config.TLSFiles, CertFile: filepath.Join(t.TempDir(), "none.pem"), KeyFile: "none"}
	if _, err := listen.Open(t.Context(), config.Config{ListenAddr: "127.0.0.1:0", TLS: gone}, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "TLS_CERT_FILE") {
		t.Errorf("no file: %v", err)
	}
}

// TestUnusableLater: the former certificate stays, the log names the file, and
// the health check does not take the server for dead.
func TestUnusableLater(t *testing.T) {
	t.Parallel()
	for name, tt := range unusable(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := valid(t, "postern.example")
			pair := files(t, good)
			cfg, log := serve(t, pair)
			c := client(t, good, "postern.example")
			write(t, pair.CertFile, tt.a.cert)
			write(t, pair.KeyFile, tt.a.key)
			eventually(t, "a complaint", func() bool {
				if _, err := get(c, "https://"+cfg.ListenAddr); err != nil {
					t.Fatalf("the former certificate is gone: %v", err)
				}
				return strings.Contains(log.String(), tt.mentions) && strings.Contains(log.String(), pair.CertFile)
			})
			if err := healthy(t, cfg); err != nil {
				t.Errorf("health check: %v", err)
			}
			if strings.Contains(log.String(), "PRIVATE") {
				t.Error("the log has a key")
			}
		})
	}
}

// TestSelfSigned: the certificate is for the machine, the address and the names
// that were asked for, and has what API Gateway looks at.
func TestSelfSigned(t *testing.T) {
	t.Parallel()
	cfg, _ := serve(t, config.TLS{Mode: config.TLSSelfSigned, Names: []string{"postern.elb.example", "10.1.2.3"}},
		func(c *config.Config) { c.ListenAddr = "127.0.0.2:0" })
	conn, err := tls.Dial("tcp", cfg.ListenAddr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	leaf := conn.ConnectionState().PeerCertificates[0]
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postern.elb.example", "10.1.2.3", "127.0.0.2", "127.0.0.1", "::1", "localhost", machine} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("key %T", leaf.PublicKey)
	}
	if !leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign == 0 || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		t.Errorf("CA %t, key usage %b", leaf.IsCA, leaf.KeyUsage)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "postern.elb.example"}, DisableKeepAlives: true}}
	if _, err := get(c, "https://"+cfg.ListenAddr); err != nil {
		t.Errorf("who trusts it: %v", err)
	}
	if err := healthy(t, cfg); err != nil {
		t.Errorf("health check: %v", err)
	}
}

// healthy does what `server healthcheck` does.
func healthy(t *testing.T, cfg config.Config) error {
	t.Helper()
	address, dial, err := listen.HealthCheck(cfg, "/healthz")
	if err != nil {
		return err
	}
	c := &http.Client{Transport: &http.Transport{DialTLSContext: dial, DisableKeepAlives: true}, Timeout: 20 * time.Second}
	_, err = get(c, address)
	return err
}

func TestHealthCheck(t *testing.T) {
	t.Parallel()
	plain, _ := serve(t, config.TLS{Mode: config.TLSOff})
	if err := healthy(t, plain); err != nil {
		t.Errorf("without TLS: %v", err)
	}
	pair := files(t, valid(t, "postern.example")) // not for 127.0.0.1
	filed, _ := serve(t, pair, func(c *config.Config) { c.ListenAddr = "0.0.0.0:0" })
	_, port, err := net.SplitHostPort(filed.ListenAddr)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{":" + port, "0.0.0.0:" + port, "[::]:" + port, "localhost:" + port} {
		filed.ListenAddr = addr
		if err := healthy(t, filed); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	// Somebody else on the port, with a certificate that is valid, too.
	filed.TLS = files(t, valid(t, "postern.example"))
	if err := healthy(t, filed); err == nil || !strings.Contains(err.Error(), "TLS_CERT_FILE") {
		t.Errorf("another's certificate: %v", err)
	}
	filed.TLS = config.TLS{Mode: config.TLSSelfSigned}
	filed.ListenAddr = plain.ListenAddr
	if healthy(t, filed) == nil {
		t.Error("a listener without TLS passes for one with")
	}
}
