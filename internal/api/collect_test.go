package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"postern/internal/campaign"
)

// book is a Service that only lists contacts: as many as sizes, with fields of
// those sizes.
type book struct {
	Service

	sizes []int
}

func (b book) Contacts(_ context.Context, cursor string, limit int) ([]campaign.Contact, string, error) {
	from, err := strconv.Atoi("0" + cursor)
	if err != nil {
		return nil, "", err
	}
	to := min(from+limit, len(b.sizes))
	var contacts []campaign.Contact
	for i := from; i < to; i++ {
		contacts = append(contacts, campaign.Contact{
			Address: fmt.Sprintf("%05d@x.org", i), Fields: map[string]string{"note": strings.Repeat("n", b.sizes[i])},
		})
	}
	if to == len(b.sizes) {
		return contacts, "", nil
	}
	return contacts, strconv.Itoa(to), nil
}

// TestCollectContacts goes through listings page by page: every contact comes
// once, and no answer is above the budget.
func TestCollectContacts(t *testing.T) {
	t.Parallel()
	const budget = 100_000
	repeat := func(n, size int) []int {
		sizes := make([]int, n)
		for i := range sizes {
			sizes[i] = size
		}
		return sizes
	}
	for name, tt := range map[string]struct {
		sizes []int
		pages int // at most
	}{
		"none":             {nil, 1},
		"one":              {repeat(1, 10), 1},
		"small":            {repeat(400, 10), 1},
		"many":             {repeat(5000, 10), 30},
		"large":            {repeat(40, 30_000), 40},
		"one above budget": {append(repeat(3, 10), 200_000, 10), 5},
		"growing":          {append(repeat(300, 10), repeat(20, 50_000)...), 40},
	} {
		for _, limit := range []int{0, 1, 1000} {
			a := &api{service: book{sizes: tt.sizes}, cursors: newCursors(cursorKey(1))}
			var got []string
			p := page{limit: limit}
			pages := 0
			for more := true; more; pages++ {
				out, err := a.collectContacts(t.Context(), p, budget)
				if err != nil {
					t.Fatal(err)
				}
				octets := 0
				for _, c := range out.Contacts {
					octets += len(c) + 1
					got = append(got, string(c))
				}
				if octets > budget && out.Count > 1 || out.Count != len(out.Contacts) {
					t.Errorf("%s: %d contacts of %d octets, count %d", name, len(out.Contacts), octets, out.Count)
				}
				if out.Truncated != (limit == 0 && out.NextCursor != nil) {
					t.Errorf("%s: truncated %v, next %v", name, out.Truncated, out.NextCursor)
				}
				if more = out.NextCursor != nil; more {
					if p.cursor, err = a.cursors.open(contactsListing, *out.NextCursor); err != nil {
						t.Fatal(err)
					}
				}
			}
			if len(got) != len(tt.sizes) || limit != 1 && pages > tt.pages {
				t.Errorf("%s by %d: %d contacts in %d pages", name, limit, len(got), pages)
			}
			for i, c := range got {
				if !strings.Contains(c, fmt.Sprintf(`"%05d@x.org"`, i)) {
					t.Fatalf("%s by %d: contact %d is %.60s", name, limit, i, c)
				}
			}
		}
	}
}
