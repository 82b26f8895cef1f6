package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"postern/internal/campaign"
	"postern/internal/engine"
)

// TestErrorNeverEchoesPassword breaks every rule that a request with a password
// in it can break, and some with the password itself in the wrong place.
func TestErrorNeverEchoesPassword(t *testing.T) {
	t.Parallel()
	s := start(t)
	with := func(members string) string { return strings.TrimSuffix(smallCampaign, "}") + "," + members + "}" }
	for _, body := range []string{
		`{"smtp_password":["hunter2"]}`,
		`{"smtp_password":"hunter2` + "\n" + `"}`,
		`{"smtp_password":"hunter2","smtp_password":"hunter2"}`,
		`{"smtp_password":"hunter2","smtp_port":"hunter2","smtp_use_tls":"hunter2"}`,
		`{"smtp_password":"hunter2`,
		`{"smtp_password":"\ud800hunter2"}`,
		`{"smtp_password":"\ud83dhunter2"}`,
		`{"smtp_password":"\ud800\uhunter2"}`,
		`{"smtp_password":"\hunter2"}`,
		`{"smtp_password":"\uhunter2"}`,
		`{"smtp_password":"hunter2\"}`,
		`{"smtp_password":hunter2}`,
		`{"smtp_password":'hunter2'}`,
		`{"smtp_password":"a"hunter2"}`,
		`{"smtp_password":"a","hunter2"}`,
		`{"smtp_password":"a","hunter2","smtp_port":587}`,
		`{"smtp_password":"a","hunter2" ` + "\x00" + `:1}`,
		`{"smtp_password","hunter2"}`,
		`{"smtp_password":"` + "\xff" + `hunter2"}`,
		`"hunter2`, `hunter2`, `"hunter2"`, `["hunter2"]`, `{} "hunter2"`,
		with(`"smtp_password":{"a":"hunter2"}`),
		with(`"smtp_port":"hunter2"`),
		with(`"smtp_port":["hunter2"]`),
		with(`"smtp_use_tls":"hunter2"`),
		with(`"subject2":1,"recipients":"hunter2"`),
		with(`"recipients":[["hunter2"]]`),
		with(`"recipients":["hunter2"]`),
		with(`"attachments":["hunter2"]`),
		with(`"attachments":[{"content":"hunter2*"}]`),
		with(`"attachments":[{"content":"data:hunter2,"}]`),
		with(`"from_name":"hunter2\u0000"`),
		with(`"reply_to":"hunter2"`),
	} {
		silent(t, s, s.call(http.MethodPost, "/smtp-campaign", body))
	}
	s.reports["c-1"] = engine.Report{Campaign: campaign.Campaign{ID: "c-1", Status: campaign.StatusCancelled}}
	for _, body := range []string{
		`{"smtp_password":["hunter2"]}`, `{"smtp_password":"hunter2`, `{"smtp_password":"hunter2","smtp_port":"hunter2"}`,
		`{"states":["hunter2"]}`, `{"states":"hunter2"}`, `hunter2`, `["hunter2"]`, `{"smtp_password":"hunter2"}`,
	} {
		silent(t, s, s.call(http.MethodPost, "/campaigns/c-1/retry", body))
		silent(t, s, s.call(http.MethodPost, "/campaigns/c-1/pause", body))
	}
	for _, body := range []string{
		`{"contacts":["hunter2"]}`, `{"email":"hunter2"}`, `{"email":["hunter2"]}`, `{"email":"a@x.org","status":"hunter2"}`,
		`{"email":"a@x.org","tags":["hunter2",1]}`, `{"email":"a@x.org","x":["hunter2"]}`, `{"email":"a@x.org","x":"\ud800hunter2"}`,
	} {
		silent(t, s, s.call(http.MethodPost, "/contacts", body))
	}
	for _, header := range [][2]string{
		{"Content-Type", "text/hunter2"}, {"Content-Type", `application/json; a="hunter2`}, {"Content-Encoding", "hunter2"},
		{"Idempotency-Key", "hunter2 hunter2"}, {"Idempotency-Key", strings.Repeat("hunter2", 100)},
	} {
		silent(t, s, s.call(http.MethodPost, "/smtp-campaign", smallCampaign, header[0], "", header[0], header[1]))
	}
	for _, path := range []string{
		"/contacts?cursor=hunter2", "/contacts?limit=hunter2", "/contacts?email=hunter2", "/contacts?limit=%hunter2", "/campaigns?cursor=hunter2",
		"/campaigns/x/deliveries?state=hunter2", "/campaign-status/hunter2", "/hunter2", "/contacts?email=" + url.QueryEscape("<hunter2>@x.org"),
	} {
		silent(t, s, s.call(http.MethodGet, path, ""))
	}
}

func silent(t *testing.T, s *service, r reply) {
	t.Helper()
	if r.status < 400 {
		t.Errorf("status %d: the test asks for an error", r.status)
	}
	for name, text := range map[string]string{"answer": string(r.body), "log": s.log.String()} {
		if i := strings.Index(text, "unter"); i >= 0 {
			t.Errorf("the password is in the %s: ...%s", name, text[max(0, i-100):])
			return
		}
	}
}

// TestSyntaxErrorsSayWhere holds the place, and the words for what is wrong.
func TestSyntaxErrorsSayWhere(t *testing.T) {
	t.Parallel()
	s := start(t)
	for body, want := range map[string]string{
		`{"smtp_password":"\ud800hunter2"}`: "smtp_password must be JSON: an invalid escape sequence at octet 18 (line 1, column 19)",
		"{\n \"body\": \"ä\x01\"}":          "body must be JSON: a control character at octet 14 (line 2, column 12)",
		"{\"a\":1,\n\n\"b\":[1,\n\xff]}":    "b[1] must be JSON: invalid UTF-8 at octet 17 (line 4, column 1)",
		`{"contacts":[{"email":"a"},{]}`:    "contacts[1] must be JSON: a syntax error at octet 28 (line 1, column 29)",
		`{"a":{"b":"c","d","e":1}}`:         "a must be JSON: a syntax error at octet 17 (line 1, column 18)",
		`{"a":{"b":tru}}`:                   "a.b must be JSON: a syntax error at octet 13 (line 1, column 14)",
		`subject=a`:                         " must be JSON: a syntax error at octet 0 (line 1, column 1)",
		`{"a":1,"a":2}`:                     "a must be there once",
		`{"a":"`:                            " must be JSON, and ends too early",
	} {
		got := s.call(http.MethodPost, "/smtp-campaign", body).want(http.StatusBadRequest).fields()
		if len(got) != 1 || got[0] != want {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	}
}
