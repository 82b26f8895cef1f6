package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// mint makes a token that must be possible.
func mint(t testing.TB, order Order) (token string, line []byte) {
	t.Helper()
	token, line, err := Mint(order, noon)
	if err != nil {
		t.Fatal(err)
	}
	return token, line
}

func reader(name string) Order {
	return Order{Name: name, Scopes: []Scope{ContactsRead}, For: time.Hour}
}

func TestMint(t *testing.T) {
	t.Parallel()
	token, line := mint(t, Order{Name: "reports", Scopes: []Scope{CampaignsRead, ContactsRead}, For: 720 * time.Hour})
	// The expression that the package comment gives to secret scanners.
	if !regexp.MustCompile(`^postern_[0-9a-f]{12}_[0-9a-f]{64}$`).MatchString(token) {
		t.Errorf("token %q", token)
	}
	secret := token[strings.LastIndex(token, "_")+1:]
	if bytes.Contains(line, []byte(secret)) || bytes.Count(line, []byte("\n")) != 1 {
		t.Errorf("line %s", line)
	}
	var stored map[string]any
	if err := json.Unmarshal(line, &stored); err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(token))
	if stored["hash"] != "sha256:"+hex.EncodeToString(hash[:]) || stored["expires"] != "2026-07-01T12:00:00Z" {
		t.Errorf("line %s", line)
	}
	all, err := parseList(line)
	if err != nil {
		t.Fatal(err)
	}
	got, err := all.check(token, noon)
	if err != nil || got.ID != token[8:20] || got.Name != "reports" || !got.Allows(CampaignsRead) || got.Allows(CampaignsSend) || got.Allows(Admin) {
		t.Errorf("checked: %+v, %v", got, err)
	}
	if another, _ := mint(t, reader("reports")); another == token || another[8:20] == token[8:20] {
		t.Errorf("%s again", another)
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	admin := Token{Scopes: []Scope{Admin}}
	for _, scope := range Scopes {
		if !admin.Allows(scope) {
			t.Errorf("admin is not good for %s", scope)
		}
		if (Token{}).Allows(scope) {
			t.Errorf("no scope is good for %s", scope)
		}
	}
	if got, err := ParseScopes("contacts:read, campaigns:send"); err != nil || len(got) != 2 || got[1] != CampaignsSend {
		t.Errorf("parsed %v, %v", got, err)
	}
	for _, list := range []string{"", ",", "contacts", "Contacts:read", "admin,admin", "contacts:read,"} {
		if got, err := ParseScopes(list); err == nil {
			t.Errorf("%q is read as %v", list, got)
		}
	}
}

