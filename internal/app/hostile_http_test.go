package app_test

import (
	"net/http"
	"strings"
)

// many joins what of gives for each i below n with commas.
func many(n int, of func(i int) string) string { return strings.Join(list(n, of), ",") }

// list is what of gives for each i below n.
func list(n int, of func(i int) string) []string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = of(i)
	}
	return parts
}

// same gives the same text for every i.
func same(text string) func(int) string { return func(int) string { return text } }

func jsonRows() []hostile {
	const start = `{"subject":"a","body":"b","from_email":"office@example.org","recipients":["ada@example.org"]`
	campaign := func(text string) func(*target) outcome { return raw("/smtp-campaign", text) }
	contacts := func(text string) func(*target) outcome { return raw("/contacts", text) }
	return []hostile{
		{`a name that is there twice`, campaign(start + `,"subject":"c"}`), 400, "subject", "must be there once"},
		{`a name that is there twice, once as \u escapes`, campaign(start + `,"\u0073ubject":"c"}`), 400, "subject", "must be there once"},
		{`recipients twice, the second as null`, campaign(start + `,"recipients":null}`), 400, "recipients", "must be there once"},
		{`a name that is there twice in a nested object that nobody reads`, campaign(start + `,"x":{"y":[{"z":1,"z":2}]}}`), 400, "x.y[0].z", "must be there once"},
		{`email in two spellings (white space of a CSV header)`, contacts(`{"email":"a@example.org"," email ":"b@example.org"}`), 400, "email", "must be there once"},
		{`SUBJECT instead of subject`, campaign(`{"SUBJECT":"a","body":"b","from_email":"office@example.org"}`), 400, "subject", "is required"},
		{`an octet that is no UTF-8`, campaign(start + ",\"campaign_name\":\"\xff\"}"), 400, "campaign_name", "invalid UTF-8"},
		{`UTF-8 in an overlong form`, campaign(start + ",\"campaign_name\":\"\xc0\xaf\"}"), 400, "campaign_name", "invalid UTF-8"},
		{`half of a surrogate pair`, campaign(start + `,"campaign_name":"\ud800"}`), 400, "campaign_name", "escape"},
		{`a raw control character in a string`, campaign(start + ",\"campaign_name\":\"a\nb\"}"), 400, "campaign_name", "control character"},
		{`a password that ends in the middle of an escape`, campaign(start + `,"smtp_password":"` + canary + `\u00"}`), 400, "smtp_password", "escape"},
		{`a password without its closing quote`, campaign(start + `,"smtp_password":"` + canary), 400, "", "ends too early"},
		{`a password where a name should be`, campaign(start + `,{"` + canary + `"}`), 400, "", "must be JSON"},
		{`data behind the value`, campaign(start + `} {}`), 400, "", "nothing behind it"},
		{`a NUL behind the value`, campaign(start + "}\x00"), 400, "", "nothing behind it"},
		{`a byte order mark`, campaign("\ufeff" + start + `}`), 400, "", "syntax error"},
		{`nothing`, post("/smtp-campaign", nil), 400, "", ""},
		{`an array instead of an object`, campaign(`[]`), 400, "", "must be an object"},
		{`a comment`, campaign(start + `/* */}`), 400, "", "syntax error"},
		{`nested 33 deep, where nobody reads it`, campaign(start + `,"x":` + strings.Repeat("[", 33) + strings.Repeat("]", 33) + `}`), 400, "", "must not be nested deeper than 32"},
		{`100,000 opening brackets`, campaign(strings.Repeat("[", 100000)), 400, "", "must not be nested deeper than 32"},
		{`1,001 members`, contacts(`{` + many(1001, func(i int) string { return `"` + strings.Repeat("k", i+1) + `":0` }) + `}`), 400, "", "at most 1000 members"},
		{`10,001 elements`, contacts(`{"contacts":[` + many(10001, same("0")) + `]}`), 400, "contacts", "at most 10000 elements"},
		{`a million values in arrays of 10,000`, contacts(`{"email":"a@example.org","x":[` + many(100, same(`[`+many(9999, same("0"))+`]`)) + `]}`), 400, "", "at most 300000 values in all"},
		{`a number beyond all bounds`, campaign(start + `,"smtp_port":1e400}`), 400, "smtp_port", "must be a whole number"},
		{`a number of 100,000 digits`, campaign(start + `,"smtp_port":` + strings.Repeat("9", 100000) + `}`), 400, "smtp_port", "must be a whole number"},
		{`a string where an array belongs`, submits(body{"recipients": "ada@example.org"}), 400, "recipients", "must be an array"},
		{`an object where a string belongs`, submits(body{"subject": body{"$ne": ""}}), 400, "subject", "must be a string"},
		{`config_id, updated_at and size, which nobody reads`, submits(body{"config_id": 7, "updated_at": "2026-01-01T00:00:00Z", "size": 12}), 202, "", "accepted"},
		{`__proto__ and constructor as fields of a contact`, contacts(`{"email":"proto@example.org","__proto__":"x","constructor":"y"}`), 200, "", "accepted"},
	}
}

