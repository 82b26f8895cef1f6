package api_test

import (
	"net/http"
	"reflect"
	"testing"
)

func TestPerson(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.call(http.MethodPost, "/contacts", `{"email": "Ana+x@example.org", "first_name": "Ana"}`).want(http.StatusOK)
	const path = "/contacts/ana%2Bx@example.org/data"

	first := s.call(http.MethodGet, path, "").want(http.StatusOK).json()
	deliveries, _ := first["deliveries"].([]any)
	if c, _ := first["contact"].(map[string]any); c["email"] != "Ana+x@example.org" || len(deliveries) != 1 || first["complete"] != false {
		t.Fatalf("the export begins with %v", first)
	}
	if !reflect.DeepEqual(first["named_in"], []any{"s"}) || !reflect.DeepEqual(first["incomplete"], []any{}) || !reflect.DeepEqual(first["damaged"], []any{"d"}) {
		t.Errorf("named in %v, incomplete %v", first["named_in"], first["incomplete"])
	}
	d, _ := deliveries[0].(map[string]any)
	if d["campaign_id"] != "c" || d["state"] != "sent" || !reflect.DeepEqual(d["values"], map[string]any{"first_name": "A"}) {
		t.Errorf("delivery %v", d)
	}
	cursor, _ := first["next_cursor"].(string)
	rest := s.call(http.MethodGet, path+"?cursor="+cursor, "").want(http.StatusOK).json()
	if rest["complete"] != true || rest["next_cursor"] != nil || rest["contact"] != nil {
		t.Errorf("the export ends with %v", rest)
	}

	s.call(http.MethodDelete, path+"?cursor="+cursor, "").want(http.StatusBadRequest)
	part := s.call(http.MethodDelete, path, "").want(http.StatusAccepted).json()
	if part["contact_deleted"] != true || part["recipients_erased"] != 1.0 || part["complete"] != false || !reflect.DeepEqual(part["remaining"], []any{"c", "d"}) || !reflect.DeepEqual(part["damaged"], []any{"d"}) {
		t.Errorf("the erasing begins with %v", part)
	}
	next, _ := part["next_cursor"].(string)
	s.call(http.MethodDelete, "/contacts/ana@example.org/data?cursor="+next, "").want(http.StatusBadRequest)
	// What remained on the first page keeps the last from being complete.
	end := s.call(http.MethodDelete, path+"?cursor="+next, "").want(http.StatusAccepted).json()
	if end["complete"] != false || end["next_cursor"] != nil || !reflect.DeepEqual(end["remaining"], []any{}) || !reflect.DeepEqual(end["damaged"], []any{}) {
		t.Errorf("the erasing ends with %v", end)
	}
}

// TestPersonOfEveryAddress: the address is who it is in the path, however the
// caller has encoded it.
func TestPersonOfEveryAddress(t *testing.T) {
	t.Parallel()
	s := start(t)
	for path, want := range map[string]string{
		"a%2541@example.org": "a%41@example.org", "a%2541%40example.org": "a%41@example.org",
		"aA@example.org": "aA@example.org", "a%41%40example.org": "aA@example.org", "%61A@example.org": "aA@example.org",
		"100%25@example.org": "100%@example.org", "100%25%40example.org": "100%@example.org",
		"a+b@example.org": "a+b@example.org", "a+b%40example.org": "a+b@example.org", "a%2Bb@example.org": "a+b@example.org",
		"%C3%BC@example.org": "ü@example.org",
	} {
		got := s.call(http.MethodGet, "/contacts/"+path+"/data", "").want(http.StatusOK).json()
		deliveries, _ := got["deliveries"].([]any)
		d, _ := deliveries[0].(map[string]any)
		if d["email"] != want {
			t.Errorf("%s is %q, want %q", path, d["email"], want)
		}
	}
}

func TestPersonNeedsAnAddress(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"/contacts/ana/data", "/contacts/a%0d%0ab@example.org/data", "/contacts/%22a%3e%20b%22@example.org/data"} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			if fields := s.call(method, path, "").want(http.StatusBadRequest).fields(); len(fields) != 1 {
				t.Errorf("%s %s: faults %q", method, path, fields)
			}
		}
	}
}
