package mailer

import (
	"strings"
	"testing"

	"postern/internal/mailer/smtptest"
)

// BenchmarkSend sends messages of 2 KB, and of 1 MB, over one session. The
// relay runs in the same process, so its work and its allocations (a few for
// each message) are in the figures.
func BenchmarkSend(b *testing.B) {
	small := message("Subject: hello\n\n" + strings.Repeat(strings.Repeat("x", 70)+"\n", 28))
	for _, c := range []struct {
		name string
		cfg  smtptest.Config
		msg  *Message
	}{
		{"2KB", smtptest.Config{}, small},
		{"2KB without PIPELINING", smtptest.Config{Extensions: []string{}}, small},
		{"2KB with TLS", smtptest.Config{TLS: smtptest.StartTLS}, small},
		{"1MB", smtptest.Config{}, largeMessage(1)},
		{"1MB with TLS", smtptest.Config{TLS: smtptest.StartTLS}, largeMessage(1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.cfg.DigestOnly = true
			relay := startRelay(b, c.cfg)
			to := relayAt(relay)
			to.UseTLS = c.cfg.TLS == smtptest.StartTLS
			s, err := Dial(b.Context(), to, optionsFor(b, relay))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Quit()
			b.SetBytes(c.msg.Size())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Send(b.Context(), anEnvelope, c.msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
