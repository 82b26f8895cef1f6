package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// recipients is the size of the campaign of TestCampaign: small in the
// everyday run, 10,000 in `make acceptance`.
var recipients = flag.Int("recipients", 60, "recipients of TestCampaign")

// names are what breaks careless programs.
var names = []string{
	"Ada", "Zoë", "Иван", "伟", "فاطمة", "דוד", "प्रिया", "สมชาย", "🌊 Dana", "O'Brien", `Robert "Bob"`,
	"<b>Bold</b>", "Smith & Sons", "", "{{email}}", "a=b?=", "=?utf-8?q?x?=", ".dot", "-dash", "comma, Ltd.", "(paren)", `back\slash`,
	"Nguyễn Thị Lan", strings.Repeat("long", 30), strings.Repeat("長", 40), "trailing ", "semi;colon", "at@sign", "%s%n", "tab\there",
}

func people(n int) []client.Contact {
	contacts := make([]client.Contact, n)
	for i := range contacts {
		contacts[i] = client.Contact{
			"email":      fmt.Sprintf("Person.%d@example.org", i),
			"first_name": names[i%len(names)],
			"last_name":  names[(i/len(names)+i+7)%len(names)],
			"company":    names[(i*5+3)%len(names)],
		}
	}
	return contacts
}

const letterBody = `<html><body><h1>Hello {{first_name}} {{last_name}}</h1>
<p>of <em>{{ company | default: "no company" }}</em>, this went to {{email}}.</p></body></html>`

// caught checks each message while the relay takes it, with a MIME parser
// that is not Postern's, and keeps none.
type caught struct {
	want        map[string]client.Contact
	attachments map[string][sha256.Size]byte

	mu     sync.Mutex
	seen   map[string]int
	faults []string
}

func newCaught(contacts []client.Contact, attachments []client.Attachment) *caught {
	c := &caught{want: map[string]client.Contact{}, attachments: map[string][sha256.Size]byte{}, seen: map[string]int{}}
	for _, p := range contacts {
		c.want[field(p, "email")] = p
	}
	for _, a := range attachments {
		c.attachments[a.Filename] = sha256.Sum256(a.Content)
	}
	return c
}

func field(c client.Contact, name string) string {
	s, _ := c[name].(string)
	return s
}

func (c *caught) take(m smtptest.Message) {
	fault := c.check(m)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[m.To[0]]++
	if fault != "" {
		c.faults = append(c.faults, m.To[0]+": "+fault)
	}
}

func (c *caught) check(m smtptest.Message) string {
	person, known := c.want[m.To[0]]
	if !known {
		return "nobody's address"
	}
	e, err := enmime.ReadEnvelope(bytes.NewReader(m.Data))
	if err != nil {
		return err.Error()
	}
	for _, fault := range e.Errors {
		// It guesses at character sets, and guesses wrong on short bodies.
		if fault.Name != enmime.ErrorCharsetDeclaration {
			return fault.Error()
		}
	}
	first, last, company := field(person, "first_name"), field(person, "last_name"), field(person, "company")
	if company == "" {
		company = "no company"
	}
	wantHTML := strings.NewReplacer("{{first_name}}", html.EscapeString(first), "{{last_name}}", html.EscapeString(last),
		`{{ company | default: "no company" }}`, html.EscapeString(company), "{{email}}", html.EscapeString(m.To[0])).Replace(letterBody)
	if got := strings.ReplaceAll(e.HTML, "\r\n", "\n"); strings.TrimSpace(got) != wantHTML {
		return fmt.Sprintf("HTML %q; want %q", got, wantHTML)
	}
	for _, value := range []string{first, last, company, m.To[0]} {
		if !strings.Contains(e.Text, strings.TrimSpace(value)) {
			return fmt.Sprintf("text %q lacks %q", e.Text, value)
		}
	}
	if got, want := e.GetHeader("Subject"), "News for "+first; strings.TrimSpace(got) != strings.TrimSpace(want) {
		return fmt.Sprintf("subject %q; want %q", got, want)
	}
	if fault := checkTo(m, first, last); fault != "" {
		return fault
	}
	return c.checkAttachments(e)
}

