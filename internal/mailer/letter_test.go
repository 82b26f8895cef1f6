package mailer

import (
	"errors"
	"fmt"
	"html"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/campaign"
)

func TestCompileNamesAllFaults(t *testing.T) {
	t.Parallel()
	_, err := Compile(Content{
		Subject: "a {{b",
		HTML:    "<p>\n{{#if x}}{% y %}",
		From:    campaign.Mailbox{Address: "nobody"},
		ReplyTo: campaign.Mailbox{Name: "a\nb", Address: "a@example.com"},
		Attachments: []Attachment{
			{Filename: "a.pdf", ContentType: "nonsense"}, {Filename: "a\r\nb"}, {},
		},
	})
	want := []string{
		"subject: has a {{ without its }} (line 1, column 3)",
		`body: has the placeholder "#if x"; only field names are understood (line 2, column 1)`,
		"body: has a {% tag, which is not understood; only {{field}} is (line 2, column 10)",
		"from_email: must have exactly one @",
		"reply_to: must not have the control character U+000A",
		"date: must be set",
		"attachments[0].content_type: must be a media type such as application/pdf",
		"attachments[1].filename: must not have the control character U+000D",
		"attachments[2].filename: must be a file name",
	}
	if got := faultsOf(t, err); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCompileFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Content)
		want   string
	}{
		{"no subject", func(c *Content) { c.Subject = "" }, "subject: must not be empty"},
		{"line break in the subject", func(c *Content) { c.Subject = "a\r\nBcc: x@y.z" }, "subject: must not have the control character U+000D"},
		{"NUL in a default", func(c *Content) { c.Subject = "{{x | default: \"\x00\"}}" }, "subject: must not have the control character U+0000"},
		{"subject too long", func(c *Content) { c.Subject = strings.Repeat("x", 2001) }, "subject: must be at most 2000 octets"},
		{"no body", func(c *Content) { c.HTML = "" }, "body: must not be empty"},
		{"from injects", func(c *Content) { c.From.Name = "a\r\nBcc: x@y.z" }, "from_email: must not have the control character U+000D"},
		{"from name too long", func(c *Content) { c.From.Name = strings.Repeat("x", 1001) }, "from_email: must have a name of at most 1000 octets"},
		{"no from", func(c *Content) { c.From = campaign.Mailbox{} }, "from_email: must not be empty"},
		{"no such domain", func(c *Content) { c.From.Address = "a@\u0301x.example" }, "from_email: must have a valid internationalised domain name"},
		{"name without address", func(c *Content) { c.ReplyTo.Name = "x" }, "reply_to: must not be empty"},
	}
	for _, tt := range tests {
		c := aContent()
		tt.change(&c)
		if _, err := Compile(c); fmt.Sprint(faultsOf(t, err)) != "["+tt.want+"]" {
			t.Errorf("%s: got %v, want %s", tt.name, faultsOf(t, err), tt.want)
		}
	}
}

