package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/auth"
	"postern/internal/mailer/smtptest"
)

// endpoint is the VPC endpoint through which callers of accessTarget may come.
const endpoint = "vpce-0123456789abcdef0"

// accessTarget is a service with AUTH=vpce+token.
func accessTarget(t *testing.T) *target {
	t.Helper()
	tokens := map[string]string{}
	var file []byte
	mint := func(name string, made time.Time, scopes ...auth.Scope) {
		token, line, err := auth.Mint(auth.Order{Name: name, Scopes: scopes, For: 24 * time.Hour}, made)
		if err != nil {
			t.Fatal(err)
		}
		tokens[name] = token
		file = append(file, line...)
	}
	mint("reader", time.Now(), auth.ContactsRead, auth.CampaignsRead)
	mint("expired", time.Now().AddDate(0, 0, -2), auth.Admin)
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	tg := emptyTarget(t, startRelay(t, smtptest.Config{}), embedded(t), map[string]string{
		"AUTH": "vpce+token", "VPC_ENABLED": "true", "VPC_ENDPOINT_IDS": endpoint, "API_TOKENS_FILE": path,
	})
	tg.tokens = tokens
	return tg
}

// calling sends a request through the endpoint, with a header made of the
// token of the reader's.
func calling(method, path string, header func(token string) []string) func(*target) outcome {
	return func(tg *target) outcome {
		tg.t.Helper()
		content := ""
		if method == http.MethodPost {
			content = "{}"
		}
		return tg.send(method, path, content, append([]string{"X-Source-Vpce", endpoint}, header(tg.tokens["reader"])...)...)
	}
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

func accessRows() []hostile {
	get := func(header func(token string) []string) func(*target) outcome {
		return calling(http.MethodGet, "/contacts", header)
	}
	changed := func(change func(token string) string) func(*target) outcome {
		return get(func(token string) []string { return bearer(change(token)) })
	}
	without := func(header ...string) func(*target) outcome {
		return func(tg *target) outcome {
			return tg.send(http.MethodGet, "/contacts", "", append(bearer(tg.tokens["reader"]), header...)...)
		}
	}
	expired := func(tg *target) outcome {
		return tg.send(http.MethodGet, "/contacts", "", append(bearer(tg.tokens["expired"]), "X-Source-Vpce", endpoint)...)
	}
	const invalid = "is not valid, or has expired"
	return []hostile{
		{`no token`, get(func(string) []string { return nil }), 401, "", "needs a token"},
		{`a token that somebody made up`, changed(func(string) string { return "postern_0123456789ab_" + strings.Repeat("0", 64) }), 401, "", invalid},
		{`a token with its last digit changed`, changed(func(token string) string { return token[:len(token)-1] + otherDigit(token[len(token)-1:]) }), 401, "", invalid},
		{`a token in capitals`, changed(strings.ToUpper), 401, "", invalid},
		{`half a token`, changed(func(token string) string { return token[:len(token)/2] }), 401, "", invalid},
		{`the hash of a token, as it is stored`, changed(func(string) string { return strings.Repeat("ab", 32) }), 401, "", invalid},
		{`an empty token`, changed(func(string) string { return "" }), 401, "", ""},
		{`a token of 8 KB`, changed(func(token string) string { return strings.Repeat(token, 80) }), 401, "", invalid},
		{`a token that has expired`, expired, 401, "", invalid},
		{`a token as a user's password (Basic)`, get(func(token string) []string { return []string{"Authorization", "Basic " + token} }), 401, "", "needs a token"},
		{`a token in the query`, calling(http.MethodGet, "/contacts?access_token=postern_x", func(string) []string { return nil }), 401, "", "needs a token"},
		{`two Authorization headers`, get(func(token string) []string { return append(bearer("x"), bearer(token)...) }), 400, "", "must not be there twice"},
		{`a good token, and another one in X-Api-Token`, get(func(token string) []string { return append(bearer(token), "X-Api-Token", "x") }), 400, "", "one token is enough"},
		{`a token without the scope: contacts:write`, calling(http.MethodPost, "/contacts", bearer), 403, "", "contacts:write"},
		{`a token without the scope: campaigns:send`, calling(http.MethodPost, "/smtp-campaign", bearer), 403, "", "campaigns:send"},
		{`a token without the scope, the method overridden`,
			calling(http.MethodPost, "/contacts", func(token string) []string { return append(bearer(token), "X-Http-Method-Override", "GET") }), 403, "", "contacts:write"},
		{`a good token, and no VPC endpoint`, without(), 403, "", "VPC access required"},
		{`a good token, through a foreign VPC endpoint`, without("X-Source-Vpce", "vpce-00000000000000000"), 403, "", "VPC access required"},
		{`a good token, through two VPC endpoints`, without("X-Source-Vpce", endpoint, "X-Source-Vpce", "vpce-00000000000000000"), 403, "", "VPC access required"},
		{`a good token, through "` + endpoint + `, vpce-0"`, without("X-Source-Vpce", endpoint+", vpce-0"), 403, "", "VPC access required"},
		{`a path in other letters: /Contacts`, calling(http.MethodGet, "/Contacts", bearer), 404, "", ""},
		{`a path with an empty segment: //contacts`, calling(http.MethodGet, "//contacts", bearer), 404, "", ""},
		{`a path that goes up to an open one, without a token: /healthz/../contacts`,
			overWire("GET /healthz/../contacts HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"), 403, "", "VPC access required"},
	}
}

func otherDigit(digit string) string {
	if digit == "0" {
		return "1"
	}
	return "0"
}

func reboundRows() []hostile {
	host := func(name string) func(*target) outcome {
		return overWire("GET /contacts HTTP/1.1\r\nHost: " + name + "\r\nConnection: close\r\n\r\n")
	}
	return []hostile{
		{`AUTH=none, from a page whose name was made to lead to 127.0.0.1 (DNS rebinding)`, host("attacker.test"), 421, "", "on this machine only"},
		{`the same, with the port`, host("attacker.test:8080"), 421, "", "on this machine only"},
		{`a name that begins like an address: 127.0.0.1.attacker.test`, host("127.0.0.1.attacker.test"), 421, "", "on this machine only"},
		{`a name that begins with localhost`, host("localhost.attacker.test"), 421, "", "on this machine only"},
	}
}
