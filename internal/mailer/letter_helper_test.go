package mailer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"

	"postern/internal/campaign"
)

var letterDate = time.Date(2026, time.March, 4, 5, 6, 7, 0, time.UTC)

// aContent is valid content that a test changes one thing of.
func aContent() Content {
	return Content{
		Subject: "Hello {{first_name}}",
		HTML:    "<p>Dear {{first_name}},</p>\n<p>Yours</p>\n",
		From:    campaign.Mailbox{Name: "Postern", Address: "news@example.com"},
		Date:    letterDate,
	}
}

func mustCompile(tb testing.TB, c Content) *Letter {
	tb.Helper()
	l, err := Compile(c)
	if err != nil {
		tb.Fatalf("Compile: %v", err)
	}
	return l
}

// recipientOf puts values into the letter's order.
func recipientOf(l *Letter, address string, fields map[string]string) campaign.Recipient {
	r := campaign.Recipient{Address: address}
	for _, f := range l.Fields() {
		r.Values = append(r.Values, fields[f])
	}
	return r
}

func mustRender(tb testing.TB, l *Letter, address string, fields map[string]string) string {
	tb.Helper()
	var m Message
	if err := l.Render(&m, recipientOf(l, address, fields), "id@example.com"); err != nil {
		tb.Fatalf("Render: %v", err)
	}
	raw := octetsOf(&m)
	if int64(len(raw)) != m.Size() {
		tb.Errorf("Size() = %d, the message has %d octets", m.Size(), len(raw))
	}
	checkWire(tb, raw)
	return raw
}

func octetsOf(m *Message) string {
	var b strings.Builder
	for _, s := range m.Segments() {
		b.Write(s)
	}
	return b.String()
}

// checkWire checks what every message must be.
func checkWire(tb testing.TB, raw string) {
	tb.Helper()
	if err := wireFault(raw); err != nil {
		tb.Fatalf("%v in\n%s", err, raw)
	}
}

// unfolded says whether a line may be longer than others: it is one word of a
// part's header, a media type (at most 255 octets) or a file's name.
func unfolded(line string) bool {
	return len(line) <= 998 && (strings.HasPrefix(line, "Content-Type: ") || strings.HasPrefix(line, " filename=") || strings.HasPrefix(line, " name="))
}

func wireFault(raw string) error {
	if !strings.HasSuffix(raw, "\r\n") {
		return errors.New("no CRLF at the end")
	}
	header := true
	for i, line := range strings.Split(strings.TrimSuffix(raw, "\r\n"), "\r\n") {
		most := 76
		if header {
			most = 998
		}
		header = header && line != ""
		switch {
		case strings.ContainsAny(line, "\r\n\x00"):
			return fmt.Errorf("line %d has a bare CR, LF or NUL: %q", i+1, line)
		case !isASCII(line):
			return fmt.Errorf("line %d is not 7-bit: %q", i+1, line)
		case strings.HasPrefix(line, "."):
			return fmt.Errorf("line %d starts with a dot: %q", i+1, line)
		case len(line) > most && !unfolded(line):
			return fmt.Errorf("line %d has %d octets: %q", i+1, len(line), line)
		}
	}
	return nil
}

// parseMIME reads a message with a MIME parser that is not ours, and allows it no
// complaint.
func parseMIME(tb testing.TB, raw string) *enmime.Envelope {
	tb.Helper()
	return parseWith(tb, raw, enmime.ErrorPlainTextFromHTML) // HTML without text has none
}

// parseFiles is parseMIME for attachments that say of themselves in which
// charset they are, and may be wrong: their octets stay as they are.
func parseFiles(tb testing.TB, raw string) *enmime.Envelope {
	tb.Helper()
	return parseWith(tb, raw, enmime.ErrorPlainTextFromHTML, enmime.ErrorCharsetDeclaration, enmime.ErrorCharsetConversion)
}

// fileOctets decodes the attachments by the standard library: enmime guesses
// the charset of text that names none, and converts it.
func fileOctets(tb testing.TB, raw string) (files [][]byte) {
	tb.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		tb.Fatalf("%v in\n%s", err, raw)
	}
	_, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		tb.Fatalf("%v in\n%s", err, raw)
	}
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			tb.Fatalf("%v in\n%s", err, raw)
		}
		if part.Header.Get("Content-Transfer-Encoding") != "base64" {
			continue
		}
		octets, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
		if err != nil {
			tb.Fatalf("%v in\n%s", err, raw)
		}
		files = append(files, octets)
	}
}

func parseWith(tb testing.TB, raw string, allowed ...string) *enmime.Envelope {
	tb.Helper()
	p := enmime.NewParser(enmime.DisableCharacterDetection(true), enmime.DisableTextConversion(true))
	e, err := p.ReadEnvelope(strings.NewReader(raw))
	if err != nil {
		tb.Fatalf("parse: %v in\n%s", err, raw)
	}
	for _, fault := range e.Errors {
		if !slices.Contains(allowed, fault.Name) {
			tb.Errorf("the parser complains: %v in\n%s", fault, raw)
		}
	}
	return e
}

// bodies gives the decoded text and HTML.
func bodies(tb testing.TB, raw string) (text, html string) {
	tb.Helper()
	e := parseMIME(tb, raw)
	for _, part := range e.Root.DepthMatchAll(func(p *enmime.Part) bool {
		return p.FileName == "" && strings.HasPrefix(p.ContentType, "text/")
	}) {
		if part.ContentType == "text/html" {
			html = string(part.Content)
		} else {
			text = string(part.Content)
		}
	}
	return text, html
}

// expand is what a template is to become, by simpler means.
func expand(t template, fields map[string]string, escape func(string) string) string {
	var b strings.Builder
	for _, s := range t {
		if s.field == "" {
			b.WriteString(s.literal)
			continue
		}
		v := fields[s.field]
		if v == "" {
			v = s.fallback
		}
		b.WriteString(normalizeBreaks(escape(v)))
	}
	return crlf(b.String())
}

func asIs(s string) string { return s }

// faultsOf gives the faults of a CodeInvalid error as "field: rule" lines.
func faultsOf(tb testing.TB, err error) []string {
	tb.Helper()
	e, ok := errors.AsType[*campaign.Error](err)
	if !ok || e.Code != campaign.CodeInvalid {
		tb.Fatalf("want a CodeInvalid error, got %v", err)
	}
	var faults []string
	for _, f := range e.Faults {
		faults = append(faults, f.Field+": "+f.Rule)
	}
	return faults
}