func TestCompileBoundsTheEncodedBody(t *testing.T) {
	t.Parallel()
	c := aContent()
	c.HTML = strings.Repeat("ж", maxBodyTemplateOctets/2)
	if _, err := Compile(c); err != nil {
		t.Errorf("the longest template in another script: %v", err)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	c := aContent()
	c.Subject = "{{zone}} {{first_name}} {{email}}"
	c.HTML = "{{company}} {{zone}} {{Ärea}} {{email}}"
	l := mustCompile(t, c)
	want := []string{"first_name", "last_name", "company", "zone", "Ärea"}
	if got := l.Fields(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	l.Fields()[0] = "changed"
	if got := l.Fields(); !slices.Equal(got, want) {
		t.Errorf("a caller changed the letter's fields to %q", got)
	}
}

func TestMessageID(t *testing.T) {
	t.Parallel()
	key := []byte("a key that only the service has.")
	ids := NewMessageIDs(key, "c1", "news@bücher.example")
	id := ids.Of("Ada@Example.com")
	if want := "@xn--bcher-kva.example"; !strings.HasSuffix(id, want) || len(id) != 32+len(want) {
		t.Errorf("id %q", id)
	}
	if ids.Of("ada@example.com") != id {
		t.Error("the address's case changes the id")
	}
	if NewMessageIDs(key, "c2", "news@bücher.example").Of("ada@example.com") == id || ids.Of("bob@example.com") == id {
		t.Error("another campaign or address has the same id")
	}
	if NewMessageIDs([]byte("another key that only it has, too."), "c1", "news@bücher.example").Of("ada@example.com") == id {
		t.Error("another key makes the same id")
	}
	if got := NewMessageIDs(key, "c1", "nonsense").Of("a@b.c"); !strings.HasSuffix(got, "@postern.invalid") {
		t.Errorf("id %q", got)
	}
}

// TestGolden holds the structure that go-simple-mail composes and ours
// together: a change of either shows here.
func TestGolden(t *testing.T) {
	t.Parallel()
	plain := aContent()
	plain.ReplyTo = campaign.Mailbox{Name: "Jörg", Address: "joerg@bücher.example"}
	plain.Subject = "Grüße an {{first_name | default: \"alle\"}}"
	plain.HTML = "<h1>Hello {{first_name}}</h1>\n<p>You work at <b>{{company}}</b>.\n.</p>\n"
	mixed := aContent()
	mixed.Subject = "A fixed subject"
	mixed.Attachments = []Attachment{
		{Filename: "a.pdf", Data: []byte("%PDF-1.7\n")},
		{Filename: "отчёт.png", ContentType: "image/png", Data: nil},
	}
	for name, c := range map[string]Content{"alternative": plain, "mixed": mixed} {
		got := mustRender(t, mustCompile(t, c), "ada@example.org",
			map[string]string{"first_name": "Zoë", "last_name": "O'Hara", "company": "R&D <GmbH>"})
		path := filepath.Join("testdata", "letter_"+name+".eml")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is\n%s\nwant\n%s", path, got, want)
		}
	}
}

func TestCompileIsDeterministic(t *testing.T) {
	t.Parallel()
	c := aContent()
	c.Attachments = []Attachment{{Filename: "a.pdf", Data: randomOctets(1000)}}
	first := mustRender(t, mustCompile(t, c), "a@example.com", nil)
	c.Date = c.Date.In(time.FixedZone("x", 3600))
	if second := mustRender(t, mustCompile(t, c), "a@example.com", nil); first != second {
		t.Errorf("the same letter differs:\n%s\n%s", first, second)
	}
}

func TestRenderNames(t *testing.T) {
	t.Parallel()
	c := aContent()
	c.Subject = "For {{first_name}} of {{company}}"
	c.HTML = `<p title="{{first_name}}">Dear {{first_name}} {{last_name | default: "friend"}} of {{company}},</p>`
	l := mustCompile(t, c)
	for i, first := range awkwardNames {
		if strings.Contains(first, "\t") {
			continue // enmime turns a tab in a header into a space
		}
		last, company := awkwardNames[(i+7)%len(awkwardNames)], awkwardNames[(i+13)%len(awkwardNames)]
		if strings.Contains(last+company, "\t") {
			continue
		}
		if i%5 == 0 {
			last = ""
		}
		raw := mustRender(t, l, "a@example.com", map[string]string{"first_name": first, "last_name": last, "company": company})
		e := parseMIME(t, raw)
		want := strings.TrimSpace(strings.TrimSpace(first) + " " + strings.TrimSpace(last))
		to, err := addressList(t, raw, "To")
		if err != nil || len(to) != 1 || to[0].Name != want || to[0].Address != "a@example.com" {
			t.Errorf("To is %v, %v; want %q", to, err, want)
		}
		if got, want := e.GetHeader("Subject"), strings.TrimSpace("For "+first+" of "+company); got != want {
			t.Errorf("subject is %q, want %q", got, want)
		}
		if last == "" {
			last = "friend"
		}
		text, markup := bodies(t, raw)
		if want := "Dear " + first + " " + last + " of " + company + ","; text != want {
			t.Errorf("text is %q, want %q", text, want)
		}
		esc := html.EscapeString
		if want := `<p title="` + esc(first) + `">Dear ` + esc(first+" "+last+" of "+company) + ",</p>"; markup != want {
			t.Errorf("HTML is %q, want %q", markup, want)
		}
	}
}

// addressList reads a header field by net/mail: enmime decodes encoded words
// twice.
func addressList(t *testing.T, raw, field string) ([]*mail.Address, error) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header.AddressList(field)
}

