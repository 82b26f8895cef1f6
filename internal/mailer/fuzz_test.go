package mailer

import (
	"bytes"
	"net/mail"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/internal/campaign"
)

// FuzzLetter makes letters of hostile content. One that is taken makes a sound
// message, of which a MIME parser that is not ours reads what was meant; one
// that is refused has a rule that it broke.
func FuzzLetter(f *testing.F) {
	for _, s := range []string{
		"Hello", "a\r\nBcc: x@y.z", "\r.\r\n", "\x00", "<b>x</b>{{first_name}}", ".", "--=_0_1", "=?UTF-8?Q?x?=", "\xff", "жж",
		strings.Repeat("x", 300), " ", "\t.", "a\u2028b", "{{", "{{x | default: \"\r\n\"}}", "<script><!--", `"`, `\`, "<a href=x>y</a>",
	} {
		f.Add(s, "<p>"+s+"</p>", s)
		f.Add("Hello", s, "Agency "+s)
	}
	f.Fuzz(func(t *testing.T, subject, html, name string) {
		c := aContent()
		c.Subject, c.HTML = subject, html
		c.From.Name, c.ReplyTo = name, campaign.Mailbox{Name: name, Address: "reply@example.org"}
		l, err := Compile(c)
		if err != nil {
			checkRefused(t, err)
			return
		}
		if campaign.CheckHeaderText(subject) != nil || campaign.CheckHeaderText(name) != nil || !utf8.ValidString(html) {
			t.Fatalf("%q, %q, %q were not refused", subject, html, name)
		}
		raw, err := rendered(l)
		if err != nil {
			t.Fatal(err)
		}
		checkWire(t, raw)
		header, _, _ := strings.Cut(raw, "\r\n\r\n")
		checkFieldNames(t, strings.Replace(header, "\r\nReply-To:", "\r\n Reply-To:", 1))
		bodies(t, raw)
		checkMailboxOf(t, raw, "From", name)
		checkMailboxOf(t, raw, "Reply-To", name)
	})
}

func checkRefused(t *testing.T, err error) {
	t.Helper()
	ce, ok := err.(*campaign.Error) //nolint:errorlint // what Compile promises
	if !ok || ce.Code != campaign.CodeInvalid || len(ce.Faults) == 0 {
		t.Fatalf("refused as %v", err)
	}
	for _, fault := range ce.Faults {
		if fault.Field == "" || fault.Rule == "" || len(fault.Rule) > 400 || !utf8.ValidString(fault.Rule) {
			t.Errorf("refused for %q %q", fault.Field, fault.Rule)
		}
	}
}

// rendered is a letter's message to somebody without fields.
func rendered(l *Letter) (string, error) {
	var m Message
	err := l.Render(&m, recipientOf(l, "ada@example.com", nil), "id@example.com")
	return octetsOf(&m), err
}

// checkMailboxOf reads a mailbox's name with net/mail: enmime decodes twice.
func checkMailboxOf(t *testing.T, raw, field, name string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	list, err := m.Header.AddressList(field)
	if err != nil || len(list) != 1 || list[0].Name != strings.TrimSpace(name) {
		t.Errorf("%s with the name %q came back as %v, %v in\n%s", field, name, list, err, raw)
	}
}

// FuzzAttachment: a file that is taken arrives under its base name, octet by
// octet, and changes nothing around it.
func FuzzAttachment(f *testing.F) {
	for _, name := range []string{
		"a.pdf", "../../etc/passwd", `C:\a\b.exe`, "a\r\nBcc: x", "a\x00b", `a"; filename="b`, "Übersicht.txt", "..", "", "=?UTF-8?Q?x?=", "a\u202eb",
		strings.Repeat("長", 85), "a b ", "'%*", "a\tb", "%41", "a;b",
	} {
		f.Add(name, "application/pdf", []byte("x"))
		f.Add(name, "", []byte("\r\n.\r\n"))
		f.Add("a.txt", name, []byte{})
	}
	for _, media := range []string{
		"text/plain; charset=utf-8", "text/plain; name=x", "multipart/mixed; boundary=x", "message/rfc822", "a/b; c*=UTF-8''%0d%0a", "TEXT/HTML; a=\"\\\"\"", "a/b;;",
	} {
		f.Add("a.bin", media, []byte("--=_0_1\r\n"))
	}
	f.Fuzz(func(t *testing.T, name, media string, data []byte) {
		c := aContent()
		c.Attachments = []Attachment{{Filename: name, ContentType: media, Data: data}, {Filename: "last.txt", Data: []byte("last")}}
		l, err := Compile(c)
		if err != nil {
			checkRefused(t, err)
			return
		}
		raw, err := rendered(l)
		if err != nil {
			t.Fatal(err)
		}
		checkWire(t, raw)
		e := parseFiles(t, raw)
		files := fileOctets(t, raw)
		if len(e.Attachments) != 2 || len(files) != 2 || !bytes.Equal(files[0], data) || string(files[1]) != "last" {
			t.Fatalf("%d attachments and %d files in\n%s", len(e.Attachments), len(files), raw)
		}
		if got := e.Attachments[0].FileName; got != BaseName(name) {
			t.Errorf("%q arrived as %q, want %q, in\n%s", name, got, BaseName(name), raw)
		}
		if strings.ContainsAny(BaseName(name), "/\\\r\n\x00") {
			t.Errorf("the base name %q", BaseName(name))
		}
	})
}

// FuzzExtensions reads what a relay offers.
func FuzzExtensions(f *testing.F) {
	for _, s := range []string{
		"relay.test\nPIPELINING\nSIZE 100\nAUTH PLAIN LOGIN\nSTARTTLS", "r\nSIZE=5", "r\nSIZE -1", "r\nSIZE 99999999999999999999", "r\nAUTH=LOGIN", "", "\n\n",
		"r\nsize 7\nSize 9", "r\nAUTH " + strings.Repeat("X ", 500), "r\nı", "r\n\xff\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		given := bytes.Clone(text)
		ext := parseExtensions(text)
		if !bytes.Equal(given, text) {
			t.Error("the text was changed")
		}
		if ext.maxSize < 0 || ext.maxSize > 0 && !ext.size || len(ext.auth) > len(text) {
			t.Errorf("%q offers %+v", text, ext)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		if parseExtensions([]byte(first)).pipelining {
			t.Errorf("the relay's name %q is taken for an extension", first)
		}
	})
}
