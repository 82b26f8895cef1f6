package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// checkHealth runs `server healthcheck` as a container does.
func checkHealth(t *testing.T, env map[string]string) (said string, err error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "healthcheck")
	cmd.Env = append(os.Environ(), asServer+"=1")
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// newPair makes files with a certificate that is not for 127.0.0.1.
func newPair(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"postern.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestTLS: the server as a process, over TLS in both ways, with its health
// check.
func TestTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := newPair(t)
	for name, secure := range map[string]map[string]string{
		"self-signed": {"LISTEN_TLS": "self-signed", "TLS_NAMES": "postern.example"},
		"files":       {"LISTEN_TLS": "files", "TLS_CERT_FILE": certFile, "TLS_KEY_FILE": keyFile},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"DATA_DIR": filepath.Join(t.TempDir(), "data"), "LOG_LEVEL": "warn"}
			maps.Copy(env, secure)
			p := startProcess(t, env)
			if said, err := checkHealth(t, p.env); err != nil {
				t.Errorf("health check: %v, %s", err, said)
			}
			conn, err := tls.Dial("tcp", p.env["LISTEN_ADDR"], &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.ConnectionState().PeerCertificates[0].VerifyHostname("postern.example"); err != nil {
				t.Error(err)
			}
			_, err = tls.Dial("tcp", p.env["LISTEN_ADDR"], &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11})
			if err == nil {
				t.Error("TLS 1.1 is accepted")
			}
			other := maps.Clone(p.env)
			other["LISTEN_TLS"], other["TLS_NAMES"] = "files", ""
			other["TLS_CERT_FILE"], other["TLS_KEY_FILE"] = newPair(t)
			if said, err := checkHealth(t, other); err == nil || !strings.Contains(said, "TLS_CERT_FILE") {
				t.Errorf("another certificate than the file's passes: %v, %s", err, said)
			}
			p.kill(t)
			if _, err := checkHealth(t, p.env); err == nil {
				t.Error("a server that is dead passes")
			}
		})
	}
}
