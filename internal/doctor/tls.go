package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/internal/mailer"
)

// expirySoon is how long before a certificate's end somebody should hear of
// it: time enough for an agency to have a new one signed.
const expirySoon = 21 * 24 * time.Hour

// Offer is what a relay offers in its answer to EHLO, behind TLS where there
// is TLS.
type Offer struct {
	StartTLS   bool     `json:"starttls"`
	Pipelining bool     `json:"pipelining"`
	SMTPUTF8   bool     `json:"smtputf8"`
	Size       *int64   `json:"size"` // octets of a message; nil where no limit is stated
	Auth       []string `json:"auth"` // mechanisms
}

func newOffer(o mailer.Offer) *Offer {
	out := &Offer{StartTLS: o.StartTLS, Pipelining: o.Pipelining, SMTPUTF8: o.SMTPUTF8, Auth: []string{}}
	for _, mechanism := range o.Auth {
		out.Auth = append(out.Auth, printable(mechanism))
	}
	if o.MaxSize > 0 {
		out.Size = &o.MaxSize
	}
	return out
}

// String names what is offered.
func (o *Offer) String() string {
	var parts []string
	for _, offered := range []struct {
		name string
		is   bool
	}{{"STARTTLS", o.StartTLS}, {"PIPELINING", o.Pipelining}, {"SMTPUTF8", o.SMTPUTF8}} {
		if offered.is {
			parts = append(parts, offered.name)
		}
	}
	if o.Size != nil {
		parts = append(parts, fmt.Sprintf("SIZE %d", *o.Size))
	}
	if len(o.Auth) > 0 {
		parts = append(parts, "AUTH "+strings.Join(o.Auth, " "))
	}
	if len(parts) == 0 {
		return "nothing that Postern uses"
	}
	return strings.Join(parts, ", ")
}

// TLS is how a connection is encrypted, or would have been: a certificate that
// did not hold is shown with what is wrong.
type TLS struct {
	Version     string       `json:"version,omitempty"` // such as "TLS 1.3"
	Cipher      string       `json:"cipher,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	// Verified: the certificate is the relay's, in time, and signed by an
	// authority that is trusted. Problem says why not.
	Verified bool   `json:"verified"`
	Problem  string `json:"problem,omitempty"`
}

// Certificate is what a person looks for in a certificate.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names"` // DNS names and IP addresses
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// Encryption describes a connection whose handshake has succeeded.
func Encryption(state tls.ConnectionState) *TLS {
	out := &TLS{Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite), Verified: true}
	if len(state.PeerCertificates) > 0 {
		out.Certificate = newCertificate(state.PeerCertificates[0])
	}
	return out
}

// refused describes a handshake that ended with a certificate that does not
// hold; nil where that was not why.
func refused(err error) *TLS {
	bad, is := errors.AsType[*tls.CertificateVerificationError](err)
	if !is {
		return nil
	}
	out := &TLS{Problem: printable(bad.Err.Error())}
	if len(bad.UnverifiedCertificates) > 0 {
		out.Certificate = newCertificate(bad.UnverifiedCertificates[0])
	}
	return out
}

func newCertificate(c *x509.Certificate) *Certificate {
	out := &Certificate{
		Subject: printable(c.Subject.String()), Issuer: printable(c.Issuer.String()), Names: []string{},
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
	}
	for _, name := range c.DNSNames {
		out.Names = append(out.Names, printable(name))
	}
	for _, ip := range c.IPAddresses {
		out.Names = append(out.Names, ip.String())
	}
	return out
}

// String is the certificate in a line.
func (c *Certificate) String() string {
	return fmt.Sprintf("certificate of %s for %s, issued by %s, valid until %s",
		c.Subject, strings.Join(c.Names, ", "), c.Issuer, c.NotAfter.Format(time.DateOnly))
}