func httpRows() []hostile {
	const head = "POST /contacts HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n"
	const kept = "POST /contacts HTTP/1.1\r\nHost: HOST\r\n" // the connection may stay open
	const contentType = "Content-Type: application/json\r\n"
	return []hostile{
		{`text/plain, which a page of another origin may send unasked`, as("text/plain"), 415, "", "must be application/json"},
		{`application/x-www-form-urlencoded`, as("application/x-www-form-urlencoded"), 415, "", "must be application/json"},
		{`no Content-Type, from a browser (Origin is there)`, as("", "Origin", "https://evil.example"), 415, "", "must be application/json"},
		{`a gzipped body (a bomb, perhaps)`, as("application/json", "Content-Encoding", "gzip"), 415, "", "Content-Encoding"},
		{`a body one octet beyond MAX_REQUEST_BYTES`, raw("/smtp-campaign", `{"body":"`+strings.Repeat("x", 4194304-10)+`"}`), 413, "", "larger than"},
		{`Content-Length of 10 TB`, overWire(head + contentType + "Content-Length: 10000000000000\r\n\r\n"), 413, "", "larger than"},
		{`Content-Length and Transfer-Encoding, a good body, and a request behind it that a proxy may not have seen (request smuggling): the connection ends behind the first answer`,
			overWire(kept + contentType + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n1d\r\n{\"email\":\"chunk@example.org\"}\r\n0\r\n\r\nGET /contacts HTTP/1.1\r\nHost: HOST\r\n\r\n"), 200, "", "accepted"},
		{`Transfer-Encoding in HTTP/1.0, which knows none, and a request behind it: likewise`,
			overWire("POST /contacts HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\n" + contentType + "Content-Length: 28\r\nTransfer-Encoding: chunked\r\n\r\n{\"email\":\"old@example.org\"}\nGET /contacts HTTP/1.1\r\nHost: HOST\r\n\r\n"), 200, "", "accepted"},
		{`two different Content-Lengths`, overWire(head + contentType + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"), 400, "", ""},
		{`a chunk whose length is nonsense`, overWire(head + contentType + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), 400, "", "ended before its end"},
		{`Transfer-Encoding: xchunked`, overWire(head + contentType + "Transfer-Encoding: xchunked\r\n\r\n{}"), 501, "", ""},
		{`a header field folded over two lines`, overWire(head + "X-A: b\r\n c\r\nContent-Length: 2\r\n" + contentType + "\r\n{}"), 400, "", ""},
		{`a bare LF in a header field's value, as NUL too`, overWire(head + "X-A: b\x00c\r\n\r\n"), 400, "", ""},
		{`white space in front of a header field's colon`, overWire(head + "Content-Length : 2\r\n\r\n{}"), 400, "", ""},
		{`no Host`, overWire("GET /contacts HTTP/1.1\r\nConnection: close\r\n\r\n"), 400, "", ""},
		{`headers of 40 KB`, overWire(head + "X-A: " + strings.Repeat("a", 40<<10) + "\r\n\r\n"), 431, "", ""},
		{`a path of 40 KB`, overWire("GET /" + strings.Repeat("a", 40<<10) + " HTTP/1.1\r\nHost: HOST\r\n\r\n"), 431, "", ""},
		{`no HTTP at all (TLS to a plain listener)`, overWire("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), 400, "", ""},
		{`a path with ..`, overWire("GET /campaigns/../contacts HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"), 404, "", "nothing at this path"},
		{`a path with %2e%2e%2f`, overWire("GET /campaigns/%2e%2e%2fcontacts HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"), 404, "", ""},
		{`a method that is none`, overWire("BREW /contacts HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"), 405, "", "this path allows"},
		{`X-Http-Method-Override: DELETE`, overridden, 200, "", "accepted"},
		{`X-Source-Vpce and X-Amzn-Request-Id, where no gateway stands in front`, forgedGateway, 202, "", "not believed"},
		{`a query string that cannot be read (%zz)`, get("/contacts?email=%zz"), 400, "", "cannot be read"},
		{`headers that come an octet a second`, octetByOctet("GET /contacts HTTP/1.1\r\nHost: HOST\r\nX-Slow: "), 0, "", "closed without an answer"},
		{`a body that comes an octet a second`, octetByOctet(kept + contentType + "Content-Length: 1000\r\n\r\n{"), 408, "", "did not arrive in time"},
		{`email twice in a query`, get("/contacts?email=ada@example.org&email=b@example.org"), 400, "email", "must be given once"},
	}
}

// as sends a contact under a content type.
func as(contentType string, header ...string) func(*target) outcome {
	return func(tg *target) outcome {
		tg.t.Helper()
		given := append([]string{"Content-Type", contentType}, header...)
		return tg.send(http.MethodPost, "/contacts", "", given...)
	}
}

func deleted(path string) func(*target) outcome {
	return func(tg *target) outcome { return tg.send(http.MethodDelete, path, "") }
}

func get(path string) func(*target) outcome {
	return func(tg *target) outcome { return tg.send(http.MethodGet, path, "") }
}

// overridden asks for a contact in a way that some frameworks take for its
// deletion.
func overridden(tg *target) outcome {
	tg.t.Helper()
	o := tg.send(http.MethodGet, "/contacts?email=ada@example.org", "", "X-Http-Method-Override", "DELETE")
	if again := tg.send(http.MethodGet, "/contacts?email=ada@example.org", ""); again.status != http.StatusOK {
		tg.t.Errorf("the contact is gone: %s", again)
	}
	return o
}

// forgedGateway claims to come through a VPC endpoint.
func forgedGateway(tg *target) outcome {
	tg.t.Helper()
	o := tg.send(http.MethodPost, "/smtp-campaign", encode(tg.t, campaignWith(nil)),
		"X-Source-Vpce", "vpce-0123456789abcdef0", "X-Amzn-Request-Id", "0123456789abcdef")
	var page struct {
		Campaigns []struct {
			Endpoint *string `json:"vpc_endpoint"`
		} `json:"campaigns"`
	}
	if err := tg.service.Call(tg.t.Context(), http.MethodGet, "campaigns", nil, &page); err != nil {
		tg.t.Fatal(err)
	}
	for _, c := range page.Campaigns {
		if c.Endpoint != nil {
			return outcome{status: o.status, text: "believed"}
		}
	}
	o.text = "accepted; the headers are not believed"
	return o
}

func listingRows() []hostile {
	return []hostile{
		{`a cursor that somebody made up`, get("/contacts?cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 400, "cursor", "must be a next_cursor of this very listing"},
		{`a cursor that is no base64`, get("/contacts?cursor=%00%ff"), 400, "cursor", "must be a next_cursor"},
		{`a cursor of 8 KB`, get("/contacts?cursor=" + strings.Repeat("A", 8<<10)), 400, "cursor", "must be a next_cursor"},
		{`a cursor of another listing`, foreignCursor, 400, "cursor", "must be a next_cursor"},
		{`a cursor with one bit changed`, bentCursor, 400, "cursor", "must be a next_cursor"},
		{`a page of 10^9`, get("/contacts?limit=1000000000"), 200, "", "accepted"},
		{`a page of 10^30`, get("/contacts?limit=1000000000000000000000000000000"), 200, "", "accepted"},
		{`a page of -1`, get("/contacts?limit=-1"), 200, "", "accepted"},
		{`a page of 1e9`, get("/contacts?limit=1e9"), 400, "limit", "must be a whole number"},
		{`?email= with CRLF in it`, get("/contacts?email=a%0d%0ab@example.org"), 400, "email", "must not have"},
		{`a campaign's id that is a path`, get("/campaign-status/..%2f..%2fetc%2fpasswd"), 404, "", ""},
		{`a campaign's id with a NUL`, get("/campaign-status/%00"), 404, "", "Campaign not found"},
		{`a campaign's id of 4 KB`, get("/campaign-status/" + strings.Repeat("a", 4<<10)), 404, "", "Campaign not found"},
		{`the data of a person whose address is a path`, get("/contacts/..%2f..%2fcampaigns/data"), 400, "", ""},
		{`the data of a person whose address has CRLF`, get("/contacts/a%0d%0a@example.org/data"), 400, "", "must not have"},
		{`the erasure of everybody: DELETE /contacts/*/data`, deleted("/contacts/*/data"), 400, "", ""},
		{`the deletion of nobody: DELETE /contacts`, deleted("/contacts"), 400, "email", "is required"},
		{`deliveries of a state that is none`, ofSome("/deliveries?state=%27%20OR%201%3D1"), 400, "state", "must be one of"},
	}
}

// firstPage imports contacts and gives the cursor behind the first of them.
func (tg *target) firstPage() string {
	tg.t.Helper()
	for _, email := range []string{"p1@example.org", "p2@example.org"} {
		tg.send(http.MethodPost, "/contacts", encode(tg.t, body{"email": email}))
	}
	var page struct {
		Next string `json:"next_cursor"`
	}
	if err := tg.service.Call(tg.t.Context(), http.MethodGet, "contacts?limit=1", nil, &page); err != nil || page.Next == "" {
		tg.t.Fatalf("no second page: %v", err)
	}
	return page.Next
}

func foreignCursor(tg *target) outcome {
	return tg.send(http.MethodGet, "/campaigns?cursor="+tg.firstPage(), "")
}

func bentCursor(tg *target) outcome {
	cursor := []byte(tg.firstPage())
	cursor[len(cursor)/2] ^= 1
	return tg.send(http.MethodGet, "/contacts?cursor="+string(cursor), "")
}

// ofSome asks about a campaign that is there.
func ofSome(path string) func(*target) outcome {
	return func(tg *target) outcome {
		tg.t.Helper()
		id, refused := tg.submit(encode(tg.t, campaignWith(nil)))
		if id == "" {
			return refused
		}
		return tg.send(http.MethodGet, "/campaigns/"+id+path, "")
	}
}

func courseRows() []hostile {
	keyed := func(keys ...string) func(*target) outcome {
		return func(tg *target) outcome {
			var header []string
			for _, key := range keys {
				header = append(header, "Idempotency-Key", key)
			}
			return tg.send(http.MethodPost, "/smtp-campaign", encode(tg.t, campaignWith(nil)), header...)
		}
	}
	return []hostile{
		{`the same Idempotency-Key with another body`, keyTwice(campaignWith(body{"subject": "Other"})), 422, "", ""},
		{`the same Idempotency-Key and body again`, keyTwice(campaignWith(nil)), 202, "", "accepted"},
		{`an empty Idempotency-Key`, keyed(""), 400, "Idempotency-Key", "must be given once"},
		{`an Idempotency-Key of 256 octets`, keyed(strings.Repeat("k", 256)), 400, "Idempotency-Key", "1 to 255"},
		{`an Idempotency-Key with a tab`, keyed("a\tb"), 400, "Idempotency-Key", "visible ASCII"},
		{`two Idempotency-Keys`, keyed("a", "b"), 400, "Idempotency-Key", "must be given once"},
		{`an empty list of recipients`, submits(body{"recipients": []string{}}), 400, "recipients", "must name one at least"},
		{`an empty list of tags`, submits(body{"recipients": nil, "tags": []string{}}), 400, "tags", "must name one at least"},
		{`an empty tag`, submits(body{"recipients": nil, "tags": []string{""}}), 400, "tags[0]", "1 to 128 octets"},
		{`101 tags`, submits(body{"recipients": nil, "tags": list(101, same("t"))}), 400, "tags", "at most 100"},
		{`1,001 recipients`, submits(body{"recipients": list(1001, same("ada@example.org"))}), 400, "recipients", "at most 1000"},
		{`the same recipient twice`, submits(body{"recipients": []string{"ada@example.org", "ADA@example.org"}}), 400, "recipients[1]", "is there twice"},
		{`a recipient who is no contact`, submits(body{"recipients": []string{"stranger@example.org"}}), 400, "recipients[0]", "is not a contact"},
		{`recipients and tags`, submits(body{"tags": []string{"t"}}), 400, "recipients", "must not come together with tags"},
		{`send_at without an offset`, submits(body{"send_at": "2026-11-03T09:00:00"}), 400, "send_at", "with its offset"},
		{`send_at in the past`, submits(body{"send_at": "1970-01-01T00:00:00Z"}), 400, "send_at", "must be in the future"},
		{`send_at in the year 9999`, submits(body{"send_at": "9999-12-31T23:59:59Z"}), 400, "send_at", "within a year"},
		{`a promise that nobody can keep (exactly_once)`, submits(body{"delivery": "exactly_once"}), 400, "delivery", "must be one of"},
		{`a campaign name of 257 octets`, submits(body{"campaign_name": strings.Repeat("n", 257)}), 400, "campaign_name", "at most 256 octets"},
		{`a pause of a campaign that is not there`, raw("/campaigns/0190a5c0-0000-7000-8000-000000000000/pause", ""), 404, "", "Campaign not found"},
		{`a retry for recipients who are sent already`, raw("/campaigns/0190a5c0-0000-7000-8000-000000000000/retry", `{"states":["sent"]}`), 400, "states", "must be failed, unknown or both"},
		{`a retry for nobody`, raw("/campaigns/0190a5c0-0000-7000-8000-000000000000/retry", `{"states":[]}`), 400, "states", "must name one at least"},
	}
}

// keyTwice sends a key with a campaign, and again with another body.
func keyTwice(second body) func(*target) outcome {
	return func(tg *target) outcome {
		tg.t.Helper()
		key := strings.ReplaceAll(tg.t.Name(), "/", "-")
		tg.send(http.MethodPost, "/smtp-campaign", encode(tg.t, campaignWith(nil)), "Idempotency-Key", key)
		return tg.send(http.MethodPost, "/smtp-campaign", encode(tg.t, second), "Idempotency-Key", key)
	}
}
