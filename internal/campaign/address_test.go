package campaign_test

import (
	"strings"
	"testing"

	"postern/internal/campaign"
)

func TestCheckAddress(t *testing.T) {
	t.Parallel()
	good := []string{
		"a@b.example", "First.Last+tag@sub.domain.example", "o'brien@example.org", "root@localhost",
		"用户@例子.example", "jürgen@bücher.example", "!#$%&'*+-/=?^_`{|}~@example.org",
		strings.Repeat("l", 64) + "@example.org",
	}
	for _, s := range good {
		if err := campaign.CheckAddress(s); err != nil {
			t.Errorf("CheckAddress(%q) = %v; want nil", s, err)
		}
	}
	bad := map[string]string{
		"":                                       "empty",
		"plain":                                  "no @",
		"a@b@c.example":                          "two @",
		"a@":                                     "no domain",
		"@b.example":                             "no local part",
		`"a> ORCPT=x"@d.example`:                 "a quoted local part that smuggles an SMTP parameter",
		`"a b"@d.example`:                        "a quoted local part",
		"a b@d.example":                          "a space",
		"a\x00@d.example":                        "a NUL",
		"a\r\nRCPT TO:<x@y>@d.example":           "a line break",
		"a@d.example\r\n":                        "a line break at the end",
		"a@d.example>":                           "an angle bracket",
		"<a@d.example>":                          "angle brackets",
		".a@d.example":                           "a leading dot",
		"a.@d.example":                           "a trailing dot",
		"a..b@d.example":                         "two dots",
		"a@nodot":                                "a domain of one label",
		"a@-d.example":                           "a leading hyphen",
		"a@d..example":                           "an empty label",
		"a@d.example.":                           "a root dot",
		"a@[127.0.0.1]":                          "an address literal",
		"a@d_e.example":                          "an underscore in the domain",
		"a\u2028@d.example":                      "a line separator",
		"a\xff@d.example":                        "invalid UTF-8",
		"a,b@d.example":                          "a comma",
		strings.Repeat("l", 65) + "@d.example":   "a local part over 64 octets",
		"a@" + strings.Repeat("d.", 130) + "com": "more than 254 octets",
		"a@" + strings.Repeat("d", 64) + ".com":  "a label over 63 octets",
		"a@\u0301x.example":                      "a domain that begins with a mark",
	}
	for s, why := range bad {
		if campaign.CheckAddress(s) == nil {
			t.Errorf("CheckAddress(%q) = nil; want an error: %s", s, why)
		}
	}
}

func FuzzCheckAddress(f *testing.F) {
	f.Add("a@b.example")
	f.Add(`"a> ORCPT=x"@d.example`)
	f.Add("用户@例子.example")
	f.Add("\u212aate@c\u0130ty.example")
	f.Fuzz(func(t *testing.T, s string) {
		if campaign.CheckAddress(s) != nil {
			// Nobody's key is somebody's.
			if k := campaign.Key(s); campaign.CheckAddress(k) == nil && k == campaign.Key(k) {
				t.Errorf("%q, which is no address, has the key %q of one", s, k)
			}
			return
		}
		if strings.ContainsAny(s, " <>\"\\\r\n\x00,;:()[]\t") || strings.Count(s, "@") != 1 || len(s) > 254 {
			t.Errorf("%q was accepted", s)
		}
		if k := campaign.Key(s); k != campaign.Key(k) {
			t.Errorf("Key(%q) is not stable", s)
		}
	})
}

func TestParseMailbox(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]campaign.Mailbox{
		"a@b.example":                            {Address: "a@b.example"},
		" Agency <a@b.example> ":                 {Name: "Agency", Address: "a@b.example"},
		`"Agency, Dept. of \"X\"" <a@b.example>`: {Name: `Agency, Dept. of "X"`, Address: "a@b.example"},
		"保健所 <a@b.example>":                      {Name: "保健所", Address: "a@b.example"},
	} {
		if got, err := campaign.ParseMailbox(in); err != nil || got != want {
			t.Errorf("ParseMailbox(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "Agency", "<a@b.example", "A\r\nBcc: x <a@b.example>", "A <a@b.example> B", "A <>"} {
		if got, err := campaign.ParseMailbox(in); err == nil {
			t.Errorf("ParseMailbox(%q) = %+v; want an error", in, got)
		}
	}
}

// TestCheckShownName: what turns text round passes in no header, and what is
// merely invisible in none that is trusted at a glance.
func TestCheckShownName(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][2]bool{
		"Agency":         {true, true},
		"בנק":            {true, true},
		"שלום!\u200f":    {true, false},
		"a\u200eb":       {true, false},
		"\u061c٣":        {true, false},
		"photo\u202egpj": {false, false},
		"\u202a1\u202c":  {false, false},
		"\u2066x\u2069":  {false, false},
		"x\u2069":        {false, false},
		"a\nb":           {false, false},
		"نام\u200cه":     {true, true}, // a non-joiner is spelling
	} {
		got := [2]bool{campaign.CheckHeaderText(s) == nil, campaign.CheckShownName(s) == nil}
		if got != want {
			t.Errorf("%+q: in a header %v, as a name %v; want %v", s, got[0], got[1], want)
		}
	}
	if _, err := campaign.ParseMailbox("\u200fBank <a@b.example>"); err == nil {
		t.Error("a mailbox has a name with a mark")
	}
}
