package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/internal/api"
	"postern/internal/campaign"
	"postern/internal/engine"
)

const smallCampaign = `{"subject":"Hi {{first_name}}","body":"<p>x</p>","from_email":"a@example.org"}`

// oldCampaign is a request of an existing client: a stored configuration
// spread into it, the port a string, a file with a size and an unknown type.
const oldCampaign = `{
	"config_id":"default","updated_at":"2024-01-01","smtp_server":"smtp.example.org","smtp_port":"587",
	"smtp_use_tls":"true","smtp_username":"u","smtp_password":"hunter2","from_email":"Ana <ana@example.org>",
	"subject":"s","body":"b","campaign_name":"c","extra":{"deep":[1,2]},
	"attachments":[{"filename":"a.bin","content":"aGVsbG8=","content_type":"","size":5}]}`

func TestAcceptsCampaignOfOldClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := s.call(http.MethodPost, "/smtp-campaign", oldCampaign).want(http.StatusAccepted)
	got := r.json()
	results, isArray := got["results"].([]any)
	if !isArray || len(results) != 0 {
		t.Errorf("results %v: old clients call results.map", got["results"])
	}
	for name, want := range map[string]any{
		"campaign_name": "c", "status": "pending", "sent_count": 0.0, "failed_count": 0.0, "total_contacts": 0.0,
		"vpc_endpoint": nil, "smtp_server": "smtp.example.org", "timestamp": "2025-06-24T07:30:00.123Z",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if r.header.Get("Idempotent-Replayed") != "" {
		t.Error("a first call is no replay")
	}
	tls := true
	digest := sha256.Sum256([]byte("POST /smtp-campaign\n" + oldCampaign))
	want := engine.Submission{
		Name: "c", Subject: "s", HTML: "b", From: campaign.Mailbox{Name: "Ana", Address: "ana@example.org"},
		Attachments:   []engine.File{{Filename: "a.bin", Data: []byte("hello")}},
		Relay:         engine.SubmittedRelay{Host: "smtp.example.org", Port: 587, UseTLS: &tls, Username: "u", Password: "hunter2"},
		RequestDigest: hex.EncodeToString(digest[:]),
	}
	if got := s.submitted(); !reflect.DeepEqual(got, want) {
		t.Errorf("submitted\n%+v\nwant\n%+v", got, want)
	}
}

