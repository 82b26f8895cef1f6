package campaign_test

import (
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"postern/internal/campaign"
)

func TestWireAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		address, want string
		smtputf8      bool
		rule          string // "" for none
	}{
		{"Ada.L+x@Example.COM", "Ada.L+x@Example.COM", false, ""},
		{"a@bücher.example", "a@xn--bcher-kva.example", false, ""},
		{"a@BÜCHER.example", "a@xn--bcher-kva.example", false, ""},
		{"a@例え.テスト", "a@xn--r8jz45g.xn--zckzah", false, ""},
		{"jürgen@example.com", "jürgen@example.com", true, ""},
		{"ju\u0308rgen@Example.com", "j\u00fcrgen@Example.com", true, ""},
		{"\u212aate@example.com", "Kate@example.com", false, ""},
		{"用户@例え.テスト", "用户@xn--r8jz45g.xn--zckzah", true, ""},
		{"a@ab--cd.example", "a@ab--cd.example", false, ""},
		{"a@" + "一긓喢눹嵄뙟擦명沈뺫琪싑篌웷荮쬝謐콃銲퍩驔.example", "", false, "labels of 1 to 63"},
		{"a@\u0301x.example", "", false, "valid internationalised domain"},
		{`"a> ORCPT=x"@d.example`, "", false, "before the @"},
		{"a@b@c.example", "", false, "exactly one @"},
		{"a\r\n@c.example", "", false, "before the @"},
		{"", "", false, "must not be empty"},
	}
	for _, tt := range tests {
		got, smtputf8, err := campaign.WireAddress(tt.address)
		if tt.rule == "" {
			if err != nil || got != tt.want || smtputf8 != tt.smtputf8 {
				t.Errorf("%q: %q, %v, %v; want %q, %v", tt.address, got, smtputf8, err, tt.want, tt.smtputf8)
			}
			continue
		}
		if err != nil && !strings.Contains(err.Error(), tt.rule) || err == nil {
			t.Errorf("%q: %q, %v; want the rule %q", tt.address, got, err, tt.rule)
		}
	}
}

// FuzzWireAddress: what goes into the envelope passes the check itself, and has
// the same form when it is put through again.
func FuzzWireAddress(f *testing.F) {
	for _, s := range []string{
		"a@b.example", "a@bücher.example", "ä@b.example", "a@ｅxample.org", "a@xn--a.example", "a@EXAMPLE.org", "a@ß.example", "a@\u2024.example",
		"a@b\u3002example", "a@xn--bcher-kva.example", "a@℀.example", `"a> ORCPT=x"@d.example`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		wire, smtputf8, err := campaign.WireAddress(s)
		if err != nil {
			return
		}
		if err := campaign.CheckAddress(wire); err != nil {
			t.Errorf("%q goes over the wire as %q, which %v", s, wire, err)
		}
		if domain := campaign.Domain(wire); !ascii(domain) || smtputf8 == ascii(wire) {
			t.Errorf("%q goes over the wire as %q, SMTPUTF8 %v", s, wire, smtputf8)
		}
		if again, _, err := campaign.WireAddress(wire); err != nil || again != wire {
			t.Errorf("%q, and then %q, %v", wire, again, err)
		}
		if strings.ContainsAny(wire, " <>\r\n\x00\t\"\\()[],;:") {
			t.Errorf("%q goes over the wire as %q", s, wire)
		}
	})
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

// TestKey: who is one contact, and who are two. Of each row all are one, and no
// other row's.
func TestKey(t *testing.T) {
	t.Parallel()
	rows := []struct {
		key  string
		same []string
	}{
		{"bob@city.example", []string{"Bob@City.EXAMPLE", "bob@ci\ufe0fty.example", "bob@\uff43ity.example"}},
		{"bob@xn--city-rwc.example", []string{"bob@c\u0130ty.example", "bob@ci\u0307ty.example", "BOB@XN--City-rwc.example"}},
		{"gone@xn--bcher-kva.example", []string{"gone@bücher.example", "Gone@BÜCHER.example", "gone@bu\u0308cher.example", "gone@xn--Bcher-KVA.example"}},
		{"ada@example.org", []string{"ada@ｅｘample.org", "ADA@ＥＸＡＭＰＬＥ.org", "ada@ex\u1d43mple.org"}},
		{"ada@xn--strae-oqa.example", []string{"ada@straße.example", "ADA@Straße.example"}},
		{"kate@kew.example", []string{"Kate@Kew.example", "\u212aate@kew.example", "kate@\u212aew.example"}},
		{"jürgen@example.org", []string{"Jürgen@example.org", "ju\u0308RGEN@Example.org"}},
		{"jÜrgen@example.org", []string{"JU\u0308rgen@example.org"}}, // beyond ASCII upper case is another
		{"ıan@example.org", nil},
		{"ian@example.org", []string{"Ian@example.org"}},
		{"\u1e96@example.org", []string{"h\u0331@example.org", "H\u0331@example.org"}}, // h alone has it composed
		{"root@localhost", []string{"Root@LocalHost", "root@localho\u017ft"}},
	}
	for _, row := range rows {
		for _, address := range append(row.same, row.key) {
			if err := campaign.CheckAddress(address); err != nil {
				t.Errorf("%+q: %v", address, err)
			}
			if got := campaign.Key(address); got != row.key {
				t.Errorf("Key(%+q) = %+q; want %+q", address, got, row.key)
			}
		}
	}
}

