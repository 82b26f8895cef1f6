package mailer

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"postern/internal/campaign"
)

// aLetterOf2KB has four fields, as a common letter does.
func aLetterOf2KB(tb testing.TB) (*Letter, campaign.Recipient) {
	tb.Helper()
	c := aContent()
	c.Subject = "News for {{first_name}}"
	c.HTML = "<html><head><style>p{margin:0}</style></head><body><h1>Hello {{first_name}} {{last_name}}</h1>\n<p>" +
		strings.Repeat("This is what we have to say. ", 16) + "</p>\n<p>{{company}}</p>\n<p>" +
		strings.Repeat("And there is more. ", 10) + `</p><p>Sent to {{email}}</p></body></html>`
	l := mustCompile(tb, c)
	return l, recipientOf(l, "ada@example.org",
		map[string]string{"first_name": "Zoë", "last_name": "O'Hara", "company": "R&D <GmbH>"})
}

func TestRenderCost(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts what others allocate
	l, r := aLetterOf2KB(t)
	var m Message
	if err := l.Render(&m, r, "id@example.com"); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Segments()); m.Size() < 1500 || n > 4 {
		t.Errorf("%d octets in %d segments", m.Size(), n)
	}
	_ = m.Digest()
	if n := testing.AllocsPerRun(100, func() { _ = l.Render(&m, r, "id@example.com"); _ = m.Digest() }); n > 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func TestAttachmentsAreShared(t *testing.T) {
	t.Parallel()
	c := aContent()
	c.Attachments = []Attachment{{Filename: "a.bin", Data: randomOctets(1 << 20)}}
	l := mustCompile(t, c)
	var a, b Message
	for _, m := range []*Message{&a, &b} {
		if err := l.Render(m, recipientOf(l, "a@example.com", nil), "id@example.com"); err != nil {
			t.Fatal(err)
		}
		if cap(m.scratch) > 16<<10 {
			t.Errorf("a message of its own keeps %d octets", cap(m.scratch))
		}
	}
	largest := func(m *Message) *byte {
		for _, s := range m.Segments() {
			if len(s) > 1<<20 {
				return &s[0]
			}
		}
		t.Fatal("no segment holds the attachment")
		return nil
	}
	if largest(&a) != largest(&b) {
		t.Error("two messages have an attachment each")
	}
}

func TestRenderKeepsNoLargeBuffer(t *testing.T) {
	t.Parallel()
	c := aContent()
	c.HTML = "{{x}}"
	l := mustCompile(t, c)
	var m Message
	for _, v := range []string{strings.Repeat("x", maxPersonalOctets/4), "x"} {
		if err := l.Render(&m, recipientOf(l, "a@example.com", map[string]string{"x": v}), "id@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	if cap(m.scratch) > maxKeptScratch {
		t.Errorf("%d octets are kept", cap(m.scratch))
	}
}

func TestRenderAtOnce(t *testing.T) {
	t.Parallel()
	l, r := aLetterOf2KB(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var m Message
			own := campaign.Recipient{Address: fmt.Sprintf("a%d@example.com", i), Values: r.Values}
			for range 100 {
				if err := l.Render(&m, own, "id@example.com"); err != nil {
					t.Error(err)
					return
				}
				if raw := octetsOf(&m); !strings.Contains(raw, own.Address) || wireFault(raw) != nil {
					t.Errorf("message for %s:\n%s", own.Address, raw)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRender(b *testing.B) {
	l, r := aLetterOf2KB(b)
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Render(&m, r, "id@example.com"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(m.Size()), "octets/message")
}

func BenchmarkDigest(b *testing.B) {
	l, r := aLetterOf2KB(b)
	var m Message
	if err := l.Render(&m, r, "id@example.com"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(m.Size())
	for b.Loop() {
		m.Digest()
	}
}

func BenchmarkMessageID(b *testing.B) {
	ids := NewMessageIDs(make([]byte, 32), "0198c0de-0000-7000-8000-000000000000", "news@example.com")
	b.ReportAllocs()
	for b.Loop() {
		ids.Of("ada@example.org")
	}
}

func BenchmarkCompile(b *testing.B) {
	c := aContent()
	c.Attachments = []Attachment{{Filename: "a.pdf", Data: randomOctets(1 << 20)}}
	b.ReportAllocs()
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := Compile(c); err != nil {
			b.Fatal(err)
		}
	}
}