// checkTo reads the header with net/mail: enmime decodes display names twice.
func checkTo(m smtptest.Message, first, last string) string {
	parsed, err := mail.ReadMessage(bytes.NewReader(m.Data))
	if err != nil {
		return err.Error()
	}
	to, err := parsed.Header.AddressList("To")
	if err != nil || len(to) != 1 {
		return fmt.Sprintf("To %q: %v", parsed.Header.Get("To"), err)
	}
	wantName := strings.Join(strings.Fields(first+" "+last), " ")
	if gotName := strings.Join(strings.Fields(to[0].Name), " "); to[0].Address != m.To[0] || gotName != wantName {
		return fmt.Sprintf("To is %q <%s>; want %q", gotName, to[0].Address, wantName)
	}
	return ""
}

func (c *caught) checkAttachments(e *enmime.Envelope) string {
	if len(e.Attachments) != len(c.attachments) {
		return fmt.Sprintf("%d attachments; want %d", len(e.Attachments), len(c.attachments))
	}
	for _, a := range e.Attachments {
		if want, known := c.attachments[a.FileName]; !known || sha256.Sum256(a.Content) != want {
			return fmt.Sprintf("attachment %q is not what was sent", a.FileName)
		}
	}
	return ""
}

// attachments are a PDF of 1 MB in its own right (a header and pages of
// noise) and a PNG, with names that need encoding.
func attachments(t *testing.T) []client.Attachment {
	t.Helper()
	noise := rand.New(rand.NewPCG(1, 2))
	pdf := []byte("%PDF-1.4\n")
	for len(pdf) < 1<<20 {
		pdf = append(pdf, byte(noise.Uint32()))
	}
	img := image.NewGray(image.Rect(0, 0, 64, 64))
	for i := range 64 {
		img.Set(i, i, color.Gray{Y: uint8(i * 4)})
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, img); err != nil {
		t.Fatal(err)
	}
	return []client.Attachment{
		{Filename: "Merkblatt für Großkunden.pdf", ContentType: "application/pdf", Content: pdf},
		{Filename: "写真 1.png", ContentType: "image/png", Content: picture.Bytes()},
	}
}

// TestCampaign is the main job: every recipient exactly once, every message
// right, totals exact.
func TestCampaign(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		contacts, files := people(*recipients), attachments(t)
		check := newCaught(contacts, files)
		cfg := relayConfig()
		cfg.DigestOnly = true
		cfg.OnMessage = check.take
		relay := startRelay(t, cfg)
		s := start(t, env, relayEnv(t, relay))
		s.importContacts(t, contacts)
		began := time.Now()
		id := s.submit(t, client.Campaign{
			Name: "Everybody", From: "Postern Office <office@example.org>", Subject: "News for {{first_name}}",
			Body: letterBody, Attachments: files,
		})
		final := s.follow(t, id, relay)
		t.Logf("%d messages of %d octets in %v", final.Sent, relay.Messages()[0].Size, time.Since(began).Round(time.Millisecond))

		n := *recipients
		if final.Status != "completed" || final.Sent != n || final.Total != n || final.Failed+final.Unknown+final.Suppressed+final.Pending != 0 {
			t.Errorf("ended as %+v", final)
		}
		if len(check.faults) > 0 {
			t.Errorf("%d wrong messages, such as %s", len(check.faults), check.faults[0])
		}
		for address := range check.want {
			if check.seen[address] != 1 {
				t.Errorf("%s was mailed %d times", address, check.seen[address])
			}
		}
		if v := relay.Violations(); v.Total() > 0 {
			t.Errorf("violations: %+v", v)
		}
		s.checkRecords(t, id, n)
	})
}

