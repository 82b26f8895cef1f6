package mailer

import (
	"strings"
	"testing"
	"unicode/utf8"

	"postern/internal/campaign"
)

// FuzzRender gives a letter hostile values: each makes a message that is sound
// and says what was meant, or is refused.
func FuzzRender(f *testing.F) {
	for _, s := range []string{
		"Zoë", "a\r\nBcc: x@y.z", "\r.\r\n", "\x00", "{{email}}", "<script>", ".", "--=_0_1", "=?UTF-8?Q?x?=", "\xff",
		strings.Repeat("ж", 100), strings.Repeat("x", 100), " ", "a=\r\n", "\t.", "a\u2028b", "\ufeff",
	} {
		f.Add("ada@example.com", s, s, s)
		f.Add(s+"@example.com", "a", "b", s)
	}
	c := aContent()
	c.Subject = `Re: {{company | default: "you"}} {{first_name}}.`
	c.HTML = ".{{first_name}}\n.{{company}}<a href=\"{{company}}\">{{last_name}}</a>{{company | default: \".\"}}{{email}} \n. {{company}}"
	c.Attachments = []Attachment{{Filename: "ä.txt", Data: []byte("..\r\n.")}}
	l := mustCompile(f, c)
	parsed := placed(f, c.HTML)
	var m Message
	f.Fuzz(func(t *testing.T, address, first, last, company string) {
		fields := map[string]string{"first_name": first, "last_name": last, "company": company, "email": address}
		err := l.Render(&m, recipientOf(l, address, fields), "id@example.com")
		if err != nil {
			if soundValues(address, first, last, company) {
				t.Fatalf("refused without need: %v", err)
			}
			return
		}
		if campaign.CheckAddress(address) != nil || !utf8.ValidString(first+last+company) {
			t.Fatalf("%q, %q, %q, %q were not refused", address, first, last, company)
		}
		if m.SMTPUTF8() {
			return
		}
		raw := octetsOf(&m)
		checkWire(t, raw)
		header, _, _ := strings.Cut(raw, "\r\n\r\n")
		checkFieldNames(t, header)
		text, markup := bodies(t, raw)
		if want := expandHTML(parsed, fields); markup != want {
			t.Errorf("HTML is %q, want %q", markup, want)
		}
		if want := expand(parsed.plainText(), fields, asIs); text != want {
			t.Errorf("text is %q, want %q", text, want)
		}
	})
}

// soundValues says whether nothing speaks against the values.
func soundValues(address string, values ...string) bool {
	octets := 0
	for _, v := range values {
		if campaign.CheckHeaderText(v) != nil {
			return false
		}
		octets += len(v)
	}
	_, _, err := campaign.WireAddress(address)
	return err == nil && octets < maxNameOctets
}

// checkFieldNames checks that the header has the fields that a letter has and
// no more.
func checkFieldNames(t *testing.T, header string) {
	t.Helper()
	var got []string
	for line := range strings.SplitSeq(header, "\r\n") {
		if name, _, _ := strings.Cut(line, ":"); !strings.HasPrefix(line, " ") {
			got = append(got, name)
		}
	}
	if want := "Date From To Subject Message-ID MIME-Version Content-Type"; strings.Join(got, " ") != want {
		t.Errorf("the header has %q", got)
	}
}
