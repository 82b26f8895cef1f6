package redact_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/redact"
)

var key = bytes.Repeat([]byte{7}, 32)

func TestLine(t *testing.T) {
	t.Parallel()
	bob := redact.Address("bob@example.org", key)
	for line, want := range map[string]string{
		`{"message":"nothing of the kind"}`:                 `{"message":"nothing of the kind"}`,
		`550 5.1.1 <Bob@Example.org>: unknown`:              `550 5.1.1 <` + bob + `>: unknown`,
		`bob@example.org, bob@example.org.`:                 bob + `, ` + bob + `.`,
		`{"error":"\nbob@example.org\t"}`:                   `{"error":"\n` + bob + `\t"}`,
		`{"error":"\u003cbob@example.org\u003e"}`:           `{"error":"\u003c` + bob + `\u003e"}`,
		`{"error":"\u003ca\u0026b@example.org"}`:            `{"error":"\u003c` + redact.Address("a&b@example.org", key) + `"}`,
		`{"error":"\n@example.org, \u003c@example.org"}`:    `{"error":"\n@example.org, \u003c@example.org"}`,
		`GET /contacts?email=x&to=y`:                        `GET /contacts?email=x&to=y`,
		`mailto:bob%40example.org`:                          `mailto:` + bob,
		`@example.org only`:                                 `@example.org only`,
		`must have exactly one @`:                           `must have exactly one @`,
		`must be before the @: "x"`:                         `must be before the @: "x"`,
		`{"a":"x\"y","b":"\"bob@example.org\""}`:            `{"a":"x\"y","b":"\"` + bob + `\""}`,
		`{"a":"[\"bob@example.org\",\"bob@example.org\"]"}`: `{"a":"[\"` + bob + `\",\"` + bob + `\"]"}`,
		`smtp://ada:p,w@relay.example:25/x`:                 `smtp://[address]:25/x`,
		`https://bob@example.org/x@v1.2.3`:                  `https://` + bob + `/x@v1.2.3`,
		`https://bob@v1.2.3/`:                               `https://` + redact.Address("bob@v1.2.3", key) + `/`,
		`/mod/x@v1.2.3@example.org`:                         `[address]`,
		`/mod/x@v1.2.3-rc.example`:                          redact.Address("/mod/x@v1.2.3-rc.example", key),
		`/mod/x@ and /x@[`:                                  `[address] and [address]`,
		`took=4012.5ms at line=40 of mx.example.org`:        `took=4012.5ms at line=40 of mx.example.org`,
		`/mod/github.com/go-chi/chi/v5@v5.2.1/mux.go:218`:   `/mod/github.com/go-chi/chi/v5@v5.2.1/mux.go:218`,
		`/mod/x@v0.0.0-20240102-abc/a.go, bob@example.org`:  `/mod/x@v0.0.0-20240102-abc/a.go, ` + bob,
		`jürgen@bücher.example!`:                            redact.Address("jürgen@bücher.example", key) + `!`,
		`to o'brien+x@mail.example.org;`:                    `to ` + redact.Address("o'brien+x@mail.example.org", key) + `;`,
	} {
		if got := string(redact.Line([]byte(line), key)); got != want {
			t.Errorf("%s\n became %s\n  want %s", line, got, want)
		}
	}
}