// checkRecords holds the deliveries and the contacts' statistics against the
// campaign.
func (s *service) checkRecords(t *testing.T, id string, n int) {
	t.Helper()
	rows := s.deliveries(t, id)
	if len(rows) != n {
		t.Errorf("%d deliveries are listed of %d", len(rows), n)
	}
	digests := map[string]string{}
	for address, d := range rows {
		if d.State != "sent" || d.Attempts != 1 || !strings.HasPrefix(d.Reply, "250") || d.MessageID == "" || d.UpdatedAt.IsZero() {
			t.Errorf("delivery to %s: %+v", address, d)
		}
		if twin, found := digests[d.Digest]; found || len(d.Digest) != 2*sha256.Size {
			t.Errorf("delivery to %s has the digest %q, and so has %q", address, d.Digest, twin)
		}
		digests[d.Digest] = address
	}
	contacts := s.countedContacts(t)
	if len(contacts) != n {
		t.Errorf("%d contacts are listed of %d", len(contacts), n)
	}
	for _, c := range contacts {
		if c["email_count"] != 1.0 || c["last_campaign"] != id || c["last_email_sent"] == nil {
			t.Errorf("statistics of %v: %v, %v, %v", c["email"], c["email_count"], c["last_campaign"], c["last_email_sent"])
		}
	}
}

func TestAudienceIsNarrowedAndSuppressed(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		s := start(t, env, relayEnv(t, relay))
		contacts := addresses(10)
		contacts[1]["status"] = "unsubscribed"
		contacts[2]["tags"] = []string{"vip"}
		contacts[3]["tags"] = []string{"press", "vip"}
		s.importContacts(t, contacts)

		all := simpleLetter()
		vip := simpleLetter()
		vip.Tags = []string{"vip"}
		named := simpleLetter()
		named.Recipients = []string{"R1@example.org", "r7@example.org"}
		for what, c := range map[string]struct {
			letter           client.Campaign
			sent, suppressed int
		}{
			"all":   {all, 9, 1},
			"tag":   {vip, 2, 0},
			"named": {named, 1, 1},
		} {
			final := s.follow(t, s.submit(t, c.letter), relay)
			if final.Status != "completed" || final.Sent != c.sent || final.Suppressed != c.suppressed || final.Total != c.sent+c.suppressed {
				t.Errorf("%s: ended as %+v", what, final)
			}
		}
		if n := relay.CountTo("r1@example.org"); n != 0 {
			t.Errorf("the person who unsubscribed was mailed %d times", n)
		}
		named.Recipients = []string{"stranger@example.org"}
		if _, err := s.Submit(t.Context(), named); err == nil || !strings.Contains(err.Error(), "recipients[0]") {
			t.Errorf("a recipient who is not a contact: %v", err)
		}
	})
}

func TestEmptyAudienceCompletes(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		s := start(t, env, relayEnv(t, relay))
		if final := s.follow(t, s.submit(t, simpleLetter()), relay); final.Status != "completed" || final.Total != 0 || !final.TotalFinal {
			t.Errorf("ended as %+v", final)
		}
	})
}

// TestCleanStopAndRestart stops the service in mid-campaign and starts it
// again on the same data: nobody is lost, nobody is mailed twice.
func TestCleanStopAndRestart(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		env2 := relayEnv(t, relay)
		slow := map[string]string{"RELAY_RATE": "300"}
		first := start(t, env, env2, slow)
		const n = 1200
		first.importContacts(t, addresses(n))
		id := first.submit(t, simpleLetter())
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := relay.Wait(ctx, 100); err != nil {
			t.Fatal(err)
		}
		if err := first.stop(); err != nil {
			t.Fatalf("the stop was not clean: %v", err)
		}
		if taken := relay.Count(); taken >= n {
			t.Fatalf("the campaign was over before the stop (%d)", taken)
		}
		second := start(t, env, env2)
		final := second.follow(t, id, relay)
		if final.Status != "completed" || final.Sent != n {
			t.Errorf("ended as %+v", final)
		}
		for address, times := range relay.PerRecipient() {
			if times != 1 {
				t.Errorf("%s was mailed %d times", address, times)
			}
		}
		if got := len(relay.PerRecipient()); got != n {
			t.Errorf("%d people were mailed of %d", got, n)
		}
	})
}
