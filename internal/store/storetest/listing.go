package storetest

import (
	"context"
	"encoding/base64"
	"maps"
	"strings"

	"postern/internal/campaign"
)

// listed reads a listing to its end and counts how often each thing that
// belongs to the test came.
func listed[T any](k kit, limit int, list func(context.Context, string, int) ([]T, string, error), mine func(T) string) map[string]int {
	k.Helper()
	seen := map[string]int{}
	cursors := map[string]bool{}
	for cursor := ""; ; {
		page, next, err := list(k.Context(), cursor, limit)
		k.ok(err, "listing")
		if len(page) > limit {
			k.Fatalf("a page of %d, the limit is %d", len(page), limit)
		}
		for _, item := range page {
			if key := mine(item); key != "" {
				seen[key]++
			}
		}
		if next == "" {
			return seen
		}
		if cursors[next] {
			k.Fatalf("the listing goes in a circle at cursor %q", next)
		}
		cursors[next], cursor = true, next
	}
}

func (k kit) listContacts(limit int) map[string]int {
	k.Helper()
	return listed(k, limit, k.s.ListContacts, func(c campaign.Contact) string {
		if strings.HasPrefix(c.Key(), k.prefix) {
			return c.Key()
		}
		return ""
	})
}

func testListContacts(k kit) {
	want := map[string]int{}
	for _, key := range k.people(25) {
		want[key] = 1
	}
	for _, limit := range []int{7, 50, 1000} {
		k.same(k.listContacts(limit), want, "contacts and how often each was listed")
	}
}

// testListChanging deletes what was listed and adds others while it lists.
func testListChanging(k kit) {
	stay := map[string]int{}
	for i, key := range k.people(40) {
		if i%2 == 1 {
			stay[key] = 1
		}
	}
	extra, removed := 100, map[string]bool{}
	seen := listed(k, 10, func(ctx context.Context, cursor string, limit int) ([]campaign.Contact, string, error) {
		page, next, err := k.s.ListContacts(ctx, cursor, limit)
		for _, c := range page {
			if strings.HasPrefix(c.Key(), k.prefix) && stay[c.Key()] == 0 && !removed[c.Key()] {
				removed[c.Key()] = true
				k.ok(k.s.DeleteContact(ctx, c.Key()), "DeleteContact")
			}
		}
		if extra < 120 {
			k.upsert(campaign.ContactChange{Address: k.address(extra)})
			extra++
		}
		return page, next, err
	}, func(c campaign.Contact) string {
		if stay[c.Key()] == 1 {
			return c.Key()
		}
		return ""
	})
	k.same(seen, stay, "contacts that were there all the time, and how often each was listed")
}

// testStatusesAfter finds the place of a key in the listing, also when nobody
// stands there any more.
func testStatusesAfter(k kit) {
	const people = 30
	k.people(people)
	var order []string
	_ = listed(k, 1000, k.s.ListContacts, func(c campaign.Contact) string {
		if strings.HasPrefix(c.Key(), k.prefix) {
			order = append(order, c.Key())
		}
		return ""
	})
	if len(order) != people {
		k.Fatalf("%d contacts are listed of %d", len(order), people)
	}
	after := func(key string, limit int) map[string]campaign.ContactStatus {
		k.Helper()
		statuses, err := k.s.StatusesAfter(k.Context(), key, limit)
		k.ok(err, "StatusesAfter")
		if len(statuses) > limit {
			k.Fatalf("%d statuses, the limit is %d", len(statuses), limit)
		}
		maps.DeleteFunc(statuses, func(key string, _ campaign.ContactStatus) bool { return !strings.HasPrefix(key, k.prefix) })
		return statuses
	}
	active := func(keys []string) map[string]campaign.ContactStatus {
		statuses := map[string]campaign.ContactStatus{}
		for _, key := range keys {
			statuses[key] = campaign.ContactActive
		}
		return statuses
	}
	const all = 10_000
	k.same(after(order[0], all), active(order[1:]), "those behind the first one")
	k.same(after(order[people-1], all), active(nil), "those behind the last one")
	k.ok(k.s.DeleteContact(k.Context(), order[9]), "DeleteContact")
	k.upsert(campaign.ContactChange{Address: order[12], Status: campaign.ContactBounced})
	want := active(order[10:])
	want[order[12]] = campaign.ContactBounced
	k.same(after(order[9], all), want, "those behind one who is gone")
	few := after(order[9], 5)
	for i, key := range order[10:] {
		if _, given := few[key]; given != (i < len(few)) {
			k.Fatalf("up to 5 behind one: %v, want the first of %v", few, order[10:])
		}
	}
}

// forgedCursors are cursors that no store gives.
func forgedCursors() []string {
	b64 := base64.RawURLEncoding.EncodeToString
	return []string{
		"x", "not a cursor", "\x00", "%%%", "'; drop table", strings.Repeat("A", 1<<16), "🙂",
		b64([]byte("{}")), b64([]byte("ann@example.org")), b64([]byte("0")), b64(nil) + "=", "null", "{}", "-1",
	}
}

func (k kit) refusesCursor(err error, cursor string) {
	k.Helper()
	k.fails(err, campaign.CodeInvalid, "the listing with forged cursor "+cursor[:min(len(cursor), 40)])
	for _, fault := range faultsOf(err) {
		if fault.Field == "cursor" {
			return
		}
	}
	k.Fatalf("error %v does not name the field cursor", err)
}

func testForgedContactCursor(k kit) {
	k.people(3)
	for _, cursor := range forgedCursors() {
		_, _, err := k.s.ListContacts(k.Context(), cursor, 10)
		k.refusesCursor(err, cursor)
	}
	k.start()
	k.start()
	foreign, err := k.s.ListCampaigns(k.Context(), "", 1)
	k.ok(err, "ListCampaigns")
	_, _, err = k.s.ListContacts(k.Context(), foreign.Next, 10)
	k.refusesCursor(err, foreign.Next)
}

func testForgedCampaignCursor(k kit) {
	k.start()
	for _, cursor := range forgedCursors() {
		_, err := k.s.ListCampaigns(k.Context(), cursor, 10)
		k.refusesCursor(err, cursor)
	}
	k.people(2)
	_, foreign, err := k.s.ListContacts(k.Context(), "", 1)
	k.ok(err, "ListContacts")
	if foreign == "" {
		k.Fatalf("no next page behind the first of two contacts")
	}
	_, err = k.s.ListCampaigns(k.Context(), foreign, 10)
	k.refusesCursor(err, foreign)
}

// listCampaigns lists those campaigns that can be read.
func (k kit) listCampaigns(ctx context.Context, cursor string, limit int) ([]campaign.Campaign, string, error) {
	page, err := k.s.ListCampaigns(ctx, cursor, limit)
	return page.Campaigns, page.Next, err
}

// testListCampaigns sees newest first with any page size.
func testListCampaigns(k kit) {
	mine, want := map[string]bool{}, []string{}
	for range 7 {
		id := k.start().ID
		mine[id], want = true, append([]string{id}, want...)
	}
	for _, limit := range []int{3, 1000} {
		var order []string
		listed(k, limit, k.listCampaigns, func(c campaign.Campaign) string {
			if mine[c.ID] {
				order = append(order, c.ID)
			}
			return ""
		})
		k.same(order, want, "campaigns in the order of the listing")
	}
}