func TestCampaignRequestForms(t *testing.T) {
	t.Parallel()
	no := false
	tests := []struct {
		name, members string
		check         func(engine.Submission) (got, want any)
	}{
		{"nothing more", ``, func(s engine.Submission) (any, any) { return s.Relay, engine.SubmittedRelay{} }},
		{"nulls", `"smtp_port":null,"smtp_use_tls":null,"smtp_server":null,"tags":null,"attachments":null,"reply_to":null`,
			func(s engine.Submission) (any, any) { return s.Relay, engine.SubmittedRelay{} }},
		{"zero for a port", `"smtp_port":0`, func(s engine.Submission) (any, any) { return s.Relay, engine.SubmittedRelay{} }},
		{"zero for a port as a string", `"smtp_port":"0"`, func(s engine.Submission) (any, any) { return s.Relay, engine.SubmittedRelay{} }},
		{"empty strings", `"smtp_port":"","smtp_use_tls":""`,
			func(s engine.Submission) (any, any) { return s.Relay, engine.SubmittedRelay{} }},
		{"port as a number", `"smtp_port":465`, func(s engine.Submission) (any, any) { return s.Relay.Port, 465 }},
		{"no TLS", `"smtp_use_tls":false`, func(s engine.Submission) (any, any) { return s.Relay.UseTLS, &no }},
		{"no TLS as a string", `"smtp_use_tls":"false"`, func(s engine.Submission) (any, any) { return s.Relay.UseTLS, &no }},
		{"sender's name", `"from_name":"Ana Lima"`,
			func(s engine.Submission) (any, any) { return s.From.Name, "Ana Lima" }},
		{"answers", `"reply_to":"R <r@example.org>"`,
			func(s engine.Submission) (any, any) {
				return s.ReplyTo, campaign.Mailbox{Name: "R", Address: "r@example.org"}
			}},
		{"at once, and at least once", `"send_at":"","delivery":""`, func(s engine.Submission) (any, any) {
			return s.Promise == "" && s.SendAt.IsZero(), true
		}},
		{"nulls for when and how", `"send_at":null,"delivery":null`, func(s engine.Submission) (any, any) {
			return s.Promise == "" && s.SendAt.IsZero(), true
		}},
		{"at most once", `"delivery":"at_most_once"`, func(s engine.Submission) (any, any) { return s.Promise, campaign.AtMostOnce }},
		{"at least once", `"delivery":"at_least_once"`, func(s engine.Submission) (any, any) { return s.Promise, campaign.AtLeastOnce }},
		{"later", `"send_at":"2026-11-03T09:00:00.25-05:00"`, func(s engine.Submission) (any, any) {
			return s.SendAt, time.Date(2026, 11, 3, 14, 0, 0, 250e6, time.UTC)
		}},
		{"later, in UTC", `"send_at":"2026-11-03T09:00:00Z"`, func(s engine.Submission) (any, any) {
			return s.SendAt, time.Date(2026, 11, 3, 9, 0, 0, 0, time.UTC)
		}},
		{"tags", `"tags":["x","y"]`, func(s engine.Submission) (any, any) { return s.Audience.Tags, []string{"x", "y"} }},
		{"recipients", `"recipients":["A@x.org"]`,
			func(s engine.Submission) (any, any) { return s.Audience.Addresses, []string{"A@x.org"} }},
		{"base64 in lines", `"attachments":[{"filename":"f","content":"aGVs\r\nbG8="}]`,
			func(s engine.Submission) (any, any) { return string(s.Attachments[0].Data), "hello" }},
		{"escaped base64", `"attachments":[{"filename":"f","content":"\/\/\/\u002f"}]`,
			func(s engine.Submission) (any, any) { return string(s.Attachments[0].Data), "\xff\xff\xff" }},
		{"data URL", `"attachments":[{"filename":"f","content":"data:image/png;base64,aGVsbG8="}]`,
			func(s engine.Submission) (any, any) { return string(s.Attachments[0].Data), "hello" }},
		{"empty file", `"attachments":[{"filename":"f","content":""}]`,
			func(s engine.Submission) (any, any) { return len(s.Attachments[0].Data), 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			body := smallCampaign
			if tt.members != "" {
				body = strings.TrimSuffix(smallCampaign, "}") + "," + tt.members + "}"
			}
			s.call(http.MethodPost, "/smtp-campaign", body).want(http.StatusAccepted)
			if got, want := tt.check(s.submitted()); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

const sendAtRule = "send_at must be a time with its offset as RFC 3339 writes it, such as 2026-11-03T09:00:00-05:00"

func TestRefusesCampaign(t *testing.T) {
	t.Parallel()
	s := start(t)
	with := func(members string) string { return strings.TrimSuffix(smallCampaign, "}") + "," + members + "}" }
	tests := []struct{ name, body, fields string }{
		{"nothing", `{}`, "subject is required|body is required|from_email is required"},
		{"null", `{"subject":null,"body":"b","from_email":"a@b.c"}`, "subject is required"},
		{"no object", `[]`, " must be an object"},
		{"subject of another type", `{"subject":5}`, "subject must be a string"},
		{"no address", `{"subject":"s","body":"b","from_email":"a"}`, "from_email must have exactly one @"},
		{"quoted local part", `{"subject":"s","body":"b","from_email":"\"a> ORCPT=x\"@d.org"}`, "from_email must not have '\"' before the @"},
		{"CR LF in the name", with(`"from_name":"a\r\nBcc: x@y.z"`), "from_name must not have the control character U+000D"},
		{"CR LF in the address", `{"subject":"s","body":"b","from_email":"a\r\n <a@b.c>"}`, "from_email must not have the control character U+000D"},
		{"NUL in reply_to", with(`"reply_to":"a\u0000@b.c"`), "reply_to must not have the control character U+0000"},
		{"port", with(`"smtp_port":"smtp"`), "smtp_port must be a whole number"},
		{"port of another type", with(`"smtp_port":[587]`), "smtp_port must be a whole number"},
		{"port beyond", with(`"smtp_port":65536`), "smtp_port must be a port from 1 to 65535"},
		{"negative port", with(`"smtp_port":"-1"`), "smtp_port must be a port from 1 to 65535"},
		{"TLS", with(`"smtp_use_tls":"perhaps"`), "smtp_use_tls must be true or false"},
		{"time without an offset", with(`"send_at":"2026-11-03T09:00:00"`), sendAtRule},
		{"date alone", with(`"send_at":"2026-11-03"`), sendAtRule},
		{"no day", with(`"send_at":"2026-02-30T09:00:00Z"`), sendAtRule},
		{"the zero time", with(`"send_at":"0001-01-01T00:00:00Z"`), sendAtRule},
		{"time as a number", with(`"send_at":1793700000`), "send_at must be a string"},
		{"delivery of another type", with(`"delivery":true`), "delivery must be a string"},
		{"nobody by tags", with(`"tags":[]`), "tags must name one at least; leave it out to mail all contacts"},
		{"nobody by address", with(`"recipients":[]`), "recipients must name one at least; leave it out to mail all contacts"},
		{"empty tag", with(`"tags":["a",""]`), "tags[1] must be of 1 to 128 octets"},
		{"bad recipient", with(`"recipients":["a@b.c","x"]`), "recipients[1] must have exactly one @"},
		{"tags of another type", with(`"tags":"a"`), "tags must be an array"},
		{"bad base64", with(`"attachments":[{"filename":"f","content":"aGVsbG8="},{"filename":"f","content":"*"}]`),
			"attachments[1].content must be base64 (RFC 4648 section 4)"},
		{"other data URL", with(`"attachments":[{"filename":"f","content":"data:,x"}]`),
			"attachments[0].content must be base64 (RFC 4648 section 4)"},
		{"no content", with(`"attachments":[{"filename":"f"}]`), "attachments[0].content is required"},
		{"content of another type", with(`"attachments":[{"filename":"f","content":{}}]`), "attachments[0].content must be a string"},
		{"duplicate name", `{"subject":"a","subject":"b"}`, "subject must be there once"},
		{"duplicate name below", with(`"attachments":[{"filename":"f","filename":"g"}]`), "attachments[0].filename must be there once"},
		{"duplicate escaped name", `{"subject":"a","subj\u0065ct":"b"}`, "subject must be there once"},
		{"invalid UTF-8", "{\"subject\":\"\xff\"}", "subject must be JSON: invalid UTF-8 at octet 12 (line 1, column 13)"},
		{"half a surrogate pair", `{"subject":"\ud800"}`, ""},
		{"trailing garbage", smallCampaign + `x`, " must be one JSON value with nothing behind it"},
		{"second value", smallCampaign + `{}`, " must be one JSON value with nothing behind it"},
		{"too deep", with(`"x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32)), ""},
		{"much too deep", strings.Repeat(`{"a":`, 100000), ""},
		{"empty body", ``, " must be JSON, and ends too early"},
		{"half a body", `{"subject":"a`, " must be JSON, and ends too early"},
		{"no JSON", `subject=a`, ""},
	}
	for _, tt := range tests {
		r := s.call(http.MethodPost, "/smtp-campaign", tt.body).want(http.StatusBadRequest)
		got := strings.Join(r.fields(), "|")
		if tt.fields != "" && tt.fields != got {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.fields)
		}
		if got == "" {
			t.Errorf("%s: no field is named: %s", tt.name, r.body)
		}
	}
	if len(s.submissions) != 0 {
		t.Errorf("%d submissions of refused requests", len(s.submissions))
	}
}

// TestLocationUnderStage resolves Location and links as a client does, with
// and without a stage of API Gateway in front of the paths.
func TestLocationUnderStage(t *testing.T) {
	t.Parallel()
	s := start(t)
	posted := s.call(http.MethodPost, "/smtp-campaign", smallCampaign).want(http.StatusAccepted)
	id := fmt.Sprint(posted.json()["campaign_id"])
	links := func(v any) map[string]any {
		links, _ := v.(map[string]any)["links"].(map[string]any)
		return links
	}
	listed := s.call(http.MethodGet, "/campaigns", "").json()["campaigns"].([]any)[0]
	references := []struct {
		from      string
		reference any
		to        string
	}{
		{"/smtp-campaign", posted.header.Get("Location"), "/campaign-status/" + id},
		{"/smtp-campaign", links(posted.json())["self"], "/campaign-status/" + id},
		{"/smtp-campaign", links(posted.json())["deliveries"], "/campaigns/" + id + "/deliveries"},
		{"/campaigns", links(listed)["self"], "/campaign-status/" + id},
		{"/campaigns", links(listed)["deliveries"], "/campaigns/" + id + "/deliveries"},
	}
	for _, path := range []string{"/campaign-status/" + id, "/campaigns/" + id} {
		got := links(s.call(http.MethodGet, path, "").want(http.StatusOK).json())
		for name, to := range map[string]string{"self": "/campaign-status/" + id, "deliveries": "/campaigns/" + id + "/deliveries"} {
			references = append(references, struct {
				from      string
				reference any
				to        string
			}{path, got[name], to})
		}
	}
	for _, stage := range []string{"", "/prod", "/a/b"} {
		for _, ref := range references {
			base, err := url.Parse("https://api.example.org" + stage + ref.from)
			if err != nil {
				t.Fatal(err)
			}
			reference, err := url.Parse(fmt.Sprint(ref.reference))
			if err != nil {
				t.Fatal(err)
			}
			if got := base.ResolveReference(reference).Path; got != stage+ref.to {
				t.Errorf("from %s, %q leads to %s, want %s", base, reference, got, stage+ref.to)
			}
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	s := start(t)
	first := s.call(http.MethodPost, "/smtp-campaign", smallCampaign, "Idempotency-Key", "k1").want(http.StatusAccepted)
	again := s.call(http.MethodPost, "/smtp-campaign", smallCampaign, "Idempotency-Key", "k1").want(http.StatusAccepted)
	if again.header.Get("Idempotent-Replayed") != "true" || !reflect.DeepEqual(first.json(), again.json()) ||
		first.header.Get("Location") != again.header.Get("Location") {
		t.Errorf("replay %v %s, want the answer %s", again.header, again.body, first.body)
	}
	other := strings.Replace(smallCampaign, "Hi", "Ho", 1)
	s.call(http.MethodPost, "/smtp-campaign", other, "Idempotency-Key", "k1").want(http.StatusUnprocessableEntity)
	if got := s.submitted().IdempotencyKey; got != "k1" {
		t.Errorf("key %q", got)
	}

	s.call(http.MethodPost, "/smtp-campaign", smallCampaign, "Idempotency-Key", strings.Repeat("k", 255)).want(http.StatusAccepted)
	for _, bad := range []string{strings.Repeat("k", 256), "a b", "ä", "\t"} {
		r := s.call(http.MethodPost, "/smtp-campaign", smallCampaign, "Idempotency-Key", bad).want(http.StatusBadRequest)
		if fields := r.fields(); len(fields) != 1 || !strings.HasPrefix(fields[0], "Idempotency-Key ") {
			t.Errorf("%q: %v", bad, fields)
		}
	}
	s.call(http.MethodPost, "/smtp-campaign", smallCampaign, "Idempotency-Key", "a", "Idempotency-Key", "b").want(http.StatusBadRequest)
}

func TestCampaignStatus(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.reports["c-1"] = engine.Report{
		Campaign: campaign.Campaign{
			ID: "c-1", Name: "n", Status: campaign.StatusFailed, Reason: "credentials refused", Notice: "busy",
			Relay: campaign.Relay{Host: "h", Username: "u", SealedPassword: []byte("sealed")}, SourceVPCE: "vpce-0a1b2c3d4e5f60718",
			Promise: campaign.AtMostOnce, SendAt: someTime.Add(-time.Hour),
			CreatedAt: someTime, UpdatedAt: someTime, StartedAt: someTime.Add(time.Second),
		},
		Totals: campaign.Totals{Total: 100, Sent: 50, Failed: 5, Unknown: 2, Suppressed: 3, Final: true, UpdatedAt: someTime.Add(time.Minute)},
	}
	r := s.call(http.MethodGet, "/campaign-status/c-1", "").want(http.StatusOK)
	got := r.json()
	delete(got, "network") // TestStatusHasIndicators
	want := map[string]any{
		"campaign_id": "c-1", "campaign_name": "n", "status": "failed", "reason": "credentials refused", "notice": "busy",
		"total_contacts": 100.0, "total_final": true, "sent_count": 50.0, "failed_count": 5.0, "pending_count": 40.0,
		"unknown_count": 2.0, "suppressed_count": 3.0, "vpc_endpoint": nil, "smtp_server": "h",
		"delivery": "at_most_once", "send_at": "2025-06-24T06:30:00.123Z", "created_at": "2025-06-24T07:30:00.123Z", "updated_at": "2025-06-24T07:31:00.123Z",
		"started_at": "2025-06-24T07:30:01.123Z", "finished_at": nil, "expired_at": nil,
		"links": map[string]any{"self": "../campaign-status/c-1", "deliveries": "../campaigns/c-1/deliveries"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("status\n%v\nwant\n%v", got, want)
	}
	alias := s.call(http.MethodGet, "/campaigns/c-1", "").want(http.StatusOK)
	if !bytes.Equal(alias.body, r.body) {
		t.Errorf("the alias answers %s", alias.body)
	}
}

func TestUnknownCampaign(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, id := range []string{"none", "0197a1c2-7d3e-7b1a-9c55-0a1b2c3d4e5f", "%FF%00", "%2e%2e", strings.Repeat("x", 3000), "a%20b"} {
		for _, path := range []string{"/campaign-status/" + id, "/campaigns/" + id, "/campaigns/" + id + "/deliveries"} {
			r := s.call(http.MethodGet, path, "").want(http.StatusNotFound)
			if got := r.json()["error"]; got != "Campaign not found" {
				t.Errorf("%s: error %q", path, got)
			}
		}
	}
}

func TestVPCEndpoint(t *testing.T) {
	t.Parallel()
	tests := []struct {
		behind bool
		want   any
	}{
		{true, goodEndpoint},
		{false, nil},
	}
	for _, tt := range tests {
		s := start(t, func(o *api.Options) {
			if tt.behind {
				behindGateway(o)
			}
		})
		posted := s.call(http.MethodPost, "/smtp-campaign", smallCampaign, "X-Source-Vpce", goodEndpoint).want(http.StatusAccepted).json()
		polled := s.call(http.MethodGet, fmt.Sprintf("/campaign-status/%s", posted["campaign_id"]), "", "X-Source-Vpce", goodEndpoint).json()
		if posted["vpc_endpoint"] != tt.want || polled["vpc_endpoint"] != tt.want {
			t.Errorf("%+v: %v when posted, %v when polled", tt, posted["vpc_endpoint"], polled["vpc_endpoint"])
		}
		if stored := s.submitted().SourceVPCE; tt.want == nil && stored != "" {
			t.Errorf("%+v: stored %q", tt, stored)
		}
	}
}

func TestCampaignsInPages(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range 5 {
		id := fmt.Sprintf("c-%d", i)
		s.reports[id] = engine.Report{Campaign: campaign.Campaign{
			ID: id, Status: campaign.StatusPending, Promise: campaign.AtLeastOnce, CreatedAt: someTime,
		}}
	}
	var ids []string
	cursor := ""
	for {
		page := s.call(http.MethodGet, "/campaigns?limit=2&cursor="+cursor, "").want(http.StatusOK).json()
		for _, c := range page["campaigns"].([]any) {
			ids = append(ids, c.(map[string]any)["campaign_id"].(string))
		}
		if page["next_cursor"] == nil {
			break
		}
		cursor = page["next_cursor"].(string)
	}
	if got := strings.Join(ids, " "); got != "c-4 c-3 c-2 c-1 c-0" {
		t.Errorf("campaigns %s", got)
	}
	none := start(t)
	empty := none.call(http.MethodGet, "/campaigns", "").want(http.StatusOK)
	if string(empty.body) != `{"campaigns":[],"count":0,"damaged":[],"next_cursor":null}` {
		t.Errorf("no campaigns: %s", empty.body)
	}
	none.damaged = []string{"c-5"}
	damaged := none.call(http.MethodGet, "/campaigns", "").want(http.StatusOK)
	if string(damaged.body) != `{"campaigns":[],"count":0,"damaged":["c-5"],"next_cursor":null}` {
		t.Errorf("one that cannot be read: %s", damaged.body)
	}
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.reports["c-1"] = engine.Report{Campaign: campaign.Campaign{ID: "c-1"}}
	s.reports["c-2"] = s.reports["c-1"]
	s.deliveries = []campaign.Delivery{
		{Address: "a@x.org", State: campaign.DeliverySent, Attempts: 1, Reply: "250 ok", MessageID: "1@x", Digest: []byte{0xab, 0xc1}, UpdatedAt: someTime},
		{Address: "b@x.org", State: campaign.DeliveryFailed, Attempts: 2, Reply: "550 \xff no", UpdatedAt: someTime},
		{Address: "c@x.org", State: campaign.DeliveryPending, Attempts: 1, Reply: "451", NextAttempt: someTime},
	}
	r := s.call(http.MethodGet, "/campaigns/c-1/deliveries", "").want(http.StatusOK)
	const want = `{"deliveries":[` +
		`{"email":"a@x.org","state":"sent","attempts":1,"reply":"250 ok","message_id":"1@x","digest":"abc1","updated_at":"2025-06-24T07:30:00.123Z","next_attempt":null},` +
		`{"email":"b@x.org","state":"failed","attempts":2,"reply":"550 ` + "\uFFFD" + ` no","message_id":null,"digest":null,"updated_at":"2025-06-24T07:30:00.123Z","next_attempt":null},` +
		`{"email":"c@x.org","state":"pending","attempts":1,"reply":"451","message_id":null,"digest":null,"updated_at":null,"next_attempt":"2025-06-24T07:30:00.123Z"}` +
		`],"count":3,"next_cursor":null}`
	if string(r.body) != want {
		t.Errorf("deliveries\n%s\nwant\n%s", r.body, want)
	}
	failed := s.call(http.MethodGet, "/campaigns/c-1/deliveries?state=failed", "").want(http.StatusOK).json()
	if failed["count"] != 1.0 {
		t.Errorf("failed: %v", failed)
	}
	bad := s.call(http.MethodGet, "/campaigns/c-1/deliveries?state=lost", "").want(http.StatusBadRequest)
	if got := bad.fields(); len(got) != 1 || got[0] != "state must be one of [pending sent failed unknown suppressed]" {
		t.Errorf("state: %v", got)
	}

	cursor := s.call(http.MethodGet, "/campaigns/c-1/deliveries?limit=1", "").want(http.StatusOK).json()["next_cursor"].(string)
	s.call(http.MethodGet, "/campaigns/c-1/deliveries?cursor="+cursor, "").want(http.StatusOK)
	for _, foreign := range []string{"/campaigns/c-2/deliveries?", "/campaigns/c-1/deliveries?state=sent&", "/contacts?", "/campaigns?"} {
		r := s.call(http.MethodGet, foreign+"cursor="+cursor, "").want(http.StatusBadRequest)
		if got := r.fields(); len(got) != 1 || !strings.HasPrefix(got[0], "cursor ") {
			t.Errorf("%s: %v", foreign, got)
		}
	}
}

func TestPassesLargeAttachment(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := strings.Repeat("0123456789abcdef", 20<<10) // 320 KiB
	body := fmt.Sprintf(`{"subject":"s","body":"b","from_email":"a@b.c","attachments":[{"filename":"f","content":%q}]}`,
		base64.StdEncoding.EncodeToString([]byte(file)))
	s.call(http.MethodPost, "/smtp-campaign", body).want(http.StatusAccepted)
	if got := string(s.submitted().Attachments[0].Data); got != file {
		t.Errorf("%d octets arrived of %d", len(got), len(file))
	}
}
