package dynamo

import (
	"testing"

	"postern/internal/campaign"
)

// FuzzCursor: a cursor either comes back as the key that it was made of, or is
// refused with the field's name.
func FuzzCursor(f *testing.F) {
	f.Add(listingContacts.cursorTo("ann@example.org"))
	f.Add(listingCampaigns.cursorTo("ann@example.org"))
	f.Add("")
	f.Add("cAAAAAA")
	f.Fuzz(func(t *testing.T, cursor string) {
		key, err := listingContacts.keyOf(cursor)
		if err == nil {
			if again := listingContacts.cursorTo(key); again != cursor || key == "" {
				t.Fatalf("cursor %q has key %q, whose cursor is %q", cursor, key, again)
			}
			return
		}
		wantCode(t, err, campaign.CodeInvalid)
	})
}

func TestCursorIsChecked(t *testing.T) {
	t.Parallel()
	good := listingContacts.cursorTo("ann@example.org")
	if key, err := listingContacts.keyOf(good); err != nil || key != "ann@example.org" {
		t.Fatalf("key %q, error %v", key, err)
	}
	for i := range good {
		for _, bad := range []string{good[:i], good[:i] + "_" + good[i+1:], good[:i] + "0" + good[i+1:]} {
			if key, err := listingContacts.keyOf(bad); err == nil && bad != good {
				t.Fatalf("cursor %q, cut or changed at %d, is taken for %q", bad, i, key)
			}
		}
	}
}