// TestSpellings: however an address is spelled, nothing of its local part
// stays; the same person has the same digest where the spelling can be read.
func TestSpellings(t *testing.T) {
	t.Parallel()
	const none = "[address]"
	ada := redact.Address("ada.lovelace@example.org", key)
	for address, want := range map[string]string{
		`\"ada.lovelace\"@example.org`:                  ada,
		`ada.lovelace @example.org`:                     none,
		`ada.lovelace\\@example.org`:                    ada,
		`ada.lovelace AT example.org`:                   ada,
		`ada.lovelace%2540example.org`:                  ada,
		`SRS0=x=y=example.org=ada.lovelace@fwd.example`: redact.Address("SRS0=x=y=example.org=ada.lovelace@fwd.example", key),
		`ada.lovelace@[192.0.2.1]`:                      none,
		`ada.lovelace@[IPv6:2001:db8::1]`:               none,
		"ada.lovelace\uff20example.org":                 ada,
		"ada.lovelace\ufe6bexample.org":                 ada,
		`ada.lovelace@\u202eexample.org`:                ada,
		"ada.lovelace\u200b@\u202eexample.org":          ada,
		`ada.lovelace\u0040example.org`:                 ada,
		`ada.lovelace\\u0040example.org`:                ada,
		`ada.lovelace%252540example.org`:                ada,
		`ada.lovelace%EF%BC%A0example.org`:              ada,
		`ada.lovelace\u0026#64;example.org`:             ada,
		`ada.lovelace&#X40;example.org`:                 ada,
		`ada.lovelace=40example.org`:                    ada,
		`ada.lovelace (at) example.org`:                 none,
		`ada.lovelace[at]example.org`:                   ada,
		`ada.lovelace@\r\n example.org`:                 ada,
		`ada.lovelace\r\n @ example.org`:                none,
		`ada.lovelace(x(y)z)@example.org`:               none,
		`ada.lovelace@@example.org`:                     none,
		`ada.lovelace@a.example@example.org`:            none,
		`\"ada\".lovelace@example.org`:                  none,
		`\"a\\\"b lovelace\"@example.org`:               none,
		`\\\"lovelace\\\"@example.org`:                  redact.Address("lovelace@example.org", key),
		"ada\u2019lovelace@example.org":                 none,
		"\U0001f600lovelace@example.org":                none,
		`lovelace@`:                                     none,
	} {
		line := `{"code":"550","reply":"5.1.1 <` + address + `> unknown"}`
		got := string(redact.Line([]byte(line), key))
		if strings.Contains(got, "lovelace") || strings.Contains(got, "ada") || !json.Valid([]byte(got)) {
			t.Errorf("%s became %s", line, got)
		}
		if !strings.Contains(got, want) || !strings.HasPrefix(got, `{"code":"550","reply":"5.1.1 <`) || !strings.HasSuffix(got, ` unknown"}`) {
			t.Errorf("%s became %s; want %s in it", line, got, want)
		}
	}
	// With nothing of an address about it, a local part is a word.
	const word = `{"reply":"550 5.1.1 user ada.lovelace unknown"}`
	if got := string(redact.Line([]byte(word), key)); got != word {
		t.Errorf("%s became %s", word, got)
	}
}

// TestLineAllocatesNothing holds for lines that have nothing to hide, even
// with escapes, quotation marks and paths in them.
func TestLineAllocatesNothing(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	line := []byte(`{"level":"info","url":"/contacts?limit=40","error":"\u003c\"x\" (y) \uzzzz at 100% of https://example.org/ü"}`)
	if n := testing.AllocsPerRun(100, func() { redact.Line(line, key) }); n != 0 {
		t.Errorf("a line without addresses allocates %v times", n)
	}
}

// TestLineIsLinear: no text takes time in proportion to its square.
func TestLineIsLinear(t *testing.T) {
	t.Parallel()
	for _, piece := range []string{"a", "@", "@ ", "a@", "%25", "%", "a AT b.", "\"", "(", "a(b)", "@[", "//", "\\", "a@b.", "\u200b", "=40", "a@[1"} {
		line := []byte("x" + strings.Repeat(piece, 1<<17/len(piece)))
		start := time.Now()
		redact.Line(line, key)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("much of %q takes %v", piece, took)
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
	if redact.Address("bob@bücher.example", key) != redact.Address("bob@xn--bcher-kva.example", key) {
		t.Error("the same person has two digests, as given and as on the wire")
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

// module is what passes for an address and stays readable: a Go module with
// its version. Its last label begins with a digit, so no mail goes there.
var module = regexp.MustCompile(`/[^/]+@v[0-9]+\.[0-9]+\.[0-9]+(-.*\.[0-9][^.]*|-[^.]*)?$`)

// FuzzLine: whatever address passes the service's own check leaves no line,
// and JSON stays JSON.
func FuzzLine(f *testing.F) {
	f.Add("bob@example.org", "550 <", "> unknown")
	f.Add("o'brien@xn--bcher-kva.example", "\n", "\t")
	f.Add("/a@v1.2.3.example", "", "")
	f.Add("jürgen@bücher.example", "é", "—")
	f.Fuzz(func(t *testing.T, address, before, after string) {
		if campaign.CheckAddress(address) != nil || module.MatchString(address) || strings.Contains(before+after, "@") {
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
