package api

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"postern/internal/campaign"
)

func cursorKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func TestCursor(t *testing.T) {
	t.Parallel()
	c := newCursors(cursorKey(1))
	for _, cursor := range []string{"1:17", "ana@example.org", "\x00\xff", strings.Repeat("x", 2000)} {
		sealed := c.seal("contacts", cursor)
		got, err := c.open("contacts", *sealed)
		if err != nil || got != cursor {
			t.Errorf("%q comes back as %q, %v", cursor, got, err)
		}
		if strings.Trim(*sealed, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			t.Errorf("%q does not go into a URL as it is", *sealed)
		}
		if _, err := newCursors(cursorKey(2)).open("contacts", *sealed); campaign.CodeOf(err) != campaign.CodeInvalid {
			t.Errorf("a cursor of another key: %v", err)
		}
		// It stands in URLs, and URLs in logs of others.
		if raw, err := base64.RawURLEncoding.DecodeString(*sealed); err != nil || len(cursor) >= 8 && bytes.Contains(raw, []byte(cursor)) {
			t.Errorf("%q shows in its cursor (%v)", cursor, err)
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
	c := newCursors(cursorKey(1))
	// Of one nonce, so that it is the same in all processes.
	const genuine = "rcs8TAo_Z4b7uRlCl9hbYIGVv0zG-FqwztLVKaPWQV2iX0Y"
	other := genuine[:len(genuine)-1] + "Z" // the same octets
	if cursor, err := c.open("campaigns", genuine); err != nil || cursor != "1:7" {
		f.Fatalf("the genuine one opens to %q, %v", cursor, err)
	}
	for _, seed := range []string{genuine, other, genuine + "A", genuine[1:], strings.ToLower(genuine), "", "AAAA", "====", "%", genuine + "\n"} {
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
		if sealed != genuine {
			t.Fatalf("%q opens to %q", sealed, cursor)
		}
	})
}
