package mailer

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"net/smtp"
	"slices"
	"strings"
)

// authenticate proves the relay's user name and password. A secret crosses a
// connection without TLS only to this very machine; CRAM-MD5 (RFC 2195) shows
// none. AUTH is never skipped.
func (s *Session) authenticate() *Error {
	if len(s.ext.auth) == 0 {
		return s.refuse(StageAuth, fmt.Sprintf("relay %s does not offer AUTH%s, and a user name was given",
			s.relay.Addr(), s.withoutTLS()))
	}
	if strings.ContainsRune(s.relay.Username+s.relay.Password, 0) {
		return s.refuse(StageAuth, "the user name and the password must not have a NUL")
	}
	switch s.mechanism() {
	case "PLAIN":
		return s.authPlain()
	case "LOGIN":
		return s.authLogin()
	case "CRAM-MD5":
		return s.authCRAMMD5()
	default:
		return s.refuse(StageAuth, s.noMechanism())
	}
}

// mechanism chooses one that is offered and safe; "" when there is none.
func (s *Session) mechanism() string {
	order := []string{"CRAM-MD5"}
	switch {
	case s.tls:
		order = []string{"PLAIN", "LOGIN", "CRAM-MD5"}
	case s.toLoopback():
		order = []string{"CRAM-MD5", "PLAIN", "LOGIN"}
	}
	for _, m := range order {
		if slices.Contains(s.ext.auth, m) {
			return m
		}
	}
	return ""
}

func (s *Session) noMechanism() string {
	offered := strings.Join(s.ext.auth, ", ")
	if s.tls || s.toLoopback() {
		return fmt.Sprintf("relay %s offers AUTH %s only; Postern has PLAIN, LOGIN and CRAM-MD5", s.relay.Addr(), cleanText(offered))
	}
	return fmt.Sprintf("relay %s offers AUTH %s without TLS, which would show the password to the network: "+
		"turn TLS on (smtp_use_tls), or send without a user name", s.relay.Addr(), cleanText(offered))
}

func (s *Session) withoutTLS() string {
	if s.tls {
		return ""
	}
	return " without TLS"
}

// toLoopback: the other end is on this machine.
func (s *Session) toLoopback() bool {
	remote, err := netip.ParseAddrPort(s.raw.RemoteAddr().String())
	return err == nil && remote.Addr().Unmap().IsLoopback()
}

// authPlain is RFC 4616.
func (s *Session) authPlain() *Error {
	_, err := s.command(StageAuth, 2, "AUTH PLAIN "+encode64(plainResponse(s.relay)))
	return err
}

// authLogin is draft-murchison-sasl-login: user name and password in turn.
func (s *Session) authLogin() *Error {
	for _, line := range []string{"AUTH LOGIN", encode64(s.relay.Username)} {
		if _, err := s.command(StageAuth, 3, line); err != nil {
			return err
		}
	}
	_, err := s.command(StageAuth, 2, encode64(s.relay.Password))
	return err
}

func (s *Session) authCRAMMD5() *Error {
	r, err := s.command(StageAuth, 3, "AUTH CRAM-MD5")
	if err != nil {
		return err
	}
	challenge, cause := base64.StdEncoding.DecodeString(string(r.text))
	if cause != nil {
		return s.lost(StageAuth, fmt.Errorf("%w: its CRAM-MD5 challenge is not base64", errReplyMalformed))
	}
	response, cause := smtp.CRAMMD5Auth(s.relay.Username, s.relay.Password).Next(challenge, true)
	if cause != nil {
		return s.lost(StageAuth, cause)
	}
	// Not the password, but what it could be guessed from.
	s.replies.guard.add(string(response))
	s.replies.guard.add(encode64(string(response)))
	_, err = s.command(StageAuth, 2, encode64(string(response)))
	return err
}

func encode64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// plainResponse is what AUTH PLAIN sends, before base64 (RFC 4616).
func plainResponse(r Relay) string { return "\x00" + r.Username + "\x00" + r.Password }