func TestRenderBodies(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 400)
	tests := []struct{ name, html, value, wantHTML string }{
		{"never expanded again", "{{x}}", "{{email}} {{x}}", "{{email}} {{x}}"},
		{"escaped", "<b>{{x}}</b>", `<a href="x">&'`, "<b>&lt;a href=&#34;x&#34;&gt;&amp;&#39;</b>"},
		{"smuggling", "a{{x}}b", "\r.\r\n.\nEND\r\n.\r\n", "a\r\n.\r\n.\r\nEND\r\n.\r\nb"},
		{"smuggling in the template", "a\r.\r\n.\n{{x}}\r\n.\r\n", ".", "a\r\n.\r\n.\r\n.\r\n.\r\n"},
		{"NUL", "a\x00{{x}}", "\x00", "a\x00\x00"},
		{"long lines", "<p>" + long + "{{x}}" + long + "</p>", long, "<p>" + long + long + long + "</p>"},
		{"long words", strings.Repeat("x", 5000) + "{{x}}{{x}}", strings.Repeat("ü", 999), strings.Repeat("x", 5000) + strings.Repeat("ü", 1998)},
		{"starts and ends with a placeholder", "{{x}} \n&lt;{{x}}", " v ", " v  \r\n&lt; v "},
		{"empty value", "a {{x}} b{{x}}", "", "a  b"},
		{"default", `{{x | default: "<3"}}`, "", "&lt;3"},
		{"the email", "{{email}}", "", "a@example.com"},
		{"boundary in a value", "{{x}}", "--=_0_1", "--=_0_1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := aContent()
			c.HTML = tt.html
			_, got := bodies(t, mustRender(t, mustCompile(t, c), "a@example.com", map[string]string{"x": tt.value}))
			if got != tt.wantHTML {
				t.Errorf("got %q, want %q", got, tt.wantHTML)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	c := aContent()
	c.Subject = "For {{company}}{{x}}"
	c.HTML = "{{x}}{{body}}"
	l := mustCompile(t, c)
	tests := []struct{ address, field, value, want string }{
		{"a@example.com", "first_name", "a\r\nBcc: x@y.z", "letter: the contact's first_name must not have the control character U+000D"},
		{"a@example.com", "last_name", "a\n", "letter: the contact's last_name must not have the control character U+000A"},
		{"a@example.com", "last_name", "a\x00", "letter: the contact's last_name must not have the control character U+0000"},
		{"a@example.com", "first_name", "\xff", "letter: the contact's first_name must be valid UTF-8"},
		{"a@example.com", "first_name", strings.Repeat("x", 1001), "letter: the contact's first_name must have a name of at most 1000 octets"},
		{"a@example.com", "company", "a\u2028b", "letter: the contact's company must not have the control character U+2028"},
		{"a@example.com", "company", strings.Repeat("x", 2000), "letter: the subject is longer than 2000 octets with the contact's fields"},
		{"a@example.com", "body", "\xff", "letter: the contact's body must be valid UTF-8"},
		{"a@example.com", "body", strings.Repeat("x", maxPersonalOctets+1), "letter: the contact's body makes what its fields fill in longer than 2097152 octets"},
		{"a@example.com", "body", strings.Repeat("<", maxPersonalOctets/5), "letter: the contact's body makes what its fields fill in longer than 2097152 octets"},
		{"a@b@c", "x", "", "letter: the contact's email must have exactly one @"},
		{"a\r\n@b.c", "x", "", `letter: the contact's email must not have '\r' before the @`},
	}
	var m Message
	for _, tt := range tests {
		err := l.Render(&m, recipientOf(l, tt.address, map[string]string{tt.field: tt.value}), "id@example.com")
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Error() != tt.want || e.Stage != StageLetter || e.Scope != ScopeRecipient || e.Temporary || e.Ambiguous {
			t.Errorf("%s %.20q: %v, want %s", tt.field, tt.value, err, tt.want)
		}
		if len(m.Segments()) != 0 || m.Size() != 0 {
			t.Errorf("%s: there is a message after the error", tt.field)
		}
		if err := l.Render(&m, recipientOf(l, "b@example.com", nil), "id@example.com"); err != nil {
			t.Errorf("the next recipient: %v", err)
		}
	}
	err := l.Render(&m, campaign.Recipient{Address: "a@example.com", Values: []string{"x"}}, "id@example.com")
	if e, ok := errors.AsType[*Error](err); !ok || e.Scope != ScopeCampaign {
		t.Errorf("values of another letter: %v", err)
	}
}

func TestRenderHeader(t *testing.T) {
	t.Parallel()
	c := aContent()
	c.From = campaign.Mailbox{Name: "Bücher & Co", Address: "news@bücher.example"}
	c.ReplyTo = campaign.Mailbox{Address: "reply@example.com"}
	e := parseMIME(t, mustRender(t, mustCompile(t, c), "Ada@BÜCHER.example", map[string]string{"first_name": "Ada"}))
	want := map[string]string{
		"Date": "Wed, 04 Mar 2026 05:06:07 +0000", "From": `Bücher & Co <news@xn--bcher-kva.example>`,
		"Reply-To": "<reply@example.com>", "To": `"Ada" <Ada@xn--bcher-kva.example>`, "Subject": "Hello Ada",
		"Message-Id": "<id@example.com>", "Mime-Version": "1.0",
	}
	for name, value := range want {
		if got := e.GetHeader(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if n := len(e.GetHeaderKeys()); n != len(want)+1 { // and Content-Type
		t.Errorf("the header has %v", e.GetHeaderKeys())
	}
}

func TestRenderSMTPUTF8(t *testing.T) {
	t.Parallel()
	var m Message
	l := mustCompile(t, aContent())
	if err := l.Render(&m, recipientOf(l, "jürgen@bücher.example", nil), "id@example.com"); err != nil {
		t.Fatal(err)
	}
	if !m.SMTPUTF8() || !strings.Contains(octetsOf(&m), "\r\nTo: <jürgen@xn--bcher-kva.example>\r\n") {
		t.Errorf("SMTPUTF8 is %v for\n%s", m.SMTPUTF8(), octetsOf(&m))
	}
	if err := l.Render(&m, recipientOf(l, "a@bücher.example", nil), "id@example.com"); err != nil || m.SMTPUTF8() {
		t.Errorf("SMTPUTF8 is %v for an ASCII local part, %v", m.SMTPUTF8(), err)
	}
	c := aContent()
	c.ReplyTo.Address = "jürgen@example.com"
	l = mustCompile(t, c)
	if err := l.Render(&m, recipientOf(l, "a@example.com", nil), "id@example.com"); err != nil || !m.SMTPUTF8() {
		t.Errorf("SMTPUTF8 is %v for Reply-To, %v", m.SMTPUTF8(), err)
	}
}
