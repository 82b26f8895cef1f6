package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"postern/internal/campaign"
	"postern/internal/store"
)

// tb is what the helpers need of *testing.T and *rapid.T.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// kit is a test with its store and what is its own in it.
type kit struct {
	tb
	s      store.Store
	prefix string    // leads every address of this test
	at     time.Time // about now, in whole milliseconds
}

func newKit(t tb, s store.Store) kit {
	id := uuid.New()
	return kit{
		tb: t, s: s,
		prefix: fmt.Sprintf("t%x", id[:6]),
		at:     time.Now().UTC().Truncate(time.Millisecond),
	}
}

// address gives an address of this test, in mixed case.
func (k kit) address(n int) string {
	return fmt.Sprintf("%s.Person-%05d@Example.ORG", k.prefix, n)
}

func (k kit) addresses(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = k.address(i)
	}
	return all
}

func keysOf(addresses []string) []string {
	keys := make([]string, len(addresses))
	for i, a := range addresses {
		keys[i] = campaign.Key(a)
	}
	return keys
}

// later is a time n seconds after the test's.
func (k kit) later(n int) time.Time { return k.at.Add(time.Duration(n) * time.Second) }

// ok ends the test on an error.
func (k kit) ok(err error, call string) {
	k.Helper()
	if err != nil {
		k.Fatalf("%s: %v", call, err)
	}
}

// fails ends the test unless err is a *campaign.Error of the code.
func (k kit) fails(err error, code campaign.Code, call string) {
	k.Helper()
	if _, is := errors.AsType[*campaign.Error](err); !is || campaign.CodeOf(err) != code {
		k.Fatalf("%s: error %v (%T), want a *campaign.Error with code %s", call, err, err, code)
	}
}

// same compares what a store gave with what it should, as the contract says:
// times to the millisecond, nothing and empty alike, and the audit trail aside.
func (k kit) same(got, want any, what string) {
	k.Helper()
	if g, w := normal(got), normal(want); !reflect.DeepEqual(g, w) {
		k.Fatalf("%s:\n got %+v\nwant %+v", what, g, w)
	}
}

func (k kit) upsert(changes ...campaign.ContactChange) {
	k.Helper()
	k.ok(k.s.UpsertContacts(k.Context(), changes, k.at), "UpsertContacts")
}

// people makes n contacts and gives their keys.
func (k kit) people(n int) []string {
	k.Helper()
	changes := make([]campaign.ContactChange, n)
	for i := range changes {
		changes[i] = campaign.ContactChange{Address: k.address(i), Set: map[string]string{"first_name": fmt.Sprint("P", i)}}
	}
	k.upsert(changes...)
	return keysOf(k.addresses(n))
}

// contact gives a contact that must be there.
func (k kit) contact(address string) campaign.Contact {
	k.Helper()
	got, err := k.s.GetContacts(k.Context(), []string{campaign.Key(address)})
	k.ok(err, "GetContacts")
	if len(got) != 1 {
		k.Fatalf("GetContacts(%q): %d contacts, want 1", address, len(got))
	}
	return got[0]
}

// fresh gives a campaign with every member filled.
func (k kit) fresh() campaign.Campaign {
	k.Helper()
	id, err := uuid.NewV7()
	k.ok(err, "NewV7")
	return campaign.Campaign{
		ID: id.String(), Name: "Spring ✿ «news»", Status: campaign.StatusPending,
		Letter: campaign.Letter{
			From:        campaign.Mailbox{Name: "Ann Ö", Address: "Ann@example.org"},
			SealedHead:  []byte{3, 0, 0xff},
			HTML:        campaign.ContentRef{Digest: digestOf([]byte("body")), Size: 4},
			Attachments: []campaign.ContentRef{{Digest: digestOf([]byte("file")), Size: 4}},
		},
		Relay: campaign.Relay{
			Host: "relay.example.org", Port: 587, UseTLS: true, Username: "user",
			SealedPassword: []byte{0, 1, 2, 0xff}, Default: true,
		},
		Audience:   campaign.Selection{Tags: []string{"a", "b c"}, Addresses: []string{"x@example.org"}},
		Promise:    campaign.AtMostOnce,
		SourceVPCE: "vpce-0123",
		CreatedAt:  k.at, UpdatedAt: k.at,
	}
}

