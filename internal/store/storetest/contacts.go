package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"postern/internal/campaign"
)

func contactTests() []test {
	return []test{
		{"contacts/upsert makes", testUpsertMakes},
		{"contacts/upsert merges", testUpsertMerges},
		{"contacts/status is kept on import", testStatusKept},
		{"contacts/tags", testTags},
		{"contacts/odd names and values", testOddFields},
		{"contacts/address as given", testAddressAsGiven},
		{"contacts/one mailbox", testOneMailbox},
		{"contacts/update", testUpdateContact},
		{"contacts/delete", testDeleteContact},
		{"contacts/get leaves out absentees", testGetContacts},
		{"contacts/a thousand at once", testManyContacts},
		{"contacts/large contact", testLargeContact},
		{"contacts/concurrent changes of one", testConcurrentChanges},
		{"contacts/list everybody once", testListContacts},
		{"contacts/list while others come and go", testListChanging},
		{"contacts/those behind a key", testStatusesAfter},
		{"contacts/forged cursor", testForgedContactCursor},
	}
}

func testUpsertMakes(k kit) {
	address := k.address(1)
	k.upsert(campaign.ContactChange{
		Address: address,
		Set:     map[string]string{"first_name": "Zoë", "company": "Ärzte & Söhne <GmbH>"},
		Tags:    &[]string{"new", "vip"},
	})
	k.same(k.contact(address), campaign.Contact{
		Address: address,
		Fields:  map[string]string{"first_name": "Zoë", "company": "Ärzte & Söhne <GmbH>"},
		Tags:    []string{"new", "vip"}, Status: campaign.ContactActive,
		CreatedAt: k.at, UpdatedAt: k.at,
	}, "the new contact")

	k.upsert(campaign.ContactChange{Address: k.address(2), Status: campaign.ContactBounced})
	k.same(k.contact(k.address(2)), campaign.Contact{
		Address: k.address(2), Status: campaign.ContactBounced, CreatedAt: k.at, UpdatedAt: k.at,
	}, "a contact with a status and no field")
}

func testUpsertMerges(k kit) {
	address := k.address(1)
	k.upsert(campaign.ContactChange{Address: address, Set: map[string]string{"a": "1", "b": "2", "c": "3"}})
	err := k.s.UpsertContacts(k.Context(), []campaign.ContactChange{{
		Address: address,
		Set:     map[string]string{"b": "two", "d": "4"},
		Remove:  []string{"c", "never there"},
	}}, k.later(5))
	k.ok(err, "UpsertContacts")
	k.same(k.contact(address), campaign.Contact{
		Address: address, Status: campaign.ContactActive,
		Fields:    map[string]string{"a": "1", "b": "two", "d": "4"},
		CreatedAt: k.at, UpdatedAt: k.later(5),
	}, "the merged contact")

	k.upsert(campaign.ContactChange{Address: address, Remove: []string{"a", "b", "d"}})
	if got := k.contact(address); len(got.Fields) != 0 {
		k.Fatalf("fields are %v after all were removed", got.Fields)
	}
}

func testStatusKept(k kit) {
	address := k.address(1)
	k.upsert(campaign.ContactChange{Address: address})
	for _, status := range campaign.ContactStatuses {
		k.upsert(campaign.ContactChange{Address: address, Status: status})
		k.upsert(campaign.ContactChange{Address: address, Set: map[string]string{"n": string(status)}})
		if got := k.contact(address).Status; got != status {
			k.Fatalf("status is %q after an import that does not name one, want %q", got, status)
		}
	}
}

func testTags(k kit) {
	address := k.address(1)
	k.upsert(campaign.ContactChange{Address: address, Tags: &[]string{"b", "a", "日本 語"}})
	k.upsert(campaign.ContactChange{Address: address, Set: map[string]string{"x": "y"}})
	k.same(k.contact(address).Tags, []string{"b", "a", "日本 語"}, "tags after a change that does not name them")
	k.upsert(campaign.ContactChange{Address: address, Tags: &[]string{"only"}})
	k.same(k.contact(address).Tags, []string{"only"}, "tags that were replaced")
	k.upsert(campaign.ContactChange{Address: address, Tags: &[]string{}})
	k.same(k.contact(address).Tags, []string{}, "tags that were emptied")
}

