package audit_test

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"postern/internal/audit"
	"postern/internal/campaign"
	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
)

func octets(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(out)
	return out
}

// TestMessageDigest takes messages as a relay got them over a socket, and makes
// the digests that the mailer made when it sent them.
func TestMessageDigest(t *testing.T) {
	t.Parallel()
	relay, err := smtptest.Start(smtptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	session := dial(t, relay)
	same := mailer.Attachment{Filename: "same.bin", Data: octets(100)}
	for name, files := range map[string][]mailer.Attachment{
		"no attachment": nil,
		"one":           {{Filename: "a.bin", Data: octets(5000)}},
		"several":       {{Filename: "a.txt", Data: []byte("short")}, {Filename: "empty.txt"}, {Filename: "b.bin", Data: octets(57)}},
		"twice":         {same, same},
		"a message":     {{Filename: "ä.eml", ContentType: "message/rfc822", Data: []byte("Content-Disposition: attachment\r\n\r\n--x\r\n")}},
	} {
		letter, err := mailer.Compile(mailer.Content{
			Subject: "Hello {{first_name}}", HTML: "<p>Content-Disposition: attachment</p>\n.\n<p>Dear {{first_name}}</p>",
			From: campaign.Mailbox{Name: "Sender", Address: "sender@example.com"}, Date: time.Now(), Attachments: files,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, first := range []string{"Ada", "Zoë"} {
			digest := send(t, session, letter, first)
			got := relay.Messages()
			raw := got[len(got)-1].Data
			if made, err := audit.MessageDigest(raw); err != nil || made != digest {
				t.Errorf("%s, to %s: %s, %v; the mailer's is %s", name, first, made, err, digest)
			}
			raw[len(raw)-3] ^= 1
			if made, err := audit.MessageDigest(raw); err == nil && made == digest {
				t.Errorf("%s, to %s: a changed message has the same digest", name, first)
			}
		}
	}
}

func dial(t *testing.T, relay *smtptest.Server) *mailer.Session {
	t.Helper()
	rules, err := mailer.ParseRules([]string{"127.0.0.0/8"}, []int{relay.Port()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := mailer.Dial(t.Context(), mailer.Relay{Host: relay.Host(), Port: relay.Port()}, mailer.Options{Rules: rules, LocalName: "client.test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func send(t *testing.T, s *mailer.Session, l *mailer.Letter, first string) campaign.Hash {
	t.Helper()
	r := campaign.Recipient{Address: "ada@example.org"}
	for _, field := range l.Fields() {
		value := ""
		if field == "first_name" {
			value = first
		}
		r.Values = append(r.Values, value)
	}
	var m mailer.Message
	if err := l.Render(&m, r, "id@example.com"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(t.Context(), &mailer.Mail{Envelope: mailer.Envelope{From: "sender@example.com", To: r.Address}, Message: &m}, nil); err != nil {
		t.Fatal(err)
	}
	return m.Digest()
}

// TestMessageDigestByHand: pieces that are cut by hand, of a message that no
// mailer of ours would write.
func TestMessageDigestByHand(t *testing.T) {
	t.Parallel()
	pieces := []string{
		"Subject: x\r\nContent-Type: multipart/mixed; boundary=\"out er\"\r\n\r\npreamble\r\n" +
			"--out er\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n" +
			"--inner\r\n\r\nno header\r\n--inner  \r\nContent-Disposition: attachment\r\n\r\n",
		"first\r\n--innermost\r\nstill the first",
		"\r\n--inner\r\nContent-Disposition: ATTACHMENT;\r\n filename=x\r\n\r\n",
		"",
		"\r\n--inner--\r\n\r\n--out er\r\nContent-Disposition: inline\r\n\r\nattachment\r\n--out er--\r\nepilogue\r\n--out er\r\n",
	}
	var sums []byte
	for _, p := range pieces {
		sum := sha256.Sum256([]byte(p))
		sums = append(sums, sum[:]...)
	}
	got, err := audit.MessageDigest([]byte(strings.Join(pieces, "")))
	if want := campaign.Hash(sha256.Sum256(sums)); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestMessageDigestFaults(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ raw, want string }{
		"LF only":          {"Subject: x\n\nHello\n", "CRLF"},
		"no boundary":      {"Content-Type: multipart/mixed\r\n\r\n", "no boundary"},
		"not closed":       {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n", "last delimiter"},
		"a damaged header": {"no colon\r\n\r\n", "header"},
	} {
		if _, err := audit.MessageDigest([]byte(c.raw)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want an error with %q", what, err, c.want)
		}
	}
}

func FuzzMessageDigest(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--\r\n"))
	f.Add(bytes.Repeat([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"), 30))
	f.Fuzz(func(t *testing.T, raw []byte) {
		first, err := audit.MessageDigest(raw)
		again, errAgain := audit.MessageDigest(raw)
		if first != again || (err == nil) != (errAgain == nil) {
			t.Errorf("%s, %v, then %s, %v", first, err, again, errAgain)
		}
	})
}