func TestMintRefuses(t *testing.T) {
	t.Parallel()
	scopes := []Scope{Admin}
	for name, order := range map[string]Order{
		"no name":           {Scopes: scopes},
		"name of spaces":    {Name: "  ", Scopes: scopes},
		"long name":         {Name: strings.Repeat("n", 101), Scopes: scopes},
		"name with newline": {Name: "a\n{}", Scopes: scopes},
		"no scope":          {Name: "a"},
		"unknown scope":     {Name: "a", Scopes: []Scope{"root"}},
		"expired":           {Name: "a", Scopes: scopes, For: -time.Second},
	} {
		if token, line, err := Mint(order, noon); err == nil || token != "" || line != nil {
			t.Errorf("%s: %q, %s, %v", name, token, line, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	token, line := mint(t, reader("one"))
	other, otherLine := mint(t, reader("two"))
	revoked, _ := mint(t, reader("gone"))
	all, err := parseList(append(line, otherLine...))
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(token)
	flipped[len(flipped)-1] ^= 1
	for name, presented := range map[string]string{
		"nothing":              "",
		"prefix":               prefix,
		"id alone":             token[:20],
		"secret of another":    token[:20] + other[20:],
		"id of another":        other[:20] + token[20:],
		"revoked":              revoked,
		"one bit":              string(flipped),
		"upper case":           strings.ToUpper(token),
		"space before":         " " + token[:len(token)-1],
		"newline behind":       token[:len(token)-1] + "\n",
		"longer":               token + "0",
		"very long":            token + strings.Repeat("0", 1<<20),
		"NUL":                  token[:len(token)-1] + "\x00",
		"another separator":    token[:20] + "-" + token[21:],
		"separator moved":      token[:19] + "_" + token[19:20] + token[21:],
		"hash as a token":      prefix + token[8:20] + "_" + hexHash(token),
		"id of nobody, hash 0": prefix + strings.Repeat("0", 12) + "_" + strings.Repeat("0", 64),
	} {
		if got, err := all.check(presented, noon); !errors.Is(err, ErrInvalid) || got.ID != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func hexHash(token string) string {
	hash := sha256.Sum256([]byte(token))
	return hex.EncodeToString(hash[:])
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	short, shortLine := mint(t, Order{Name: "an hour", Scopes: []Scope{Admin}, For: time.Hour})
	forever, foreverLine := mint(t, Order{Name: "for ever", Scopes: []Scope{Admin}})
	all, err := parseList(append(shortLine, foreverLine...))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		token string
		after time.Duration
		want  error
	}{
		{short, time.Hour - 1, nil},
		{short, time.Hour, ErrExpired},
		{short, 1000 * time.Hour, ErrExpired},
		{short[:len(short)-1] + "g", time.Hour, ErrInvalid}, // a wrong one is wrong, whenever
		{forever, 1e6 * time.Hour, nil},
	} {
		if _, err := all.check(tt.token, noon.Add(tt.after)); !errors.Is(err, tt.want) {
			t.Errorf("after %s: %v, want %v", tt.after, err, tt.want)
		}
	}
}

func TestListRefuses(t *testing.T) {
	t.Parallel()
	_, good := mint(t, reader("good"))
	with := func(old, replacement string) string {
		changed := strings.Replace(string(good), old, replacement, 1)
		if changed == string(good) {
			t.Fatalf("%s has no %s", good, old)
		}
		return changed
	}
	tests := []struct{ name, text, says string }{
		{"nothing", "", "empty"},
		{"white space", " \n\t\n", "empty"},
		{"too much", strings.Repeat("#", maxList+1), "larger"},
		{"half a line", string(good[:len(good)/2]), "line 1"},
		{"a line and half of one", string(good) + string(good[:40]), "line 2"},
		{"two on a line", strings.TrimSpace(string(good)) + string(good), "nothing behind it"},
		{"twice", string(good) + "# and\n" + string(good), "line 3 of the list of tokens: the id"},
		{"no JSON", "postern\n", "JSON object"},
		{"null", "null\n", "id must be"},
		{"array", "[]\n", "JSON object"},
		{"a misspelt member", with(`"expires"`, `"expire"`), "JSON object"},
		{"short id", with(`"id":"`, `"id":"","x":"`), "JSON object"},
		{"another hash", with("sha256:", "sha512:"), "hash must be"},
		{"a short hash", with("sha256:", "sha256:00"), "hash must be"},
		{"unknown scope", with("contacts:read", "contacts:all"), "no scope"},
		{"no scopes", with(`["contacts:read"]`, `[]`), "scopes must be"},
		{"null scopes", with(`["contacts:read"]`, `null`), "scopes must be"},
		{"expires first", with("13:00:00Z", "12:00:00Z"), "expire after"},
		{"never created", with(`"created":"2026-06-01T12:00:00Z",`, ""), "creation is missing"},
		{"a time that is none", with("13:00:00Z", "soon"), "JSON object"},
		{"no name", with(`"good"`, `""`), "name must have"},
	}
	for _, tt := range tests {
		got, err := parseList([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: read as %d tokens, %v; want %q", tt.name, len(got), err, tt.says)
		}
	}
	for name, text := range map[string]string{
		"no newline at the end": strings.TrimSpace(string(good)), "Windows": "\r\n# tokens\r\n" + strings.TrimSpace(string(good)) + "\r\n",
	} {
		if got, err := parseList([]byte(text)); err != nil || len(got) != 1 {
			t.Errorf("%s: %d tokens, %v", name, len(got), err)
		}
	}
	if got, err := parseList([]byte(header)); err != nil || len(got) != 0 {
		t.Errorf("no tokens: %d, %v", len(got), err)
	}
}

// FuzzList: whatever a list says, what is presented is good only where the
// list has its hash.
func FuzzList(f *testing.F) {
	token, line := mint(f, reader("seed"))
	f.Add(line, token)
	f.Add(append([]byte("# none\n"), line...), token[:20])
	f.Add(bytes.ReplaceAll(line, []byte(`"`), []byte(`\"`)), "")
	f.Add([]byte(`{"id":"000000000000","hash":"sha256:","scopes":["admin"]}`), prefix+"000000000000_"+strings.Repeat("0", 64))
	f.Fuzz(func(t *testing.T, text []byte, presented string) {
		all, err := parseList(text)
		if err != nil && all != nil {
			t.Errorf("%d tokens beside %v", len(all), err)
		}
		if got, err := all.check(presented, noon); err == nil && !bytes.Contains(bytes.ToLower(text), []byte(hexHash(presented))) {
			t.Errorf("%q is taken for %+v", presented, got)
		}
	})
}