// oddFields are names that a query language might take for its own, and
// values that a codec might lose.
func oddFields() map[string]string {
	return map[string]string{
		"name": "n", "status code": "s", "#a": "hash", ":v": "colon", "a.b": "dot", "a[0]": "index",
		"size": "z", "Größe": "ß", "名前": "山田 太郎", "$x": "dollar", "f": "", "empty": "", "key": "k",
		"count": "007", "bool": "true", "null": "null", "quote": `"'<&>\`, "lines": "a\r\n\tb", "nul": "a\x00b",
		"emoji": "👩‍👩‍👧", "wide": strings.Repeat("宽", 500), "tag": "t", "at": "x", "Name": "other case",
	}
}

func testOddFields(k kit) {
	address := k.address(1)
	k.upsert(campaign.ContactChange{Address: address, Set: oddFields()})
	k.same(k.contact(address).Fields, oddFields(), "odd fields")

	want := maps.Clone(oddFields())
	for _, gone := range []string{"#a", "a.b", "status code", "Größe"} {
		delete(want, gone)
	}
	k.upsert(campaign.ContactChange{
		Address: address,
		Set:     map[string]string{"name": "changed", "nul": ""},
		Remove:  []string{"#a", "a.b", "status code", "Größe"},
	})
	want["name"], want["nul"] = "changed", ""
	k.same(k.contact(address).Fields, want, "odd fields after a change")
}

func testAddressAsGiven(k kit) {
	address := strings.ToUpper(k.prefix) + ".ÄRGER+Tag@EXAMPLE.Org"
	k.upsert(campaign.ContactChange{Address: address})
	if got := k.contact(address); got.Address != address {
		k.Fatalf("address is %q, want %q as it was given", got.Address, address)
	}
	again := k.prefix + ".ÄrgeR+tag@example.org"
	k.upsert(campaign.ContactChange{Address: again, Set: map[string]string{"x": "y"}})
	got := k.contact(address)
	if got.Address != again || got.Fields["x"] != "y" {
		k.Fatalf("got %+v, want one contact with the address as given last", got)
	}
}

// testOneMailbox: whose addresses are one on the wire is one contact, and no
// other's spelling takes the contact's place.
func testOneMailbox(k kit) {
	unicode, punycode := k.prefix+"gone@bücher.example", k.prefix+"gone@xn--bcher-kva.example"
	k.upsert(
		campaign.ContactChange{Address: unicode, Status: campaign.ContactUnsubscribed, Set: map[string]string{"x": "y"}},
		campaign.ContactChange{Address: k.prefix + "bob@city.example", Set: map[string]string{"ssn": "078-05-1120"}},
	)
	k.upsert(campaign.ContactChange{Address: punycode}, campaign.ContactChange{Address: k.prefix + "bob@c\u0130ty.example"})
	for _, spelling := range []string{unicode, punycode, k.prefix + "Gone@ＢÜＣＨＥＲ.Example"} {
		got := k.contact(spelling)
		if got.Status != campaign.ContactUnsubscribed || got.Fields["x"] != "y" || got.Address != punycode {
			k.Errorf("%s: %+v; want the one who has unsubscribed, with the address as given last", spelling, got)
		}
	}
	if bob := k.contact(k.prefix + "bob@city.example"); bob.Address != k.prefix+"bob@city.example" || bob.Fields["ssn"] == "" {
		k.Errorf("another mailbox took Bob's place: %+v", bob)
	}
	if other := k.contact(k.prefix + "bob@c\u0130ty.example"); len(other.Fields) > 0 {
		k.Errorf("another mailbox has Bob's fields: %+v", other)
	}
	k.ok(k.s.DeleteContact(k.Context(), campaign.Key(unicode)), "DeleteContact")
	left, err := k.s.GetContacts(k.Context(), []string{campaign.Key(punycode)})
	if k.ok(err, "GetContacts"); len(left) > 0 {
		k.Errorf("deleted, and still there: %+v", left)
	}
}

func testUpdateContact(k kit) {
	change := campaign.ContactChange{Address: k.address(1), Set: map[string]string{"a": "1"}}
	_, err := k.s.UpdateContact(k.Context(), change, k.at)
	k.fails(err, campaign.CodeNotFound, "UpdateContact of nobody")
	got, err := k.s.GetContacts(k.Context(), []string{change.Key()})
	k.ok(err, "GetContacts")
	if len(got) != 0 {
		k.Fatalf("UpdateContact of nobody made %+v", got)
	}

	k.upsert(campaign.ContactChange{Address: k.address(1), Set: map[string]string{"a": "0", "b": "2"}, Tags: &[]string{"t"}})
	change.Remove, change.Status = []string{"b"}, campaign.ContactComplained
	for range 2 { // the second is the repetition of an ambiguous write
		updated, err := k.s.UpdateContact(k.Context(), change, k.later(7))
		k.ok(err, "UpdateContact")
		k.same(updated, campaign.Contact{
			Address: k.address(1), Fields: map[string]string{"a": "1"}, Tags: []string{"t"},
			Status: campaign.ContactComplained, CreatedAt: k.at, UpdatedAt: k.later(7),
		}, "the updated contact")
		k.same(k.contact(k.address(1)), updated, "the stored contact")
	}
}

func testDeleteContact(k kit) {
	keys := k.people(2)
	k.ok(k.s.DeleteContact(k.Context(), keys[0]), "DeleteContact")
	k.fails(k.s.DeleteContact(k.Context(), keys[0]), campaign.CodeNotFound, "DeleteContact of nobody")
	got, err := k.s.GetContacts(k.Context(), keys)
	k.ok(err, "GetContacts")
	if len(got) != 1 || got[0].Key() != keys[1] {
		k.Fatalf("GetContacts after a deletion: %+v", got)
	}
	k.upsert(campaign.ContactChange{Address: k.address(0), Tags: &[]string{"again"}})
	k.same(k.contact(k.address(0)), campaign.Contact{
		Address: k.address(0), Tags: []string{"again"}, Status: campaign.ContactActive, CreatedAt: k.at, UpdatedAt: k.at,
	}, "a contact made again has nothing of the old one")
}

func testGetContacts(k kit) {
	keys := k.people(3)
	asked := []string{"nobody." + keys[0], keys[2], keys[0], "nobody." + keys[1]}
	got, err := k.s.GetContacts(k.Context(), asked)
	k.ok(err, "GetContacts")
	found := make([]string, len(got))
	for i, c := range byKey(got) {
		found[i] = c.Key()
	}
	k.same(found, []string{keys[0], keys[2]}, "the contacts that are there")

	got, err = k.s.GetContacts(k.Context(), nil)
	k.ok(err, "GetContacts of nobody")
	k.same(got, []campaign.Contact{}, "GetContacts of nobody")
}

func testManyContacts(k kit) {
	const n = 1000
	keys := k.people(n)
	k.people(n) // an import that is repeated changes nothing
	asked := append(slices.Clone(keys), "nobody."+keys[0])
	got, err := k.s.GetContacts(k.Context(), asked)
	k.ok(err, "GetContacts")
	if len(got) != n {
		k.Fatalf("GetContacts gave %d of %d contacts", len(got), n)
	}
	for i, c := range byKey(got) {
		if c.Address != k.address(i) || c.Fields["first_name"] != fmt.Sprint("P", i) {
			k.Fatalf("contact %d is %+v", i, c)
		}
	}
}

func testLargeContact(k kit) {
	set := map[string]string{}
	for i := range campaign.MaxContactFields {
		set[fmt.Sprintf("field %02d", i)] = strings.Repeat("é", 250)
	}
	k.upsert(campaign.ContactChange{Address: k.address(1), Set: set})
	k.same(k.contact(k.address(1)).Fields, set, "the fields of a large contact")
}

func testConcurrentChanges(k kit) {
	const writers, rounds = 8, 5
	address := k.address(1)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for r := range rounds {
				set := map[string]string{fmt.Sprintf("w%d-%d", w, r): "x"}
				change := campaign.ContactChange{Address: address, Set: set}
				if err := k.s.UpsertContacts(k.Context(), []campaign.ContactChange{change}, k.at); err != nil {
					k.Errorf("UpsertContacts: %v", err)
				}
			}
		})
	}
	group.Wait()
	if got := k.contact(address); len(got.Fields) != writers*rounds {
		k.Fatalf("%d fields after %d concurrent changes", len(got.Fields), writers*rounds)
	}
}
