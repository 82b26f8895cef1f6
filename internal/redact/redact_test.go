package redact_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"postern/internal/campaign"
	"postern/internal/redact"
)

var key = bytes.Repeat([]byte{7}, 32)

func TestLine(t *testing.T) {
	t.Parallel()
	bob := redact.Address("bob@example.org", key)
	for line, want := range map[string]string{
		`{"message":"nothing of the kind"}`:                `{"message":"nothing of the kind"}`,
		`550 5.1.1 <Bob@Example.org>: unknown`:             `550 5.1.1 <` + bob + `>: unknown`,
		`bob@example.org, bob@example.org.`:                bob + `, ` + bob + `.`,
		`{"error":"\nbob@example.org\t"}`:                  `{"error":"\n` + bob + `\t"}`,
		`{"error":"\u003cbob@example.org\u003e"}`:          `{"error":"\u003c` + bob + `\u003e"}`,
		`{"error":"\u003ca\u0026b@example.org"}`:           `{"error":"\u003c` + redact.Address("a&b@example.org", key) + `"}`,
		`{"error":"\n@example.org, \u003c@example.org"}`:   `{"error":"\n@example.org, \u003c@example.org"}`,
		`GET /contacts?email=x&to=y`:                       `GET /contacts?email=x&to=y`,
		`mailto:bob%40example.org`:                         `mailto:` + bob,
		`senders of @example.org only`:                     `senders of @example.org only`,
		`/mod/github.com/go-chi/chi/v5@v5.2.1/mux.go:218`:  `/mod/github.com/go-chi/chi/v5@v5.2.1/mux.go:218`,
		`/mod/x@v0.0.0-20240102-abc/a.go, bob@example.org`: `/mod/x@v0.0.0-20240102-abc/a.go, ` + bob,
		`jürgen@bücher.example!`:                           redact.Address("jürgen@bücher.example", key) + `!`,
		`to o'brien+x@mail.example.org;`:                   `to ` + redact.Address("o'brien+x@mail.example.org", key) + `;`,
	} {
		if got := string(redact.Line([]byte(line), key)); got != want {
			t.Errorf("%s\n became %s\n  want %s", line, got, want)
		}
	}
}

func TestDigests(t *testing.T) {
	t.Parallel()
	one := redact.Address("Bob@Example.ORG", key)
	if !regexp.MustCompile(`^\[address:[0-9a-f]{12}\]$`).MatchString(one) {
		t.Errorf("the digest is %s", one)
	}
	if one != redact.Address("bob@example.org", key) {
		t.Error("the same person has two digests")
	}
	if one == redact.Address("bob@example.org", []byte("another key")) {
		t.Error("the digest does not depend on the key")
	}
	if one == redact.Address("rob@example.org", key) {
		t.Error("two people have the same digest")
	}
}

func TestWriter(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	line := []byte("to bob@example.org\n")
	if n, err := redact.NewWriter(&out, key).Write(line); n != len(line) || err != nil {
		t.Errorf("Write = %d, %v; want the length of what was written, %d", n, err, len(line))
	}
	if strings.Contains(out.String(), "bob") || !strings.HasSuffix(out.String(), "]\n") {
		t.Errorf("wrote %q", out.String())
	}
	if _, err := redact.NewWriter(broken{}, key).Write(line); err == nil {
		t.Error("an error of the writer below is lost")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no") }

// FuzzLine: whatever address passes the service's own check leaves no line,
// and JSON stays JSON.
func FuzzLine(f *testing.F) {
	f.Add("bob@example.org", "550 <", "> unknown")
	f.Add("o'brien@xn--bcher-kva.example", "\n", "\t")
	f.Add("/a@v1.2.3.example", "", "")
	f.Add("jürgen@bücher.example", "é", "—")
	f.Fuzz(func(t *testing.T, address, before, after string) {
		if campaign.CheckAddress(address) != nil || strings.Contains(before+after, "@") {
			return
		}
		line, err := json.Marshal(map[string]string{"error": before + " " + address + " " + after})
		if err != nil {
			t.Fatal(err)
		}
		got := redact.Line(line, key)
		if !json.Valid(got) {
			t.Errorf("%s became %s, which is no JSON", line, got)
		}
		if bytes.Contains(got, []byte("@")) {
			t.Errorf("%s became %s", line, got)
		}
	})
}
