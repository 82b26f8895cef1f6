package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"postern/internal/campaign"
)

func TestContactShapes(t *testing.T) {
	t.Parallel()
	want := map[string]any{
		"email": "Ana@Example.org", "first_name": "Ana", "company": "Example & Sons", "phone": "5551234", "vip": "true", "score": "1.50",
		"tags": []any{"x"}, "status": "active", "created_at": "2025-06-24T07:30:00.123Z", "updated_at": "2025-06-24T07:30:00.123Z",
		"email_count": 0.0, "last_email_sent": nil, "last_campaign": nil,
	}
	// What clients read they send back: the service's own members are ignored.
	const contact = `{"email":"Ana@Example.org","first_name":"Ana","company":"Example & Sons","phone":5551234,"vip":true,"score":1.50,` +
		`"tags":["x"],"created_at":"2001-01-01","updated_at":null,"email_count":7,"last_email_sent":{"x":[]},"last_campaign":"c","gone":null}`
	for _, body := range []string{
		contact,
		`{"contact":` + contact + `}`,
		`{"contacts":[` + contact + `]}`,
	} {
		s := start(t)
		stored := s.call(http.MethodPost, "/contacts", body).want(http.StatusOK).json()
		if stored["success"] != true || stored["count"] != 1.0 {
			t.Errorf("answer %v", stored)
		}
		listed := s.call(http.MethodGet, "/contacts?email=ana%40example.org", "").want(http.StatusOK).json()
		if got := listed["contacts"]; !reflect.DeepEqual(got, []any{want}) {
			t.Errorf("%s is listed as\n%v\nwant\n%v", body, got, want)
		}
	}
}

func TestContactMembersWithTwoMeanings(t *testing.T) {
	t.Parallel()
	s := start(t)
	// As strings, contact and contacts are columns of a CSV file.
	s.call(http.MethodPost, "/contacts", `{"email":"a@x.org","contact":"by phone","contacts":"3","tags":"vip, news,,"}`).want(http.StatusOK)
	got := s.contacts["a@x.org"]
	if got.Fields["contact"] != "by phone" || got.Fields["contacts"] != "3" || !reflect.DeepEqual(got.Tags, []string{"vip", "news"}) {
		t.Errorf("stored %+v", got)
	}
	s.call(http.MethodPut, "/contacts", `{"email":"a@x.org","contact":null,"tags":null}`).want(http.StatusOK)
	got = s.contacts["a@x.org"]
	if _, still := got.Fields["contact"]; still || len(got.Tags) != 0 || got.Fields["contacts"] != "3" {
		t.Errorf("changed %+v", got)
	}
}

