package api

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"postern/internal/campaign"
)

func TestDottedPaths(t *testing.T) {
	t.Parallel()
	for pointer, want := range map[jsontext.Pointer]string{
		"":                  "",
		"/subject":          "subject",
		"/contacts/3/email": "contacts[3].email",
		"/a/0/1/b":          "a[0][1].b",
		"/a~1b/c~0d":        "a/b.c~d",
		"/x/":               "x.",
	} {
		if got := dotted(pointer); got != want {
			t.Errorf("%q: %q, want %q", pointer, got, want)
		}
	}
}

// TestLimitsAreExact decodes texts at each limit and one beyond.
func TestLimitsAreExact(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"` + strings.Repeat("k", i+1) + `":0`)
		}
		return "{" + b.String()[1:] + "}"
	}
	elements := func(n int) string { return "[" + strings.Repeat(",0", n)[1:] + "]" }
	for _, tt := range []struct {
		text  string
		valid bool
	}{
		{nested(maxDepth), true},
		{nested(maxDepth + 1), false},
		{members(maxMembers), true},
		{members(maxMembers + 1), false},
		{elements(maxElements), true},
		{elements(maxElements + 1), false},
	} {
		var v jsontext.Value
		if err := decode([]byte(tt.text), &v); (err == nil) != tt.valid {
			t.Errorf("%.20s... of %d octets: %v", tt.text, len(tt.text), err)
		}
	}
}

// FuzzDecode gives the door any octets. What it lets in must be what it says;
// what it refuses must name a rule and be fit to be shown.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"subject":"s","body":"b","from_email":"a@b.c","smtp_port":"587","attachments":[{"filename":"f","content":"aGk="}]}`,
		`{"contact":{"email":"a@b.c","x":null}}`,
		`{"contacts":[{"email":"a@b.c","tags":["x"]},{"email":"d@e.f","tags":"y,z"}]}`,
		`{"contacts":[1]}`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}", `{} {}`, `[[[[`, `{"a`, ``, `null`, `"\ud800"`,
		`{"smtp_use_tls":"x"}`, `{"states":["failed"],"smtp_password":"p"}`, `{"send_at":"2026-11-03T09:00:00Z","delivery":"at_most_once"}`, `{"attachments":[{"content":"data:;base64,AA=="}]}`, strings.Repeat(`{"a":`, 40),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		given := bytes.Clone(body)
		var letter campaignIn
		var contacts contactsIn
		var retry retryIn
		errLetter, errContacts, errRetry := decode(body, &letter), decode(body, &contacts), decode(body, &retry)
		if !bytes.Equal(given, body) {
			t.Fatal("the body was changed, so its digest would be another one")
		}
		for _, err := range []error{errLetter, errContacts, errRetry} {
			if err == nil && !utf8.Valid(body) {
				t.Fatalf("invalid UTF-8 is let in: %q", body)
			}
			checkProblem(t, err)
		}
		if errLetter == nil {
			_, err := letter.submission()
			checkProblem(t, err)
		}
		if errContacts == nil {
			checkChanges(t, &contacts)
		}
		if errRetry == nil {
			var f faults
			retry.given(&f)
			retry.states(&f)
			checkProblem(t, f.err())
		}
	})
}

// FuzzFaultsQuoteNoValue puts any octets into a password. They end no string, so
// all of it is the value.
func FuzzFaultsQuoteNoValue(f *testing.F) {
	for _, seed := range []string{`\ud800`, `\ud83d\u`, `\`, `\u00`, "\x00", "\n", "\xff", "\xed\xa0\x80", "x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		if bytes.IndexByte(octets, '"') >= 0 {
			return
		}
		for _, password := range []string{string(octets) + "hunter2", "hunter2" + string(octets)} {
			err := decode([]byte(`{"smtp_password":"`+password+`","smtp_port":587}`), &campaignIn{})
			checkProblem(t, err)
			if err != nil && strings.Contains(err.Error(), "unter") {
				t.Fatalf("%q: %v", password, err)
			}
		}
	})
}

func checkChanges(t *testing.T, contacts *contactsIn) {
	t.Helper()
	changes, err := contacts.changes()
	checkProblem(t, err)
	if err != nil {
		return
	}
	seen := map[string]bool{}
	for _, change := range changes {
		if broken := change.Check(""); len(broken) > 0 || seen[change.Key()] {
			t.Fatalf("a change is let in that breaks %v or is there twice: %+v", broken, change)
		}
		seen[change.Key()] = true
	}
}

func checkProblem(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	e, ok := errors.AsType[*campaign.Error](err)
	if !ok || e.Code != campaign.CodeInvalid {
		t.Fatalf("error %T %v is not CodeInvalid", err, err)
	}
	if len(e.Faults) == 0 && e.Message == "" {
		t.Fatal("an error without a word")
	}
	known, p := describe(err)
	encoded, err := encode(p)
	if err != nil || known.status != 400 || len(encoded) > 100<<10 {
		t.Fatalf("a problem of %d octets, status %d: %v", len(encoded), known.status, err)
	}
}
