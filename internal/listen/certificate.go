package listen

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"postern/internal/config"
)

// checkEvery is how often the files of a certificate are looked at, at most.
const checkEvery = time.Second

// pair is a certificate with its key as two files hold them, PEM both.
type pair struct{ certFile, keyFile string }

// content is what stands in a pair's files.
type content struct{ cert, key []byte }

func (c content) equal(other content) bool {
	return bytes.Equal(c.cert, other.cert) && bytes.Equal(c.key, other.key)
}

func (p pair) read() (c content, err error) {
	if c.cert, err = os.ReadFile(p.certFile); err != nil {
		return content{}, fmt.Errorf("TLS_CERT_FILE: %w", err)
	}
	if c.key, err = os.ReadFile(p.keyFile); err != nil {
		return content{}, fmt.Errorf("TLS_KEY_FILE: %w", err)
	}
	return c, nil
}

// parse makes the certificate that the content is, if a server may use it now.
// Its errors name the file that is at fault, and nothing of the key.
func (p pair) parse(c content, now time.Time) (*tls.Certificate, error) {
	for block, rest := pem.Decode(c.cert); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return nil, fmt.Errorf("TLS_CERT_FILE %s: %w", p.certFile, err)
			}
		}
	}
	made, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("TLS_CERT_FILE %s with TLS_KEY_FILE %s: %w", p.certFile, p.keyFile, err)
	}
	switch leaf := made.Leaf; {
	case now.Before(leaf.NotBefore):
		return nil, fmt.Errorf("TLS_CERT_FILE %s: the certificate is not valid before %s", p.certFile, leaf.NotBefore.Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("TLS_CERT_FILE %s: the certificate has expired at %s", p.certFile, leaf.NotAfter.Format(time.RFC3339))
	}
	return &made, nil
}

// filed is a certificate in files that may change.
type filed struct {
	pair pair
	now  func() time.Time
	log  zerolog.Logger

	current atomic.Pointer[tls.Certificate]

	// mu is held by whoever looks at the files. A handshake that finds it taken
	// goes on with the certificate in use: a volume that hangs holds up one
	// handshake, not all.
	mu      sync.Mutex
	used    content
	checked time.Time
	trouble string // what was logged last of files that cannot be used
}

func newFiled(t config.TLS, now func() time.Time, log zerolog.Logger) (*filed, error) {
	f := &filed{pair: pair{t.CertFile, t.KeyFile}, now: now, log: log, checked: now()}
	var err error
	if f.used, err = f.pair.read(); err != nil {
		return nil, err
	}
	made, err := f.pair.parse(f.used, now())
	if err != nil {
		return nil, err
	}
	f.current.Store(made)
	return f, nil
}

func (f *filed) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if f.mu.TryLock() {
		defer f.mu.Unlock()
		if now := f.now(); now.Sub(f.checked) >= checkEvery {
			f.checked = now
			f.reload(now)
		}
	}
	return f.current.Load(), nil
}

// reload takes what the files hold, if it is new and can be used. What cannot
// be used is tried again at the next look: the other file of the pair may
// follow, or its first day come.
func (f *filed) reload(now time.Time) {
	c, err := f.pair.read()
	if err == nil && c.equal(f.used) {
		f.trouble = ""
		return
	}
	var made *tls.Certificate
	if err == nil {
		made, err = f.pair.parse(c, now)
	}
	if err != nil {
		if f.trouble != err.Error() {
			f.trouble = err.Error()
			f.log.Error().Err(err).Msg("the listener's new certificate cannot be used; the former one stays")
		}
		return
	}
	f.used, f.trouble = c, ""
	f.current.Store(made)
	f.log.Info().Str("file", f.pair.certFile).Time("until", made.Leaf.NotAfter).Msg("the listener has a new certificate")
}