func TestRefusesContacts(t *testing.T) {
	t.Parallel()
	s := start(t)
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,{"email":"%d@x.org"}`, i)
		}
		return `{"contacts":[` + b.String()[1:] + `]}`
	}
	tests := []struct{ name, body, fields string }{
		{"no object", `5`, " must be an object"},
		{"nothing", `{}`, "email is required"},
		{"wrapped nothing", `{"contact":{}}`, "contact.email is required"},
		{"no address", `{"email":""}`, "email is required"},
		{"null for an address", `{"email":null}`, "email is required"},
		{"element of another type", `{"contacts":[{"email":"a@x.org"},7]}`, "contacts[1] must be an object"},
		{"elements of other types among others", `{"contacts":[{"email":5,"tags":[1]},[],{"email":"a"},null,"x",{"email":5}]}`,
			"contacts[0].email must be a string|contacts[0].tags must be an array of strings|contacts[1] must be an object|" +
				"contacts[2].email must have exactly one @|contacts[3] must be an object|contacts[4] must be an object|" +
				"contacts[5].email must be a string"},
		{"address of another type", `{"email":5}`, "email must be a string"},
		{"space", `{"email":"a b@x.org"}`, "email must not have ' ' before the @"},
		{"NUL", `{"email":"a\u0000@x.org"}`, `email must not have '\x00' before the @`},
		{"two @", `{"email":"a@b@x.org"}`, "email must have exactly one @"},
		{"no domain", `{"email":"a@"}`, "email must have a domain behind the @"},
		{"long", `{"email":"a@` + strings.Repeat("x.", 130) + `org"}`, "email must be at most 254 octets"},
		{"array", `{"email":"a@x.org","langs":["de"]}`, "langs must be a string, a number, true, false or null"},
		{"object", `{"contact":{"email":"a@x.org","home":{}}}`, "contact.home must be a string, a number, true, false or null"},
		{"status", `{"email":"a@x.org","status":"gone"}`, "status must be one of active, unsubscribed, bounced, complained"},
		{"status of another type", `{"email":"a@x.org","status":[]}`, "status must be a string"},
		{"tags", `{"email":"a@x.org","tags":[1]}`, "tags must be an array of strings"},
		{"empty tag", `{"email":"a@x.org","tags":["a",""]}`, "tags[1] must be valid UTF-8 of 1 to 128 octets"},
		{"field name", `{"email":"a@x.org","a}}b":"x"}`, `a}}b must be a field name without { } | " and control characters`},
		{"name of a field to remove", `{"email":"a@x.org","a|b":null}`, `a|b must be a field name without { } | " and control characters`},
		{"duplicate", `{"email":"a@x.org","x":"1","x":"2"}`, "x must be there once"},
		{"duplicate in a list", `{"contacts":[{"email":"a@x.org","x":"1","x":"2"}]}`, "contacts[0].x must be there once"},
		{"same contact twice", `{"contacts":[{"email":"a@x.org"},{"email":"b@x.org"},{"email":"A@X.org"}]}`,
			"contacts[2].email must be there once, and is that of contacts[0]"},
		{"several", `{"contacts":[{"email":"a"},{"email":"b@x.org"},{"f":[]}]}`,
			"contacts[0].email must have exactly one @|contacts[2].f must be a string, a number, true, false or null|contacts[2].email is required"},
		{"too many fields", `{"email":"a@x.org"` + members(101) + `}`, "contact must have at most 100 fields"},
		{"far too many fields", `{"email":"a@x.org"` + members(1001) + `}`, " must have at most 1000 members"},
		{"too large", `{"email":"a@x.org","x":"` + strings.Repeat("x", 64<<10) + `"}`, "contact must be at most 65536 octets in all"},
		{"too large in a list", `{"contacts":[{"email":"a@x.org","x":"` + strings.Repeat("x", 64<<10) + `"}]}`,
			"contacts[0] must be at most 65536 octets in all"},
		{"too many", many(10001), "contacts must have at most 10000 elements"},
	}
	for _, tt := range tests {
		r := s.call(http.MethodPost, "/contacts", tt.body).want(http.StatusBadRequest)
		if got := strings.Join(r.fields(), "|"); got != tt.fields {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.fields)
		}
	}
	if s.upserts != 0 {
		t.Errorf("%d writes of refused requests", s.upserts)
	}
	if got := s.call(http.MethodPost, "/contacts", many(10000)).want(http.StatusOK).json()["count"]; got != 10000.0 {
		t.Errorf("stored %v", got)
	}
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"f%d":1`, i)
	}
	return b.String()
}

func TestManyFaultsAreCut(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := s.call(http.MethodPost, "/contacts", `{"contacts":[`+strings.Repeat("{},", 999)+`{}]}`).want(http.StatusBadRequest)
	if got := r.fields(); len(got) != 100 {
		t.Errorf("%d faults are listed", len(got))
	}
	if detail := fmt.Sprint(r.json()["detail"]); !strings.HasSuffix(detail, "and many more") {
		t.Errorf("detail %q", detail)
	}
	long := s.call(http.MethodPost, "/contacts", `{"email":"a@x.org","`+strings.Repeat("ä", 5000)+`":[]}`).want(http.StatusBadRequest)
	if len(long.body) > 2000 {
		t.Errorf("a hostile name makes an answer of %d octets", len(long.body))
	}
}

func TestPutContact(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.call(http.MethodPost, "/contacts", `{"email":"a@x.org","first_name":"A","company":"C"}`).want(http.StatusOK)
	for _, body := range []string{
		`{"email":"A@x.org","first_name":"B","status":"unsubscribed"}`,
		`{"contact":{"email":"A@x.org","first_name":"B","status":"unsubscribed"}}`,
	} {
		got := s.call(http.MethodPut, "/contacts", body).want(http.StatusOK).json()
		contact, _ := got["contact"].(map[string]any)
		if got["success"] != true || contact["first_name"] != "B" || contact["company"] != "C" || contact["status"] != "unsubscribed" {
			t.Errorf("answer %v", got)
		}
	}
	unknown := s.call(http.MethodPut, "/contacts", `{"email":"b@x.org"}`).want(http.StatusNotFound)
	if got := unknown.json()["error"]; got != "Contact not found" {
		t.Errorf("error %q", got)
	}
	s.call(http.MethodPut, "/contacts", `{"email":"b"}`).want(http.StatusBadRequest)
	s.call(http.MethodPut, "/contacts", `{"contacts":[{"email":"a@x.org"}]}`).want(http.StatusBadRequest)
}

func TestDeleteContact(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.call(http.MethodPost, "/contacts", `{"email":"a+b@x.org"}`).want(http.StatusOK)
	path := "/contacts?email=" + url.QueryEscape("A+b@x.org")
	if got := s.call(http.MethodDelete, path, "").want(http.StatusOK).json(); got["success"] != true {
		t.Errorf("answer %v", got)
	}
	s.call(http.MethodDelete, path, "").want(http.StatusNotFound)
	// A plus that is not encoded is a space in a query; no address has one.
	s.call(http.MethodPost, "/contacts", `{"email":"a+b@x.org"}`).want(http.StatusOK)
	s.call(http.MethodGet, "/contacts?email=a+b@x.org", "").want(http.StatusOK)
	s.call(http.MethodDelete, "/contacts?email=a+b@x.org", "").want(http.StatusOK)
	s.call(http.MethodDelete, "/contacts?email=a%2Bb@x.org", "").want(http.StatusNotFound)
	for _, query := range []string{"", "?email=", "?email=x", "?email=a@x.org&email=b@x.org", "?email=%zz", "?email=a@x.org;x"} {
		s.call(http.MethodDelete, "/contacts"+query, "").want(http.StatusBadRequest)
	}
}

func TestListsContacts(t *testing.T) {
	t.Parallel()
	s := start(t)
	if got := string(s.call(http.MethodGet, "/contacts", "").want(http.StatusOK).body); got != `{"contacts":[],"count":0,"next_cursor":null,"truncated":false}` {
		t.Errorf("no contacts: %s", got)
	}
	fill(s, 2500, 1)
	all := s.call(http.MethodGet, "/contacts", "").want(http.StatusOK).json()
	if all["count"] != 2500.0 || len(all["contacts"].([]any)) != 2500 || all["next_cursor"] != nil || all["truncated"] != false {
		t.Errorf("count %v, next_cursor %v, truncated %v", all["count"], all["next_cursor"], all["truncated"])
	}
	for limit, want := range map[string]float64{
		"7": 7, "1": 1, "0": 1, "-3": 1, "1000": 1000, "1000000000": 1000, "99999999999999999999": 1000, "": 2500,
	} {
		s.undocumented = limit == "" || len(limit) > 18 // beyond what the validator takes
		page := s.call(http.MethodGet, "/contacts?limit="+limit, "").want(http.StatusOK).json()
		if page["count"] != want || (page["next_cursor"] == nil) != (want == 2500) || page["truncated"] != false {
			t.Errorf("limit %s: count %v, next_cursor %v", limit, page["count"], page["next_cursor"])
		}
	}
	for _, query := range []string{"limit=ten", "limit=1.5", "limit=1&limit=2", "cursor=x", "cursor=YWJj", "cursor=" + strings.Repeat("A", 9000)} {
		s.call(http.MethodGet, "/contacts?"+query, "").want(http.StatusBadRequest)
	}
	s.call(http.MethodGet, "/contacts?email=nobody@x.org", "").want(http.StatusNotFound)
}

// TestAnswerFitsGateway lists contacts that are too large for one answer of
// API Gateway's 10 MB.
func TestAnswerFitsGateway(t *testing.T) {
	t.Parallel()
	s := start(t)
	fill(s, 200, 60_000)
	resp, err := s.server.Client().Do(s.request(http.MethodGet, "/contacts", http.NoBody))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Count      int
		NextCursor string `json:"next_cursor"`
		Truncated  bool
	}
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatal(err)
	}
	if len(body) > 10_000_000 || page.Count < 100 || page.NextCursor == "" || !page.Truncated {
		t.Errorf("%d octets: %+v", len(body), page)
	}
}

func fill(s *service, contacts, octets int) {
	for i := range contacts {
		address := fmt.Sprintf("%05d@x.org", i)
		s.contacts[address] = campaign.Contact{
			Address: address, Status: campaign.ContactActive, CreatedAt: someTime, UpdatedAt: someTime,
			Fields: map[string]string{"note": strings.Repeat("n", octets)},
		}
	}
}
