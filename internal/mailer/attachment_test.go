package mailer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func randomOctets(n int) []byte {
	out := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(out)
	return out
}

func TestAttachmentsArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("長い名前", 20) + ".pdf"
	tests := []struct {
		given, name, givenType, wantType string
		data                             []byte
	}{
		{"report.pdf", "report.pdf", "application/pdf", "application/pdf", randomOctets(1 << 20)},
		{"empty.bin", "empty.bin", "", "application/octet-stream", nil},
		{"one.png", "one.png", "", "image/png", []byte{1}},
		{"57.png", "57.png", "image/png", "image/png", randomOctets(57)},
		{"58.png", "58.png", "image/png", "image/png", randomOctets(58)},
		{"114.png", "114.png", "image/png", "image/png", randomOctets(114)},
		{"отчёт за март.pdf", "отчёт за март.pdf", "", "application/pdf", randomOctets(100)},
		{"報告.png", "報告.png", "", "image/png", randomOctets(100)},
		{"تقرير.png", "تقرير.png", "", "image/png", randomOctets(100)},
		{"📎.png", "📎.png", "", "image/png", randomOctets(100)},
		{long, long, "", "application/pdf", randomOctets(100)},
		{strings.Repeat("l", 251) + ".pdf", strings.Repeat("l", 251) + ".pdf", "", "application/pdf", []byte("x")},
		{`C:\Users\me\my "best" file.pdf`, `my "best" file.pdf`, "", "application/pdf", []byte("x")},
		{"../../etc/pass=wd;x%41.pdf", "pass=wd;x%41.pdf", "", "application/pdf", []byte("x")},
		{"it's (é) 100%; *.pdf", "it's (é) 100%; *.pdf", "", "application/pdf", []byte("x")},
		{"note.txt", "note.txt", "text/plain; charset=iso-8859-1; name=other", "text/plain", []byte("\r\n.\r\nx\r")},
		{"mail.eml", "mail.eml", "message/rfc822", "application/octet-stream", []byte("Subject: x\n\ny\n")},
		{"m.bin", "m.bin", "multipart/mixed; boundary=x", "application/octet-stream", []byte("--x\r\n\r\n--x--\r\n")},
		{"upper.PDF", "upper.PDF", "Application/PDF", "application/pdf", []byte("x")},
	}
	c := aContent()
	for _, tt := range tests {
		c.Attachments = append(c.Attachments, Attachment{Filename: tt.given, ContentType: tt.givenType, Data: tt.data})
	}
	e := parseMIME(t, mustRender(t, mustCompile(t, c), "a@example.com", nil))
	if len(e.Attachments) != len(tests) {
		t.Fatalf("%d attachments arrived, want %d", len(e.Attachments), len(tests))
	}
	for i, tt := range tests {
		got := e.Attachments[i]
		if got.FileName != tt.name || got.ContentType != tt.wantType {
			t.Errorf("%q arrived as %q, %q; want %q, %q", tt.given, got.FileName, got.ContentType, tt.name, tt.wantType)
		}
		if !bytes.Equal(got.Content, tt.data) {
			t.Errorf("%q: %d octets arrived, want %d, or they differ", tt.given, len(got.Content), len(tt.data))
		}
	}
}

func TestAttachmentHeaders(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, disposition, contentType string }{
		{"a b.pdf", "attachment;\r\n filename=\"a b.pdf\"", "x/y;\r\n name=\"a b.pdf\""},
		{`a"\b.pdf`, "attachment;\r\n filename=\"a\\\"\\\\b.pdf\"", "x/y;\r\n name=\"a\\\"\\\\b.pdf\""},
		{"Übersicht für März.pdf",
			"attachment;\r\n filename*=UTF-8''%C3%9Cbersicht%20f%C3%BCr%20M%C3%A4rz.pdf",
			"x/y;\r\n name=\"=?UTF-8?B?w5xiZXJzaWNodCBmw7xyIE3DpHJ6LnBkZg==?=\""},
		{"отчёт за первый квартал.pdf",
			"attachment;\r\n filename*0*=UTF-8''%D0%BE%D1%82%D1%87%D1%91%D1%82%20%D0%B7%D0%B0%20%D0%BF;" +
				"\r\n filename*1*=%D0%B5%D1%80%D0%B2%D1%8B%D0%B9%20%D0%BA%D0%B2%D0%B0;" +
				"\r\n filename*2*=%D1%80%D1%82%D0%B0%D0%BB.pdf",
			"x/y;\r\n name=\"=?UTF-8?B?0L7RgtGH0ZHRgiDQt9CwINC/0LXRgNCy0YvQuSDQutCy0LDRgNGC0LA=?=" +
				"\r\n =?UTF-8?B?0LsucGRm?=\""},
	}
	for _, tt := range tests {
		f := file{name: tt.name, contentType: "x/y"}
		if got := f.disposition(); got != tt.disposition {
			t.Errorf("disposition of %q is\n%q, want\n%q", tt.name, got, tt.disposition)
		}
		if got := f.typeWithName(); got != tt.contentType {
			t.Errorf("type of %q is\n%q, want\n%q", tt.name, got, tt.contentType)
		}
	}
}

