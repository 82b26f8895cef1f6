package api_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"postern/internal/campaign"
)

// TestImportOfRoughCSV sends rows as clients make them of a CSV file whose
// header row is not clean.
func TestImportOfRoughCSV(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.undocumented = true // the document knows clean names only
	for _, row := range []string{
		`{"\ufeffemail":"a@x.org"," first_name":"Ana","region\r":"North","":"","  ":"x","\r":null,"status":" Unsubscribed\r"," email_count ":"7"}`,
		`{"contact":{"email ":"a@x.org","first_name":"Ana","\tregion":"North","":["x"],"status":"UNSUBSCRIBED"}}`,
		`{"contacts":[{"\u00a0email":"a@x.org","first_name":"Ana","region ":"North"," status ":"unsubscribed"}]}`,
	} {
		clear(s.contacts)
		s.call(http.MethodPost, "/contacts", row).want(http.StatusOK)
		got := s.contacts["a@x.org"]
		want := map[string]string{"first_name": "Ana", "region": "North"}
		if !reflect.DeepEqual(got.Fields, want) || got.Status != campaign.ContactUnsubscribed {
			t.Errorf("%s is stored as %+v", row, got)
		}
	}
	// A status of white space alone leaves it, and a field is taken away by
	// its trimmed name.
	s.call(http.MethodPost, "/contacts", `{"email":"a@x.org"," region":null,"status":" "}`).want(http.StatusOK)
	got := s.contacts["a@x.org"]
	if !reflect.DeepEqual(got.Fields, map[string]string{"first_name": "Ana"}) || got.Status != campaign.ContactUnsubscribed {
		t.Errorf("stored %+v", got)
	}
}

func TestRefusesRoughCSV(t *testing.T) {
	t.Parallel()
	s := start(t)
	const twice = " must be there once; white space around names does not count"
	for body, want := range map[string]string{
		`{"email":"a@x.org","phone":"1"," phone":"2"}`:                 "phone" + twice,
		`{"email":"a@x.org","email\r":"b@x.org"}`:                      "email" + twice,
		`{"email":"a@x.org","created_at":"x","created_at ":"y"}`:       "created_at" + twice,
		`{"email":"a@x.org","x":null,"x ":null}`:                       "x" + twice,
		`{"contacts":[{"email":"a@x.org"},{"email":5," email":"b"}]}`:  "contacts[1].email must be a string|contacts[1].email" + twice,
		`{"email":"a@x.org","status":"in active"}`:                     "status must be one of active, unsubscribed, bounced, complained",
		`{"email":"a@x.org","a  b":"inner space is part of the name"}`: "",
		`{"email":"a@x.org","status":"activ"}`:                         "status must be one of active, unsubscribed, bounced, complained",
	} {
		status := http.StatusBadRequest
		if want == "" {
			status = http.StatusOK
		}
		r := s.call(http.MethodPost, "/contacts", body).want(status)
		if got := strings.Join(r.fields(), "|"); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}
