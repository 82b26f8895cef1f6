package campaign_test

import (
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"postern/internal/campaign"
)

// FuzzParseMailbox: what is taken has an address that is sound, and a name that
// no header can be made of.
func FuzzParseMailbox(f *testing.F) {
	for _, s := range []string{
		"a@b.example", "Agency <a@b.example>", `"a \"b\"" <a@b.example>`, "<a@b.example>", `"<x@y.example>" <a@b.example>`,
		"a\r\nBcc: x <a@b.example>", "\u2028 <a@b.example>", "\u202eknaB <a@b.example>", "\u200f <a@b.example>", `"a> ORCPT=x"@d.example`, "", "<", "<>", `"" <a@b.example>`, "a <b <c@d.example>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := campaign.ParseMailbox(s)
		if err != nil {
			return
		}
		if campaign.CheckAddress(m.Address) != nil || !strings.Contains(s, m.Address) {
			t.Errorf("%q gives the address %q", s, m.Address)
		}
		checkHeaderText(t, m.Name)
		if strings.ContainsAny(m.Name, "\u200e\u200f\u061c") {
			t.Errorf("%q is taken for a name", m.Name)
		}
	})
}

// FuzzHeaderText: what passes has nothing that breaks a line.
func FuzzHeaderText(f *testing.F) {
	for _, s := range []string{"a", "a\tb", "a\rb", "a\nb", "a\x00b", "a\u0085b", "a\u2028b", "\xff", "保健所", "\x7f", "\u202egpj.exe", "\u2067a\u2069", "\u200f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if campaign.CheckHeaderText(s) == nil {
			checkHeaderText(t, s)
		}
		if campaign.CheckFieldName(s) == nil {
			checkHeaderText(t, s)
			if strings.ContainsAny(s, `{}|"`) || s != strings.TrimSpace(s) || len(s) > campaign.MaxFieldNameOctets {
				t.Errorf("%q is taken for a field's name", s)
			}
		}
	})
}

// checkHeaderText says the same as the check in other words.
func checkHeaderText(t *testing.T, s string) {
	t.Helper()
	breaks := func(r rune) bool {
		return r < ' ' && r != '\t' || unicode.In(r, unicode.Zl, unicode.Zp) || r >= 0x7f && r < 0xa0 ||
			strings.ContainsRune("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", r)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, breaks) {
		t.Errorf("%q is taken for a header's text", s)
	}
}

// FuzzAudience packs recipients and unpacks them.
func FuzzAudience(f *testing.F) {
	f.Add("first_name", "a@b.example", "Ada", uint8(1))
	f.Add("", "", "\x00\xff", uint8(255))
	f.Add(strings.Repeat("n", 200), strings.Repeat("a", 300), "", uint8(0))
	f.Fuzz(func(t *testing.T, field, address, value string, n uint8) {
		a := campaign.Audience{Fields: []string{field, "last_name"}, Recipients: make([]campaign.Recipient, n)}
		for i := range a.Recipients {
			a.Recipients[i] = campaign.Recipient{Address: address, Values: []string{value[min(i, len(value)):], value}}
		}
		packed := a.Pack()
		got, err := campaign.UnpackAudience(packed)
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("%+v came back as %+v, %v", a, got, err)
		}
		for cut := 1; cut < min(len(packed), 64); cut++ {
			if _, err := campaign.UnpackAudience(packed[:len(packed)-cut]); err == nil && n > 0 {
				t.Fatalf("%d octets of %d are taken for an audience", len(packed)-cut, len(packed))
			}
		}
	})
}
