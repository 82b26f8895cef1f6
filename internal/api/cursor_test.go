package api

import (
	"strings"
	"testing"

	"postern/internal/campaign"
)

func TestCursor(t *testing.T) {
	t.Parallel()
	c := cursors{key: []byte("key")}
	for _, cursor := range []string{"1:17", "ana@example.org", "\x00\xff", strings.Repeat("x", 2000)} {
		sealed := c.seal("contacts", cursor)
		got, err := c.open("contacts", *sealed)
		if err != nil || got != cursor {
			t.Errorf("%q comes back as %q, %v", cursor, got, err)
		}
		if strings.Trim(*sealed, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			t.Errorf("%q does not go into a URL as it is", *sealed)
		}
		if _, err := (cursors{key: []byte("another")}).open("contacts", *sealed); campaign.CodeOf(err) != campaign.CodeInvalid {
			t.Errorf("a cursor of another key: %v", err)
		}
		if _, err := c.open("contact", *sealed); campaign.CodeOf(err) != campaign.CodeInvalid {
			t.Errorf("a cursor of another listing: %v", err)
		}
	}
	if c.seal("contacts", "") != nil {
		t.Error("a cursor where there is no next page")
	}
	// The same octets, cut between listing and cursor in another place.
	if _, err := c.open("ab", *c.seal("a", "bc")); err == nil {
		t.Error("the listing's end is not authenticated")
	}
}

// FuzzCursor tries to forge: only what seal made may open.
func FuzzCursor(f *testing.F) {
	c := cursors{key: []byte("key")}
	genuine := *c.seal("campaigns", "17")
	for _, seed := range []string{genuine, genuine + "A", genuine[1:], strings.ToLower(genuine), "", "AAAA", "====", "%", genuine + "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sealed string) {
		cursor, err := c.open("campaigns", sealed)
		if err != nil {
			if campaign.CodeOf(err) != campaign.CodeInvalid {
				t.Fatalf("%q: %v", sealed, err)
			}
			return
		}
		if sealed == "" && cursor == "" {
			return
		}
		if again := c.seal("campaigns", cursor); again == nil || *again != sealed {
			t.Fatalf("%q opens to %q, which seals otherwise", sealed, cursor)
		}
	})
}
