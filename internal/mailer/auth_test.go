package mailer

import (
	"net"
	"strings"
	"testing"

	"postern/internal/mailer/smtptest"
)

func TestEachMechanism(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		for _, useTLS := range []bool{true, false} {
			cfg := smtptest.Config{Mechanisms: []string{"GSSAPI", mechanism}, ClearAuth: !useTLS}
			relay, to, opts := guardedRelay(t, cfg)
			to.UseTLS = useTLS
			s, err := attempt(t.Context(), to, opts)
			if err != nil {
				t.Fatalf("%s, TLS %v: %v", mechanism, useTLS, err)
			}
			s.Close()
			if m := relay.Messages()[0]; m.User != "user" || m.TLS != useTLS {
				t.Errorf("%s, TLS %v: %+v", mechanism, useTLS, m)
			}

			to.Password = "wrong"
			_, err = Dial(t.Context(), to, opts)
			expectError(t, err, Error{Stage: StageAuth, Scope: ScopeCampaign, Code: 535, Enhanced: "5.7.8"})
			if n := relay.Stats().AuthFailures; n != 1 {
				t.Errorf("%s: %d failures: a wrong password must not be tried again", mechanism, n)
			}
		}
	}
}

// clearSession is one in clear to an address that a test cannot reach.
type remoteConn struct{ net.Conn }

func (remoteConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

func TestMechanismChoice(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	for _, c := range []struct {
		offered string
		tls     bool
		want    string
	}{
		{"CRAM-MD5 LOGIN PLAIN", true, "PLAIN"},
		{"CRAM-MD5 LOGIN", true, "LOGIN"},
		{"CRAM-MD5 XOAUTH2", true, "CRAM-MD5"},
		{"XOAUTH2", true, ""},
		{"CRAM-MD5 LOGIN PLAIN", false, "CRAM-MD5"},
		{"LOGIN PLAIN", false, ""},
	} {
		s := &Session{tls: c.tls, raw: remoteConn{here}, ext: extensions{auth: strings.Fields(c.offered)}}
		if got := s.mechanism(); got != c.want {
			t.Errorf("%s, TLS %v: %q, want %q", c.offered, c.tls, got, c.want)
		}
	}
}

// A password must not cross a network in clear, and the error says what to do.
func TestNoSecretInClear(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Users: map[string]string{"user": "secret"}, Mechanisms: []string{"PLAIN", "LOGIN"}})
	conn, err := net.Dial("tcp", relay.Addr())
	if err != nil {
		t.Fatal(err)
	}
	to := relayAt(relay)
	to.Username, to.Password = "user", "secret"
	opts := optionsFor(t, relay)
	s := newSession(to, opts, remoteConn{conn})
	defer s.Close()
	failure := s.open(opts)
	expectError(t, failure, Error{Stage: StageAuth, Scope: ScopeCampaign})
	if !strings.Contains(failure.Text, "smtp_use_tls") {
		t.Error(failure)
	}
	s.Quit()
	if n := relay.Stats().Commands["AUTH"]; n != 0 {
		t.Errorf("%d AUTH", n)
	}
}

func TestAuthIsNeverSkipped(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]smtptest.Config{
		"not offered":          {},
		"offered with TLS":     {TLS: smtptest.StartTLS, Users: map[string]string{"user": "secret"}},
		"no mechanism we have": {Users: map[string]string{"user": "secret"}, Mechanisms: []string{"XOAUTH2"}},
	} {
		relay := startRelay(t, cfg)
		to := relayAt(relay)
		to.Username, to.Password = "user", "secret"
		_, err := Dial(t.Context(), to, optionsFor(t, relay))
		expectError(t, err, Error{Stage: StageAuth, Scope: ScopeCampaign})
		if !strings.Contains(err.Error(), "AUTH") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	t.Parallel()
	echo := smtptest.At(smtptest.StageAuth, smtptest.Reply("535 5.7.8 not secret, nor c2VjcmV0"))
	relay, to, opts := guardedRelay(t, smtptest.Config{Hook: echo})
	_, err := Dial(t.Context(), to, opts)
	if text := err.Error(); strings.Contains(text, "secret") || strings.Contains(text, "c2VjcmV0") {
		t.Error(text)
	}
	to.Password = "a\x00b"
	relay.SetHook(nil)
	_, err = Dial(t.Context(), to, opts)
	expectError(t, err, Error{Stage: StageAuth, Scope: ScopeCampaign})
}

func TestBadChallenges(t *testing.T) {
	t.Parallel()
	for mechanism, reply := range map[string]string{"CRAM-MD5": "334 !!!", "LOGIN": "235 at once", "PLAIN": "334 more"} {
		_, to, opts := guardedRelay(t, smtptest.Config{
			Mechanisms: []string{mechanism}, Hook: smtptest.At(smtptest.StageAuth, smtptest.Reply(reply)),
		})
		_, err := Dial(t.Context(), to, opts)
		if e := asError(t, err); e.Stage != StageAuth || e.Scope != ScopeSession {
			t.Errorf("%s: %+v", mechanism, e)
		}
	}
}