// start stores a fresh campaign.
func (k kit) start() campaign.Campaign {
	k.Helper()
	return k.create(k.submission())
}

// submission is a fresh campaign with its content.
func (k kit) submission() store.NewCampaign {
	k.Helper()
	return store.NewCampaign{Campaign: k.fresh(), Content: map[string][]byte{
		digestOf([]byte("body")): []byte("body"),
		digestOf([]byte("file")): []byte("file"),
	}}
}

// digestOf is the digest by which content is named.
func digestOf(content []byte) string { return fmt.Sprintf("%x", sha256.Sum256(content)) }

// faultsOf gives the faults of an error that has passed kit.fails.
func faultsOf(err error) []campaign.Fault {
	e, is := errors.AsType[*campaign.Error](err)
	if !is {
		return nil
	}
	return e.Faults
}

func (k kit) create(n store.NewCampaign) campaign.Campaign {
	k.Helper()
	c, created, err := k.s.CreateCampaign(k.Context(), n)
	k.ok(err, "CreateCampaign")
	if !created {
		k.Fatalf("CreateCampaign: created is false for a new campaign")
	}
	k.same(c, n.Campaign, "the created campaign")
	return c
}

// owner names a start of a task that nobody else has.
func owner() string { return uuid.NewString() }

func (k kit) lease(key store.LeaseKey) store.Lease {
	k.Helper()
	l, err := k.s.GetLease(k.Context(), key)
	k.ok(err, "GetLease")
	return l
}

// hold acquires a lease for a new owner, whoever has it.
func (k kit) hold(key store.LeaseKey) store.Lease {
	k.Helper()
	l, err := k.s.AcquireLease(k.Context(), k.lease(key), owner())
	k.ok(err, "AcquireLease")
	return l
}

func (k kit) totals(id string) campaign.Totals {
	k.Helper()
	got, err := k.s.Totals(k.Context(), id)
	k.ok(err, "Totals")
	return got
}

// chunked starts a campaign with chunks of the sizes, due at the test's time,
// and gives the held control lease.
func (k kit) chunked(sizes ...int) store.Lease {
	k.Helper()
	control := k.hold(store.LeaseKey{CampaignID: k.start().ID})
	for i, size := range sizes {
		var err error
		chunk := store.Chunk{Size: size, Packed: []byte{1, 0, byte(i)}, DueAt: k.at}
		control, err = k.s.AddChunk(k.Context(), control, chunk, fmt.Sprint("cursor ", i))
		k.ok(err, "AddChunk")
	}
	return control
}

// normal gives a value with times cut to milliseconds, and empty maps and
// slices as nil, and sets without octets behind their last member, so that the
// rest can be compared deeply. A time that is not in UTC stays different from
// one that is.
func normal(v any) any {
	value := reflect.New(reflect.TypeOf(v)).Elem()
	value.Set(reflect.ValueOf(v))
	return normalValue(value).Interface()
}

func normalValue(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	if t, is := reflect.TypeAssert[time.Time](v); is {
		out.Set(reflect.ValueOf(t.Truncate(time.Millisecond)))
		return out
	}
	if _, is := reflect.TypeAssert[campaign.Chain](v); is {
		out.SetZero() // kit.trail looks at chains
		return out
	}
	if set, is := reflect.TypeAssert[campaign.Bitmap](v); is {
		v = reflect.ValueOf(campaign.Bitmap(bytes.TrimRight(set, "\x00")))
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			out.Field(i).Set(normalValue(v.Field(i)))
		}
	case reflect.Map:
		if v.Len() == 0 {
			out.SetZero()
		}
	case reflect.Slice:
		out.SetZero()
		for i := range v.Len() {
			out = reflect.Append(out, normalValue(v.Index(i)))
		}
	}
	return out
}

// byKey sorts contacts by their key, in place.
func byKey(contacts []campaign.Contact) []campaign.Contact {
	slices.SortFunc(contacts, func(a, b campaign.Contact) int { return strings.Compare(a.Key(), b.Key()) })
	return contacts
}

// sortedKeys gives a map's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