func TestAttachmentFaults(t *testing.T) {
	t.Parallel()
	tests := []struct{ filename, contentType, field, rule string }{
		{"", "", "filename", "must be a file name"},
		{"dir/", "", "filename", "must be a file name"},
		{"..", "", "filename", "must be a file name"},
		{"a\r\nBcc: x.pdf", "", "filename", "control character"},
		{"a\x00.pdf", "", "filename", "control character"},
		{"a\n/b.pdf", "", "filename", "control character"},
		{"a\tb.pdf", "", "filename", "tab"},
		{"a\xff.pdf", "", "filename", "valid UTF-8"},
		{"a\u2028b.pdf", "", "filename", "control character"},
		{strings.Repeat("x", 256), "", "filename", "at most 255 octets"},
		{"a.pdf", "application/pdf\r\nX: y", "content_type", "control character"},
		{"a.pdf", "nonsense", "content_type", "must be a media type"},
		{"a.pdf", "a/b/c", "content_type", "must be a media type"},
		{"a.pdf", "text/plain; charset", "content_type", "must be a media type"},
		{"a.pdf", "text/plain; x=\"ü\"", "content_type", "must be a media type"},
		{"a.pdf", "text/" + strings.Repeat("x", 300), "content_type", "at most 255 octets"},
	}
	for _, tt := range tests {
		c := aContent()
		c.Attachments = []Attachment{{Filename: "ok.pdf"}, {Filename: tt.filename, ContentType: tt.contentType}}
		_, err := Compile(c)
		faults := faultsOf(t, err)
		if len(faults) != 1 || !strings.HasPrefix(faults[0], "attachments[1]."+tt.field+": ") || !strings.Contains(faults[0], tt.rule) {
			t.Errorf("%q, %q: %q, want %s: %s", tt.filename, tt.contentType, faults, tt.field, tt.rule)
		}
	}
	c := aContent()
	c.Attachments = make([]Attachment, maxAttachments+1)
	if _, err := Compile(c); fmt.Sprint(faultsOf(t, err)) != "[attachments: must be at most 100]" {
		t.Errorf("too many: %v", err)
	}
}

func TestAttachmentTypeByName(t *testing.T) {
	t.Parallel()
	if got := typeByName("a.txt", []byte("é")); got != "text/plain; charset=utf-8" {
		t.Errorf("UTF-8 text is %q", got)
	}
	if got := typeByName("a.txt", []byte("\xe9")); got != "text/plain" {
		t.Errorf("text that is not UTF-8 is %q", got)
	}
}

func TestEncodeBase64(t *testing.T) {
	t.Parallel()
	for n := range 300 {
		data := randomOctets(n)
		got := encodeBase64(data)
		if cap(got) != len(got) {
			t.Errorf("%d octets: %d of %d used", n, len(got), cap(got))
		}
		lines := strings.Split(string(got), "\r\n")
		for i, line := range lines {
			if len(line) > 76 || i < len(lines)-1 && len(line) != 76 {
				t.Errorf("%d octets: line %d has %d", n, i, len(line))
			}
		}
		back, err := base64.StdEncoding.DecodeString(strings.Join(lines, ""))
		if err != nil || !bytes.Equal(back, data) {
			t.Errorf("%d octets came back as %d, %v", n, len(back), err)
		}
	}
}