// TestKeyOfNoAddress is nobody's: it takes no contact's place.
func TestKeyOfNoAddress(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"": "", "No Address": "no address", "(erased 1)": "(erased 1)", "A@\u0301x.Example": "a@\u0301x.example", "É\xff@B.example": "É\xff@b.example",
	} {
		if got := campaign.Key(s); got != want || campaign.Key(got) != got || campaign.CheckAddress(got) == nil {
			t.Errorf("Key(%+q) = %+q; want %+q", s, got, want)
		}
	}
}

// TestKeysAreWireAddresses: two addresses have one key exactly when they are
// one on the wire, up to the case of ASCII letters.
func TestKeysAreWireAddresses(t *testing.T) {
	t.Parallel()
	// Few of each, so that two that are drawn are often one mailbox: letters
	// that lower, compose, map or fold to others, marks that vanish.
	atoms := []string{
		"i", "I", "\u0130", "\u0131", "k", "K", "\u212a", "s", "\u017f", "ß", "ẞ", "ü", "Ü", "u\u0308", "U\u0308", "u", "ｉ", "Ｋ",
		"h\u0331", "H\u0331", "\u1e96", "\u0307", "\ufe0f", "σ", "ς", "Σ", "å", "\u212b", "ﬁ", "例", "\u0958",
	}
	draw := func(t *rapid.T, of string) (address, wire string) {
		part := rapid.SliceOfN(rapid.SampledFrom(atoms), 1, 3)
		domain := rapid.SampledFrom([]string{"", "xn--bcher-kva.", "XN--bcher-KVA.", "bücher.", "a."})
		address = strings.Join(part.Draw(t, of+"'s name"), "") + "@" +
			domain.Draw(t, of+"'s domain") + strings.Join(part.Draw(t, of+"'s label"), "") + ".Example"
		wire, _, err := campaign.WireAddress(address)
		if err != nil {
			t.Skip("no address")
		}
		return address, wire
	}
	rapid.Check(t, func(t *rapid.T) {
		a, wireA := draw(t, "a")
		b, wireB := draw(t, "b")
		if one := lowered(wireA) == lowered(wireB); (campaign.Key(a) == campaign.Key(b)) != one {
			t.Errorf("%+q is %+q on the wire, with the key %+q; %+q is %+q, %+q", a, wireA, campaign.Key(a), b, wireB, campaign.Key(b))
		}
		if key := campaign.Key(a); campaign.Key(key) != key || campaign.Key(wireA) != key || campaign.CheckAddress(key) != nil {
			t.Errorf("%+q has the key %+q, that %+q, and the wire's %+q", a, key, campaign.Key(key), campaign.Key(wireA))
		}
	})
}

// lowered has ASCII letters in lower case, in one of the forms in which
// Unicode writes the same text.
func lowered(wire string) string {
	return norm.NFD.String(strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, wire))
}

// TestKeyOfASCII stays what it was, and what is in lower case is not copied.
func TestKeyOfASCII(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[!-~]{0,20}@[!-~]{0,20}`).Draw(t, "an address or not")
		if got := campaign.Key(s); got != strings.ToLower(s) {
			t.Errorf("Key(%q) = %q", s, got)
		}
	})
}

func BenchmarkKey(b *testing.B) {
	for name, address := range map[string]string{
		"plain": "ada.lovelace@city.example", "upper": "Ada.Lovelace@City.example", "domain": "ada@bücher.example", "name": "jürgen@city.example",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				campaign.Key(address)
			}
		})
	}
}
