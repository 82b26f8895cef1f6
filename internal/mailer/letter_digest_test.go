package mailer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"testing"

	"postern/internal/mailer/smtptest"
)

// auditedDigest makes a message's digest again from its octets alone, with
// nothing of this package, as Message.Digest describes it.
func auditedDigest(t testing.TB, raw []byte) [sha256.Size]byte {
	t.Helper()
	var sums []byte
	add := func(piece []byte) {
		sum := sha256.Sum256(piece)
		sums = append(sums, sum[:]...)
	}
	for _, body := range attachmentBodies(t, raw) {
		// Behind the part's header, and in front of the delimiter.
		_, after, found := bytes.Cut(raw, slicesOf("\r\n\r\n", body, "\r\n--"))
		if !found {
			t.Fatalf("the body %q is not in the message", body)
		}
		behind := len(after) + len("\r\n--")
		add(raw[:len(raw)-behind-len(body)])
		add(body)
		raw = raw[len(raw)-behind:]
	}
	add(raw)
	return sha256.Sum256(sums)
}

func slicesOf(before string, body []byte, after string) []byte {
	return append(append([]byte(before), body...), after...)
}

// attachmentBodies gives the bodies of the parts with "Content-Disposition:
// attachment" as they stand.
func attachmentBodies(t testing.TB, raw []byte) [][]byte {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return partBodies(t, m.Header.Get("Content-Type"), m.Body)
}

func partBodies(t testing.TB, contentType string, body io.Reader) [][]byte {
	t.Helper()
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	if kind != "multipart/mixed" {
		return nil
	}
	var bodies [][]byte
	parts := multipart.NewReader(body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return bodies
		}
		octets, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		disposition, _, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if err == nil && disposition == "attachment" {
			bodies = append(bodies, octets)
		}
	}
}

// A stranger who has the message that the relay got makes the same digest.
func TestDigestCanBeMadeAgain(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, smtptest.Config{})
	s := dialRelay(t, relay)
	same := Attachment{Filename: "same.bin", Data: randomOctets(100)}
	for name, files := range map[string][]Attachment{
		"none":              nil,
		"one":               {{Filename: "a.bin", Data: randomOctets(5000)}},
		"short ones":        {{Filename: "a.txt", Data: []byte("short")}, {Filename: "b.txt", Data: []byte("shorter")}},
		"the same twice":    {same, same},
		"an empty one":      {{Filename: "a.bin", Data: randomOctets(300)}, {Filename: "empty.txt"}, {Filename: "c.bin", Data: randomOctets(57)}},
		"only an empty one": {{Filename: "empty.txt"}},
		"a mail":            {{Filename: "ä.eml", ContentType: "message/rfc822", Data: []byte("Content-Disposition: attachment\r\n\r\nbody\r\n--x--\r\n")}},
	} {
		c := aContent()
		c.HTML = "<p>Content-Disposition: attachment</p><p>{{first_name}}</p>" + c.HTML
		c.Attachments = files
		l := mustCompile(t, c)
		var m Message
		seen := map[[sha256.Size]byte]bool{}
		for _, first := range []string{"Ada", "Zoë", "Content-Disposition: attachment"} {
			if err := l.Render(&m, recipientOf(l, "ada@example.org", map[string]string{"first_name": first}), "id@example.com"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Send(t.Context(), mailOf(anEnvelope, &m), nil); err != nil {
				t.Fatal(err)
			}
			got := relay.Messages()
			raw := got[len(got)-1].Data
			if n := len(attachmentBodies(t, raw)); n != len(files) {
				t.Fatalf("%s: %d attachments found", name, n)
			}
			digest := m.Digest()
			if want := auditedDigest(t, raw); digest != want || digest != m.Digest() {
				t.Errorf("%s, %s: digest %x, want %x", name, first, digest, want)
			}
			seen[digest] = true
		}
		if len(seen) != 3 {
			t.Errorf("%s: %d digests of 3 messages", name, len(seen))
		}
	}
}

func TestDigestWithoutAttachments(t *testing.T) {
	t.Parallel()
	raw := "Subject: hello\r\n\r\nHello\r\n"
	once := sha256.Sum256([]byte(raw))
	if got, want := aMessage.Digest(), sha256.Sum256(once[:]); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}

// A digest stands in results for years: a change of the algorithm, or of a
// letter's octets, is a change for whoever keeps them.
func TestDigestStays(t *testing.T) {
	t.Parallel()
	c := aContent()
	c.Attachments = []Attachment{{Filename: "a.txt", ContentType: "text/plain", Data: bytes.Repeat([]byte("postern "), 100)}}
	l := mustCompile(t, c)
	var m Message
	if err := l.Render(&m, recipientOf(l, "ada@example.org", map[string]string{"first_name": "Ada"}), "id@example.com"); err != nil {
		t.Fatal(err)
	}
	digest := m.Digest()
	const want = "51fbc624b0881952350f34f0fb3cd34adb6b762c54d710da5efbbff9e3f21328"
	if got := hex.EncodeToString(digest[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
