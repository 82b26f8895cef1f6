package mailer

import (
	"encoding/hex"
	"strings"
	"testing"

	"postern/internal/mailer/smtptest"
)

// TestGuard holds that a relay's text that repeats the password is left out,
// in whatever form and however cut, and that others are not.
func TestGuard(t *testing.T) {
	t.Parallel()
	const password = "Canary horse 42!"
	relay := Relay{Username: "user", Password: password}
	plain, sixty4 := encode64(plainResponse(relay)), encode64(password)
	for name, c := range map[string]struct {
		text string
		hide bool
	}{
		"nothing":                   {"", false},
		"its own words":             {"5.7.8 Error: authentication failed: (reason unavailable)", false},
		"the user name":             {"5.7.8 no such user: user", false},
		"a word of it, and no more": {"5.7.8 canary", false},
		"the password":              {"5.7.8 unknown password <" + password + ">", true},
		"in capitals":               {"5.7.8 " + strings.ToUpper(password), true},
		"AUTH PLAIN's line":         {"5.7.8 unknown command AUTH PLAIN " + plain, true},
		"AUTH LOGIN's line":         {"5.5.1 " + sixty4 + " is no command", true},
		"its end":                   {"5.5.1 ..." + plain[len(plain)-guardWindow:], true},
		"its middle":                {sixty4[4:4+guardWindow] + "...", true},
		"over two lines":            {"5.5.1 AUTH PLAIN " + plain[:9] + "\n5.5.1 " + plain[9:], true},
		"cut into small pieces":     {strings.Join(strings.Split(sixty4, ""), "\n"), true},
		"in hexadecimal":            {"5.5.1 " + strings.ToUpper(hex.EncodeToString([]byte(password))), true},
	} {
		r := rawReply{code: 535, text: []byte(c.text), guard: newGuard(relay)}.reply()
		if hidden := r.Text == leftOut; hidden != c.hide {
			t.Errorf("%s: %q became %q", name, c.text, r.Text)
		}
	}
	if r := (rawReply{code: 535, text: []byte("bad pw!"), guard: newGuard(Relay{Username: "u", Password: "pw!"})}).reply(); r.Text != leftOut {
		t.Errorf("a short password is in %q", r.Text)
	}
}

// TestGuardedRelay holds that a relay's text that repeats another relay's
// password is left out, whether or not it has one of its own.
func TestGuardedRelay(t *testing.T) {
	t.Parallel()
	other := Relay{Host: "default.test", Port: 587, Username: "postern", Password: "Canary horse 42!"}
	for _, ofItsOwn := range []bool{true, false} {
		relay, to, opts := guardedRelay(t, smtptest.Config{ClearAuth: true})
		if !ofItsOwn {
			to.Username, to.Password = "", ""
			relay.SetHook(smtptest.At(smtptest.StageMail, smtptest.Reply("550 5.7.1 not by "+encode64(plainResponse(other)))))
		} else {
			relay.SetHook(smtptest.At(smtptest.StageMail, smtptest.Reply("550 5.7.1 not by "+other.Password)))
		}
		said := func() string {
			s, err := Dial(t.Context(), to, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_, err = s.Send(t.Context(), mailOf(anEnvelope, aMessage), nil)
			return asError(t, err).Text
		}
		if text := said(); text == leftOut {
			t.Error("a password that nobody named is left out")
		}
		opts.Guarded = func() Relay { return other }
		if text := said(); text != leftOut {
			t.Errorf("the relay said %q", text)
		}
	}
}

// TestRelayRepeatsPassword holds it over the wire: for each mechanism at AUTH,
// and at any later stage.
func TestRelayRepeatsPassword(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		relay, to, opts := guardedRelay(t, smtptest.Config{Mechanisms: []string{mechanism}})
		echo := func(at smtptest.Stage) smtptest.Hook {
			return smtptest.At(at, smtptest.Reply("535-5.7.8 not "+encode64(to.Password), "535 5.7.8 nor "+encode64(plainResponse(to))))
		}
		relay.SetHook(echo(smtptest.StageAuth))
		_, err := Dial(t.Context(), to, opts)
		expectError(t, err, Error{Stage: StageAuth, Scope: ScopeCampaign, Code: 535, Enhanced: "5.7.8"})
		if text := asError(t, err).Text; text != leftOut {
			t.Errorf("AUTH %s: %q", mechanism, text)
		}
		for _, at := range []smtptest.Stage{smtptest.StageMail, smtptest.StageRcpt, smtptest.StageData, smtptest.StageDot} {
			relay.SetHook(nil)
			s, err := Dial(t.Context(), to, opts)
			if err != nil {
				t.Fatal(err)
			}
			relay.SetHook(echo(at))
			_, err = s.Send(t.Context(), mailOf(anEnvelope, aMessage), nil)
			if text := asError(t, err).Text; text != leftOut {
				t.Errorf("at %s: %q", at, text)
			}
			s.Close()
		}
		relay.SetHook(smtptest.At(smtptest.StageDot, smtptest.Reply("250 2.0.0 taken from user:secret")))
		s, err := Dial(t.Context(), to, opts)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.Send(t.Context(), mailOf(anEnvelope, aMessage), nil); err != nil || r.Text != leftOut {
			t.Errorf("the reply to the message: %+v, %v", r, err)
		}
		s.Close()
	}
}
