package mailer

import (
	"context"
	"errors"
	"testing"

	"postern/internal/mailer/smtptest"
)

// TestOpeningGoesTheWayOfDial: the same commands, in the same order, and
// nothing else.
func TestOpeningGoesTheWayOfDial(t *testing.T) {
	t.Parallel()
	relay, to, opts := guardedRelay(t, smtptest.Config{})
	o, err := Open(t.Context(), to, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, is := o.TLS(); is {
		t.Error("TLS before STARTTLS")
	}
	if r, err := o.Greet(t.Context()); err != nil || r.Code != 220 {
		t.Errorf("greeting %v, %v", r, err)
	}
	if err := o.Hello(t.Context()); err != nil || !o.Offer().StartTLS || len(o.Offer().Auth) > 0 {
		t.Errorf("%+v, %v", o.Offer(), err)
	}
	if err := o.StartTLS(t.Context()); err != nil || o.Offer().StartTLS || len(o.Offer().Auth) == 0 {
		t.Errorf("%+v, %v", o.Offer(), err)
	}
	if _, is := o.TLS(); !is {
		t.Error("no TLS behind STARTTLS")
	}
	if m, err := o.Authenticate(t.Context()); err != nil || m != "PLAIN" {
		t.Errorf("%s, %v", m, err)
	}
	if _, err := o.MailFrom(t.Context(), "a@b.test", 1000); err != nil {
		t.Error(err)
	}
	if _, err := o.RcptTo(t.Context(), "c@d.test"); err != nil {
		t.Error(err)
	}
	if err := o.Reset(t.Context()); err != nil {
		t.Error(err)
	}
	o.Close()
	relay.Close()
	want := map[string]int{"EHLO": 2, "STARTTLS": 1, "AUTH": 1, "MAIL": 1, "RCPT": 1, "RSET": 1, "QUIT": 1}
	for command, n := range relay.Stats().Commands {
		if n != want[command] {
			t.Errorf("%s %d times, want %d", command, n, want[command])
		}
	}
	expectClean(t, relay)
}

func TestOpeningKeepsTheRules(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	opts := optionsFor(t, relay)
	opts.Rules, _ = ParseRules(nil, []int{relay.Port()})
	if _, err := Open(t.Context(), relayAt(relay), opts); !IsRefusal(err) {
		t.Errorf("loopback that is not allowed: %v", err)
	}
	relay.Close()
	if n := relay.Stats().Opened; n != 0 {
		t.Errorf("%d connections", n)
	}
	if _, err := Open(t.Context(), relayAt(relay), optionsFor(t, relay)); err == nil || IsRefusal(err) {
		t.Errorf("a closed port: %v", err)
	}
}

func TestOpeningEndsWithItsContext(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{Hook: smtptest.At(smtptest.StageGreeting, smtptest.Hang())})
	o, err := Open(t.Context(), relayAt(relay), optionsFor(t, relay))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := o.Greet(ctx); !errors.Is(err, context.Canceled) || asError(t, err).Text != "interrupted: enough" {
		t.Errorf("%v", err)
	}
}
