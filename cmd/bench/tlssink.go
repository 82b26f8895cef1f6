package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"time"
)

// tlsSink is a relay with STARTTLS and PIPELINING that takes all mail and
// keeps none, since smtp-sink speaks no TLS.
type tlsSink struct {
	net.Listener
	config *tls.Config
}

func startTLSSink(ctx context.Context, ready io.Writer) (io.Closer, error) {
	certificate, authority, err := ownCertificate()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &tlsSink{Listener: l, config: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}}
	go s.serve()
	return s, json.NewEncoder(ready).Encode(place{Addr: l.Addr().String(), Authority: authority})
}

// ownCertificate makes a certificate for 127.0.0.1 that has signed itself.
func ownCertificate() (certificate tls.Certificate, authority []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return certificate, nil, err
	}
	authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority, nil
}

func (s *tlsSink) serve() {
	for {
		conn, err := s.Accept()
		if err != nil {
			return
		}
		go s.talk(conn)
	}
}

// talk serves one connection, in clear until STARTTLS.
func (s *tlsSink) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	c := newSinkTalk(conn)
	c.say("220 sink.example ESMTP")
	err := c.take([]byte("250-sink.example\r\n250-PIPELINING\r\n250 STARTTLS"))
	if !errors.Is(err, errStartTLS) {
		return
	}
	secure := tls.Server(conn, s.config)
	_ = newSinkTalk(secure).take([]byte("250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME"))
}

// errStartTLS ends the talk in clear; its reply has been given.
var errStartTLS = errors.New("the client goes on in TLS")

// sinkTalk is one side of a conversation. Replies are written when there is
// nothing more to read, so that a group of commands has its replies in one
// record.
type sinkTalk struct {
	r *bufio.Reader
	w *bufio.Writer
}

func newSinkTalk(conn net.Conn) *sinkTalk {
	return &sinkTalk{r: bufio.NewReaderSize(conn, 64<<10), w: bufio.NewWriter(conn)}
}

func (c *sinkTalk) say(reply string) {
	_, _ = c.w.WriteString(reply + "\r\n") // an error stays with the writer
}

// take answers commands until the client ends them.
func (c *sinkTalk) take(hello []byte) error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		verb := string(bytes.ToUpper(line[:min(4, len(line))]))
		switch verb {
		case "EHLO", "HELO":
			c.say(string(hello))
		case "STAR":
			c.say("220 2.0.0 Go on")
			return errors.Join(errStartTLS, c.w.Flush())
		case "DATA":
			c.say("354 End with a dot")
			if err := c.content(); err != nil {
				return err
			}
			c.say("250 2.0.0 Ok")
		case "QUIT":
			c.say("221 2.0.0 Bye")
			return c.w.Flush()
		default:
			c.say("250 2.1.0 Ok")
		}
	}
}

// content reads to the final dot.
func (c *sinkTalk) content() error {
	for {
		line, err := c.line()
		if err != nil || string(line) == ".\r\n" {
			return err
		}
	}
}

// line reads a line, having written what is to be said before it waits.
func (c *sinkTalk) line() ([]byte, error) {
	if c.r.Buffered() == 0 {
		if err := c.w.Flush(); err != nil {
			return nil, err
		}
	}
	return c.r.ReadSlice('\n')
}
