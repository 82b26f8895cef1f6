package mailer

import (
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/internal/campaign"
)

// awkwardNames are from many scripts, and ones that need care.
var awkwardNames = []string{
	"Ada Lovelace", "Zoë", "Łukasz Żółć", "Мария Ивановна", "Γιώργος", "محمد علي", "שרה", "李雷", "さくら", "김철수",
	"नरेन्द्र", "ณัฐ", "Nguyễn Văn An", "👩‍👩‍👧‍👦 family", `Dwayne "The Rock" Johnson`, "O'Brien", "<script>", "R&D", "a@b.c",
	"Smith, John", "back\\slash", "=?UTF-8?Q?x?=", "a  b", "x=?", "(comment)", "semi;colon:", "a\tb",
	strings.Repeat("long ", 20) + "name", strings.Repeat("x", 200), strings.Repeat("ж", 200), strings.Repeat("é ", 99) + "é",
	strings.Repeat("w", 60), strings.Repeat("w", 61), "\"", "\\", "?", "_", "=", "tail =", "ü ", " ",
}

func TestHeaderText(t *testing.T) {
	t.Parallel()
	for _, name := range awkwardNames {
		checkHeaderText(t, name)
		checkMailbox(t, name)
	}
}

func TestHeaderForms(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"", "Subject: "},
		{"Hello there", "Subject: Hello there"},
		{"Grüße aus Hamburg", "Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe_aus_Hamburg?="},
		{"Привет", "Subject: =?UTF-8?B?0J/RgNC40LLQtdGC?="},
		{"a =?b?= c", "Subject: =?UTF-8?B?YSA9P2I/PSBj?="},
		{"two  spaces", "Subject: =?UTF-8?Q?two__spaces?="},
		{strings.TrimSpace(strings.Repeat("12345678 ", 9)),
			"Subject: 12345678 12345678 12345678 12345678 12345678 12345678 12345678\r\n 12345678 12345678"},
		{strings.Repeat("x", 61), "Subject: =?UTF-8?Q?" + strings.Repeat("x", 55) + "?=\r\n =?UTF-8?Q?xxxxxx?="},
	}
	for _, tt := range tests {
		if got := string(appendText([]byte(subjectName), []byte(tt.text))); got != tt.want {
			t.Errorf("%q is\n%q, want\n%q", tt.text, got, tt.want)
		}
	}
}

func TestMailboxForms(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 60) + "@example.com"
	tests := []struct{ name, address, want string }{
		{"", "a@example.com", "To: <a@example.com>"},
		{"Ada", "a@example.com", `To: "Ada" <a@example.com>`},
		{`Ada "A" \L`, "a@example.com", `To: "Ada \"A\" \\L" <a@example.com>`},
		{"Zoë", "a@example.com", `To: =?UTF-8?Q?Zo=C3=AB?= <a@example.com>`},
		{"Ada", long, "To: \"Ada\"\r\n <" + long + ">"},
	}
	for _, tt := range tests {
		if got := string(appendMailbox([]byte(toName), []byte(tt.name), tt.address)); got != tt.want {
			t.Errorf("%q is %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, name := range awkwardNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if campaign.CheckHeaderText(s) != nil {
			return
		}
		checkHeaderText(t, s)
		checkMailbox(t, s)
	})
}

// checkHeaderText encodes s as a subject and decodes it by other means.
func checkHeaderText(t *testing.T, s string) {
	t.Helper()
	raw := string(appendText([]byte(subjectName), []byte(s)))
	checkFolded(t, raw, maxHeaderLine)
	value := strings.TrimPrefix(strings.ReplaceAll(raw, "\r\n", ""), subjectName)
	got, err := new(mime.WordDecoder).DecodeHeader(value)
	if err != nil || got != s {
		t.Errorf("subject %q came back as %q, %v (%q)", s, got, err, raw)
	}
}

// checkMailbox encodes s as a display name and decodes it by other means.
func checkMailbox(t *testing.T, s string) {
	t.Helper()
	raw := string(appendMailbox([]byte(toName), []byte(s), "a@example.com"))
	checkFolded(t, raw, 2*maxQuotedName+len(`To: ""`))
	m, err := mail.ReadMessage(strings.NewReader(raw + "\r\n\r\n"))
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	list, err := m.Header.AddressList("To")
	if err != nil || len(list) != 1 || list[0].Name != s || list[0].Address != "a@example.com" {
		t.Errorf("name %q came back as %v, %v (%q)", s, list, err, raw)
	}
}

func checkFolded(t *testing.T, raw string, most int) {
	t.Helper()
	for i, line := range strings.Split(raw, "\r\n") {
		if len(line) > most || !isASCII(line) || strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("line %d of %q", i+1, raw)
		}
		if i > 0 && (len(line) < 2 || line[0] != ' ' || line[1] == ' ') {
			t.Errorf("continuation line %d of %q", i+1, raw)
		}
	}
}

func TestBodyEncoder(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"ASCII", "Hello", "Hello"},
		{"equals", "a=b", "a=3Db"},
		{"UTF-8", "ü", "=C3=BC"},
		{"line breaks", "a\r\nb\rc\nd\r\r\n", "a\r\nb\r\nc\r\nd\r\n\r\n"},
		{"trailing space", "a \nb\t\r\nc ", "a=20\r\nb=09\r\nc=20"},
		{"leading space", " a\n b", " a\r\n b"},
		{"dots", ".a\n..\n.", "=2Ea\r\n=2E.\r\n=2E"},
		{"smuggling", "a\r.\r\nb\n.\r\n", "a\r\n=2E\r\nb\r\n=2E\r\n"},
		{"controls", "\x00\x7f\x0b", "=00=7F=0B"},
		{"75 octets", strings.Repeat("x", 75), strings.Repeat("x", 75)},
		{"76 octets", strings.Repeat("x", 76), strings.Repeat("x", 75) + "=\r\nx"},
		{"no break within a triplet", strings.Repeat("x", 73) + "=", strings.Repeat("x", 73) + "=\r\n=3D"},
		{"dot behind a soft break", strings.Repeat("x", 75) + ".", strings.Repeat("x", 75) + "=\r\n=2E"},
	}
	for _, tt := range tests {
		var e bodyEncoder
		e.text(tt.text)
		if got := string(e.out); got != tt.want {
			t.Errorf("%s: %q is %q, want %q", tt.name, tt.text, got, tt.want)
		}
	}
}

// TestBodyEncoderSplices cuts text anywhere and joins the pieces as a letter
// does.
func TestBodyEncoderSplices(t *testing.T) {
	t.Parallel()
	text := "A line with tail space \n.dot\n" + strings.Repeat("häß=", 40) + "\t\n" + strings.Repeat("z", 80) + " ."
	for i := range text {
		for j := i; j < len(text); j += 7 {
			if !utf8.ValidString(text[:i]) || !utf8.ValidString(text[:j]) {
				continue
			}
			var behind, e bodyEncoder
			behind.text(text[j:])
			e.text(text[:i])
			e.text(text[i:j])
			e.join()
			raw := string(e.out) + string(behind.out)
			got, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(raw)))
			if err != nil || string(got) != crlf(text) {
				t.Fatalf("cut at %d and %d: %q, %v", i, j, got, err)
			}
			for line := range strings.SplitSeq(raw, "\r\n") {
				if len(line) > 76 || strings.HasPrefix(line, ".") || strings.HasSuffix(line, " ") {
					t.Fatalf("cut at %d and %d: line %q", i, j, line)
				}
			}
		}
	}
}
