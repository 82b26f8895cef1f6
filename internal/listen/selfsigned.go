package listen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
)

// A self-signed certificate is valid for longer than tasks use to live, and
// made anew when the last third of that time begins.
const (
	selfSignedFor = 90 * 24 * time.Hour
	renewBefore   = selfSignedFor / 3
	// clockSkew is how much a client's clock may be behind.
	clockSkew = time.Hour
)

// selfSigned is a certificate that this process makes for itself. Nothing of it
// is written anywhere.
type selfSigned struct {
	hosts []string
	now   func() time.Time

	mu   sync.Mutex
	made *tls.Certificate
}

func newSelfSigned(addr string, further []string, now func() time.Time) (*selfSigned, error) {
	s := &selfSigned{hosts: append(ownNames(addr), further...), now: now}
	var err error
	s.made, err = s.make()
	return s, err
}

// ownNames are the names that the listener may be called by: the machine's,
// the address's own where it is not all of them, and loopback's.
func ownNames(addr string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && name != "" && ascii(name) {
		names = append(names, name)
	}
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && host != "" && (ip == nil || !ip.IsUnspecified()) {
		names = append(names, host)
	}
	return names
}

// ascii says whether a certificate can have the name.
func ascii(name string) bool {
	return strings.IndexFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

func (s *selfSigned) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Before(s.made.Leaf.NotAfter.Add(-renewBefore)) {
		return s.made, nil
	}
	made, err := s.make()
	if err != nil {
		return nil, err
	}
	s.made = made
	return made, nil
}

// make makes a key on P-256 and a certificate for it, which is its own
// authority: API Gateway, told to skip the verification of an integration's
// certificate, still wants the host's name in it, an authority (CA:TRUE,
// keyCertSign) and a date that holds. The errors are those of names that no
// certificate can have.
func (s *selfSigned) make() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the listener's key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280 section 4.1.2.2
	if err != nil {
		return nil, fmt.Errorf("make the listener's certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "postern"},
		NotBefore:             s.now().Add(-clockSkew),
		NotAfter:              s.now().Add(selfSignedFor),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	for _, name := range s.hosts {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("sign the listener's certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the listener's certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
