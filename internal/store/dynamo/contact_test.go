package dynamo

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
)

func number(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

// TestMoment reads times as other programs write them.
func TestMoment(t *testing.T) {
	t.Parallel()
	want := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	cases := []struct {
		name  string
		value types.AttributeValue
		want  time.Time
	}{
		{"nothing", nil, time.Time{}},
		{"RFC 3339", str("2024-05-06T07:08:09Z"), want},
		{"RFC 3339 with a zone", str("2024-05-06T09:08:09+02:00"), want},
		{"microseconds", str("2024-05-06T07:08:09.123456Z"), want.Add(123456 * time.Microsecond)},
		{"Python isoformat, naive", str("2024-05-06T07:08:09.123456"), want.Add(123456 * time.Microsecond)},
		{"Python str", str("2024-05-06 07:08:09"), want},
		{"Python str with a zone", str("2024-05-06 07:08:09+00:00"), want},
		{"date", str("2024-05-06"), want.Truncate(24 * time.Hour)},
		{"seconds", number("1714979289"), want},
		{"seconds with a fraction", number("1714979289.5"), want.Add(500 * time.Millisecond)},
		{"milliseconds", number("1714979289000"), want},
		{"seconds as text", str("1714979289"), want},
		{"nonsense", str("yesterday"), time.Time{}},
		{"huge", number("1e300"), time.Time{}},
		{"empty", str(""), time.Time{}},
		{"list", strs([]string{"2024"}), time.Time{}},
	}
	for _, c := range cases {
		if got := moment(c.value); !got.Equal(c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestInteger(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int64{"3": 3, "3.0": 3, "-2": -2, "": 0, "x": 0, "1e400": 0, "NaN": 0, "9e18": 9e18, "1e19": 0} {
		if got := integer(str(value)); got != want {
			t.Errorf("integer of %q is %d, want %d", value, got, want)
		}
	}
}

// TestTableFromBefore uses a contacts table whose items another program has
// written.
func TestTableFromBefore(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	put := func(it item) {
		_, err := s.db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(s.contacts), Item: it})
		if err != nil {
			t.Fatal(err)
		}
	}
	put(item{"email": str("old@example.org"), "first_name": str("Old"), "last_name": str(""), "company": str("Co"),
		"created_at": str("2024-05-06T07:08:09.123456"), "email_count": number("4"), "last_campaign": str("campaign_17"),
		"last_email_sent": str("2024-06-01T00:00:00Z"), "phone": number("4930123"), "vip": boolean(true),
		"history": strs([]string{"x"}), "nothing": &types.AttributeValueMemberNULL{Value: true}})
	put(item{"email": str("text@example.org"), "email_count": str("7"), "created_at": number("1714979289")})
	put(item{"email": str("null@example.org"), "last_campaign": &types.AttributeValueMemberNULL{Value: true}, "email_count": number("0")})

	got := contactOfKey(t, s, "old@example.org")
	want := campaign.Contact{
		Address: "old@example.org", Status: campaign.ContactActive,
		Fields:    map[string]string{"first_name": "Old", "last_name": "", "company": "Co", "phone": "4930123", "vip": "true"},
		CreatedAt: time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC), EmailCount: 4,
		LastCampaign: "campaign_17", LastEmailSent: time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC),
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got\n%+v, want\n%+v", got, want)
	}

	sent := sentNow("old@example.org", "text@example.org", "null@example.org")
	for range 2 { // the second time by a call that is repeated
		if err := s.CountSent(t.Context(), "campaign_18", sent); err != nil {
			t.Fatal(err)
		}
	}
	for key, count := range map[string]int64{"old@example.org": 5, "text@example.org": 8, "null@example.org": 1} {
		c := contactOfKey(t, s, key)
		if c.EmailCount != count || c.LastCampaign != "campaign_18" {
			t.Errorf("%s: count %d, last campaign %s; want %d", key, c.EmailCount, c.LastCampaign, count)
		}
	}
}

// TestMixedCaseTable: a table from before has addresses as they were typed.
func TestMixedCaseTable(t *testing.T) {
	t.Parallel()
	before := open(t, nil)
	for _, it := range []item{
		{"email": str("Ann.Lee@Example.ORG"), "first_name": str("Ann"), "email_count": number("3")},
		{"email": str("both@example.org"), "first_name": str("lower")},
		{"email": str("Both@example.org"), "first_name": str("Upper")},
		{"email": str("gone@bücher.example"), "status": str("unsubscribed")},
	} {
		if _, err := before.db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(before.contacts), Item: it}); err != nil {
			t.Fatal(err)
		}
	}
	mark := &dynamodb.DeleteItemInput{TableName: aws.String(before.work), Key: workKey("adopted", TableContacts)}
	if _, err := before.db.DeleteItem(t.Context(), mark); err != nil {
		t.Fatal(err)
	}

	var group sync.WaitGroup
	for range 3 { // tasks that start together
		group.Go(func() {
			open(t, func(c *Config) { c.TablePrefix = before.prefix })
		})
	}
	group.Wait()
	ann := contactOfKey(t, before, "ann.lee@example.org")
	if ann.Address != "Ann.Lee@Example.ORG" || ann.EmailCount != 3 || ann.Fields["first_name"] != "Ann" {
		t.Fatalf("adopted contact is %+v", ann)
	}
	all, _, err := before.ListContacts(t.Context(), "", 100)
	if err != nil || len(all) != 3 {
		t.Fatalf("listed %+v, error %v; want each key once", all, err)
	}
	if gone := contactOfKey(t, before, "gone@xn--bcher-kva.example"); gone.Address != "gone@bücher.example" || gone.Status != campaign.ContactUnsubscribed {
		t.Fatalf("adopted contact is %+v", gone)
	}
	if both := contactOfKey(t, before, "both@example.org"); both.Fields["first_name"] != "lower" {
		t.Fatalf("the contact under its own key was changed: %+v", both)
	}
}

// TestContactOutgrowsItem: changes that are each allowed make a contact too
// large in the end.
func TestContactOutgrowsItem(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	for n := range 8 {
		change := campaign.ContactChange{Address: "big@example.org", Set: map[string]string{
			fmt.Sprint("field ", n): strings.Repeat("x", 60_000),
		}}
		err := s.UpsertContacts(t.Context(), []campaign.ContactChange{change}, time.Now())
		if err == nil {
			continue
		}
		wantCode(t, err, campaign.CodeInvalid)
		wantText(t, err, "big@example.org", "400 KB")
		_, err = s.UpdateContact(t.Context(), change, time.Now())
		wantCode(t, err, campaign.CodeInvalid)
		return
	}
	t.Fatal("480 KB fit into an item")
}
