package app_test

import (
	"maps"
	"net/http"
	"strings"
)

func addressRows() []hostile {
	contact := func(email string) func(*target) outcome { return post("/contacts", body{"email": email}) }
	return []hostile{
		{`"a> ORCPT=x"@d.org: a quoted local part that becomes a parameter of RCPT`, contact(`"a> ORCPT=x"@d.org`), 400, "email", `must not have '"'`},
		{`the same in recipients`, submits(body{"recipients": []string{`"a> ORCPT=x"@d.org`}}), 400, "recipients[0]", `must not have '"'`},
		{`the same in from_email`, submits(body{"from_email": `"a> ORCPT=x"@d.org`}), 400, "from_email", ""},
		{`a> SIZE=9@example.org`, contact("a> SIZE=9@example.org"), 400, "email", "must not have '>'"},
		{`CRLF and a command: a@example.org\r\nRCPT TO:<victim@example.org>`, contact("a@example.org\r\nRCPT TO:<victim@example.org>"), 400, "email", "exactly one @"},
		{`CRLF in the domain`, contact("a@example.org\r\nDATA"), 400, "email", "must not have"},
		{`CRLF in the local part`, contact("a\r\nRSET@example.org"), 400, "email", "must not have"},
		{`a NUL`, contact("a\x00b@example.org"), 400, "email", "must not have"},
		{`a space`, contact("a b@example.org"), 400, "email", "must not have"},
		{`two @`, contact("a@b@example.org"), 400, "email", "exactly one @"},
		{`no domain`, contact("a@"), 400, "email", "domain behind the @"},
		{`no local part`, contact("@example.org"), 400, "email", "before the @"},
		{`no @`, contact("example.org"), 400, "email", "exactly one @"},
		{`a domain of one label`, contact("root@intranet"), 400, "email", "full domain"},
		{`255 octets`, contact("a@" + strings.Repeat(strings.Repeat("d", 49)+".", 5) + "org"), 400, "email", "at most 254 octets"},
		{`a local part of 65 octets`, contact(strings.Repeat("a", 65) + "@example.org"), 400, "email", "1 to 64 octets"},
		{`a label of 64 octets`, contact("a@" + strings.Repeat("d", 64) + ".org"), 400, "email", "1 to 63 octets"},
		{`an address of a megabyte`, contact(strings.Repeat("a", 1<<20) + "@example.org"), 400, "email", "at most 254 octets"},
		{`a literal: a@[127.0.0.1]`, contact("a@[127.0.0.1]"), 400, "email", "must not have '['"},
		{`a source route: <@relay.test:a@example.org>`, contact("@relay.test:a@example.org"), 400, "email", "exactly one @"},
		{`two dots in a row`, contact("a..b@example.org"), 400, "email", "two in a row"},
		{`a domain that ends in a dot`, contact("a@example.org."), 400, "email", "labels of 1 to 63 octets"},
		{`a comment: a(b)@example.org`, contact("a(b)@example.org"), 400, "email", "must not have '('"},
		{`a list: a@example.org,b@example.org`, contact("a@example.org,b@example.org"), 400, "email", "exactly one @"},
		{`a right-to-left override in the local part`, contact("a\u202eb@example.org"), 400, "email", "must not have"},
		{`a zero-width joiner in the domain`, contact("a@exa\u200dmple.org"), 400, "email", "must not have"},
		{`an ideographic full stop in the domain`, contact("a@example\u3002org"), 400, "email", ""},
		{`from_email with a second mailbox`, submits(body{"from_email": "a@example.org, b@example.org"}), 400, "from_email", "exactly one @"},
		{`from_email with a name that holds an address: "boss@agency.test" <a@example.org>`,
			mails(nil, body{"from_email": `"boss@agency.test" <a@example.org>`}, line("From:")), 202, "", `From: "boss@agency.test" <a@example.org>`},
		{`an internationalised domain`, mails(body{"email": "idn@bücher.example.org"}, nil, line("To:")), 202, "", "To: <idn@xn--bcher-kva.example.org>"},
		{`a domain in fullwidth letters, which are mapped`, mails(body{"email": "wide@ｅｘample.org"}, nil, line("To:")), 202, "", "To: <wide@example.org>"},
		{`a label that is no A-label (xn--ä)`, mails(body{"email": "bad@xn--ä.example.org"}, nil, line("To:")), 400, "email", "must have a valid internationalised domain name"},
	}
}

// injected puts CRLF and a header field into a member.
func injected(field string) func(*target) outcome {
	return submits(body{field: "a@example.org\r\nBcc: victim@example.org"})
}

func headerRows() []hostile {
	const rule = "must not have the control character"
	return []hostile{
		{`CRLF and a Bcc in subject`, injected("subject"), 400, "subject", rule},
		{`CRLF and a Bcc in from_email`, injected("from_email"), 400, "from_email", rule},
		{`CRLF and a Bcc in from_name`, injected("from_name"), 400, "from_name", rule},
		{`CRLF and a Bcc in reply_to`, injected("reply_to"), 400, "reply_to", rule},
		{`CRLF in campaign_name`, injected("campaign_name"), 400, "campaign_name", "without control characters"},
		{`a lone CR in subject`, submits(body{"subject": "a\rBcc: x@example.org"}), 400, "subject", rule},
		{`a lone LF in from_name`, submits(body{"from_name": "a\nBcc: x@example.org"}), 400, "from_name", rule},
		{`a NUL in subject`, submits(body{"subject": "a\x00b"}), 400, "subject", rule},
		{`U+0085 (next line) in subject`, submits(body{"subject": "a\u0085Bcc: x"}), 400, "subject", rule},
		{`U+2028 (line separator) in from_name`, submits(body{"from_name": "a\u2028Bcc: x"}), 400, "from_name", rule},
		{`a right-to-left override (U+202E) in from_name`, submits(body{"from_name": "\u202eknab ruoY"}), 400, "from_name", "control character U+202E"},
		{`a right-to-left mark (U+200F) in the name of from_email`, submits(body{"from_email": "\u200fBank <a@example.org>"}), 400, "from_email", "invisible mark U+200F"},
		{`an isolate (U+2067) in reply_to`, submits(body{"reply_to": "\u2067Bank\u2069 <a@example.org>"}), 400, "reply_to", "control character U+2067"},
		{`an embedding (U+202B) in subject`, submits(body{"subject": "\u202bHello\u202c"}), 400, "subject", "control character U+202B"},
		{`a right-to-left mark (U+200F) in subject`, mails(nil, body{"subject": "שלום!\u200f"}, line("Subject:")), 202, "", "4oCP"},
		{`an escape sequence of a terminal in reply_to`, submits(body{"reply_to": "\x1b[2J <a@example.org>"}), 400, "reply_to", rule},
		{`CRLF in the default of a placeholder in subject`, submits(body{"subject": "{{first_name | default: \"a\r\nBcc: x\"}}"}), 400, "subject", rule},
		{`a subject of 2,001 octets`, submits(body{"subject": strings.Repeat("s", 2001)}), 400, "subject", "at most 2000 octets"},
		{`a from_name of 1,001 octets`, submits(body{"from_name": strings.Repeat("n", 1001)}), 400, "from_email", "at most 1000 octets"},
		{`a subject of 2,000 octets in one word`, mails(nil, body{"subject": strings.Repeat("s", 2000)}, line("Subject:")), 202, "", "⏎"},
		{`a subject of 1,500 octets in short words`, mails(nil, body{"subject": strings.TrimSpace(strings.Repeat("word ", 300))}, line("Subject:")), 202, "", "⏎"},
		{`a subject that is an encoded word of CRLF`, mails(nil, body{"subject": "=?UTF-8?Q?a=0D=0ABcc:_x?="}, line("Subject:")), 202, "", "=?UTF-8?B?PT9VVEYtO"},
		{`a from_name that closes its own quotes: x" <boss@agency.test> "`,
			mails(nil, body{"from_name": `x" <boss@agency.test> "`}, line("From:")), 202, "", `\"`},
	}
}

func contactRows() []hostile {
	contact := func(fields body) func(*target) outcome {
		c := body{"email": "c@example.org"}
		maps.Copy(c, fields)
		return post("/contacts", c)
	}
	wide := body{}
	for _, name := range list(101, func(i int) string { return "f" + strings.Repeat("x", i%60) + string(rune('a'+i/60)) }) {
		wide[name] = ""
	}
	return []hostile{
		{`a contact of 400 KB, beyond a DynamoDB item`, contact(body{"note": strings.Repeat("x", 400<<10)}), 400, "contact", "at most 65536 octets"},
		{`101 fields`, contact(wide), 400, "contact", "at most 100 fields"},
		{`a field's name of 65 octets`, contact(body{strings.Repeat("n", 65): "x"}), 400, "", "1 to 64 octets"},
		{`a field's name with braces: }}{{email`, contact(body{"}}{{email": "x"}), 400, "}}{{email", "without { } |"},
		{`a field's name with CRLF within`, contact(body{"a\r\nb": "x"}), 400, "", "control characters"},
		{`an object as a field`, contact(body{"x": body{"y": 1}}), 400, "x", "must be a string, a number"},
		{`a status that is none`, contact(body{"status": "admin"}), 400, "status", "must be one of"},
		{`101 tags`, contact(body{"tags": list(101, same("t"))}), 400, "tags", "at most 100"},
		{`two million tags in one string`, contact(body{"tags": strings.Repeat("t,", 2000000)}), 400, "tags", "at most 100"},
		{`a tag of 129 octets`, contact(body{"tags": []string{strings.Repeat("t", 129)}}), 400, "tags[0]", "1 to 128 octets"},
		{`tags that are numbers`, contact(body{"tags": []int{1}}), 400, "tags", "must be an array of strings"},
		{`10,000 contacts, each with 20 faults`, raw("/contacts", `{"contacts":[`+many(10000, same(`{"tags":[`+many(20, same(`""`))+`]}`))+`]}`), 400, "contacts[0].email", "and more"},
		{`a contact that is there twice in a request, in other letters`, raw("/contacts", `{"contacts":[{"email":"t@example.org"},{"email":"T@example.org"}]}`), 400, "contacts[1].email", "must be there once"},
		{`email_count, created_at and last_campaign of the caller's own`, statistics, 200, "", "passed over"},
		{`=cmd|' /C calc'!A0 as a field (it is kept; there is no CSV export that a spreadsheet could open)`, contact(body{"first_name": "=cmd|' /C calc'!A0"}), 200, "", "accepted"},
	}
}

// statistics tries to set what only Postern may know.
func statistics(tg *target) outcome {
	tg.t.Helper()
	const address = "forged@example.org"
	o := tg.send(http.MethodPost, "/contacts", encode(tg.t, body{"email": address, "email_count": 7, "last_campaign": "x", "created_at": "1970-01-01T00:00:00Z"}))
	var page struct {
		Contacts []struct {
			Count    int     `json:"email_count"`
			Campaign *string `json:"last_campaign"`
		} `json:"contacts"`
	}
	if err := tg.service.Call(tg.t.Context(), http.MethodGet, "contacts?email="+address, nil, &page); err != nil {
		tg.t.Fatal(err)
	}
	if page.Contacts[0].Count != 0 || page.Contacts[0].Campaign != nil {
		return outcome{status: o.status, text: "believed"}
	}
	o.text = "accepted; these members are passed over"
	return o
}

func templateRows() []hostile {
	html := func(text string) func(*target) outcome { return submits(body{"body": text}) }
	personal := func(field, value, template, shown string) func(*target) outcome {
		return mails(body{field: value}, body{"body": "<p>" + template + "</p>"}, whole(shown))
	}
	return []hostile{
		{`a loop: {% for x in y %}`, html("{% for x in y %}{{x}}{% endfor %}"), 400, "body", "line 1, column 1"},
		{`a block: {{#each contacts}}`, html("\n {{#each contacts}}"), 400, "body", "line 2, column 2"},
		{`a partial: {{> /etc/passwd}}`, html("{{> /etc/passwd}}"), 400, "body", "only field names are understood"},
		{`an unescaped value: {{{first_name}}}`, html("{{{first_name}}}"), 400, "body", "three or more {"},
		{`braces within braces, 100,000 deep`, html(strings.Repeat("{{", 100000) + "x" + strings.Repeat("}}", 100000)), 400, "body", "three or more {"},
		{`a placeholder without its end`, html("Hello {{first_name"), 400, "body", "{{ without its }}"},
		{`a placeholder without its end in subject`, submits(body{"subject": "Hello {{first_name"}), 400, "subject", "{{ without its }}"},
		{`a filter that reads files: {{x | include: "/etc/passwd"}}`, html(`{{x | include: "/etc/passwd"}}`), 400, "body", "unknown filter"},
		{`a placeholder with an expression: {{7*7}}`, personal("first_name", "x", "{{7*7}}", "<p>"), 202, "", "<p></p>"},
		{`1,001 placeholders`, html(strings.Repeat("{{x}}", 1001)), 400, "body", "at most 1000 placeholders"},
		{`a body of a megabyte and an octet`, html(strings.Repeat("x", 1<<20+1)), 400, "body", "at most 1048576 octets"},
		{`an empty body`, html(" \n"), 400, "body", "must not be empty"},
		{`{{email}} inside a contact's own field`, personal("company", "{{email}}", "{{company}}", "{{"), 202, "", "{{email}}"},
		{`<script> inside a contact's own field`, personal("company", "<script>alert(1)</script>", "{{company}}", "&lt;"), 202, "", "&lt;script&gt;"},
		{`quotes inside a contact's own field, within an attribute`, mails(body{"company": `" onload="x`}, body{"body": `<p title="{{company}}">`}, line("<p")), 202, "", "&#34; onload=3D&#34;x"},
		{`CRLF in a contact's field that stands in the subject: that recipient fails`,
			mails(body{"company": "a\r\nBcc: victim@example.org"}, body{"subject": "For {{company}}"}, line("Subject:")), 202, "", "then failed: letter: the contact's company must not have the control character"},
		{`CRLF in a contact's first_name, which stands in To`, mails(body{"first_name": "a\r\nBcc: victim@example.org"}, nil, line("To:")), 202, "", "then failed: letter: the contact's first_name"},
		{`CRLF, a dot and CRLF in a contact's field that stands in the body (SMTP smuggling)`,
			personal("company", "a\r\n.\r\nMAIL FROM:<x@example.org>", "{{company}}", "=2E"), 202, "", "=2E"},
		{`a lone CR, dot, CRLF in a contact's field`, personal("company", "a\r.\r\nb", "{{company}}", "=2E"), 202, "", "=2E"},
		{`a NUL in a contact's field that stands in the body`, personal("company", "a\x00b", "{{company}}", "=00"), 202, "", "a=00b"},
		{`64 KB of a contact's field 1,000 times: beyond what fields may fill in`,
			mails(body{"note": strings.Repeat("x", 60000)}, body{"body": strings.Repeat("{{note}}", 1000)}, line("Subject:")), 202, "", "then failed: letter: the contact's note makes what its fields fill in longer"},
		{`60 KB of a contact's field in the subject`, mails(body{"note": strings.Repeat("x", 60000)}, body{"subject": "{{note}}"}, line("Subject:")), 202, "", "then failed: letter: the subject is longer than 2000 octets"},
	}
}

func bodyRows() []hostile {
	html := func(text, shown string) func(*target) outcome { return mails(nil, body{"body": text}, line(shown)) }
	return []hostile{
		{`CRLF, a dot, CRLF`, html("a\r\n.\r\nb", "=2E"), 202, "", "=2E"},
		{`LF, a dot, LF (CVE-2023-51764)`, html("a\n.\nb", "=2E"), 202, "", "=2E"},
		{`\r.\r\n`, html("a\r.\r\nb", "=2E"), 202, "", "=2E"},
		{`\n.\r\n`, html("a\n.\r\nb", "=2E"), 202, "", "=2E"},
		{`\r\n.\r`, html("a\r\n.\rb", "=2E"), 202, "", "=2E"},
		{`a NUL`, html("a\x00b", "a=00b"), 202, "", "a=00b"},
		{`a line of 100,000 octets`, html(strings.Repeat("x", 100000), strings.Repeat("x", 75)+"="), 202, "", "x="},
		{`lines that start with dots`, html(strings.Repeat(".\r\n", 3), "=2E"), 202, "", "=2E"},
		{`text that looks like a boundary of MIME`, html("--=_0_1\r\nContent-Type: text/html\r\n\r\nx", "--=3D"), 202, "", "--=3D"},
		{`text that is not ASCII`, html("naïve", "na=C3=AFve"), 202, "", "na=C3=AFve"},
		{`From at the start of a line (mbox)`, html("From here", "From here"), 202, "", "From here"},
		{`HTML of 200,000 open tags`, html(strings.Repeat("<a>", 200000), "<a>"), 202, "", "<a>"},
		{`HTML of 100,000 nested lists`, html(strings.Repeat("<ul><li>", 100000), "<ul>"), 202, "", "<ul>"},
	}
}

func attachmentRows() []hostile {
	file := func(name, contentType, content string) body {
		return body{"attachments": []body{{"filename": name, "content_type": contentType, "content": content}}}
	}
	refused := func(name, contentType, content string) func(*target) outcome {
		return submits(file(name, contentType, content))
	}
	sent := func(name, contentType, shown string) func(*target) outcome {
		return mails(nil, file(name, contentType, "aGk="), line(shown))
	}
	const name, media, data = "attachments[0].filename", "attachments[0].content_type", "attachments[0].content"
	return []hostile{
		{`a file name with CRLF`, refused("a\r\nBcc: x.pdf", "application/pdf", "aGk="), 400, name, "control character"},
		{`a file name with a NUL: invoice.pdf\0.exe`, refused("invoice.pdf\x00.exe", "", "aGk="), 400, name, "control character"},
		{`a file name with a tab`, refused("a\tb.pdf", "", "aGk="), 400, name, "tab"},
		{`a file name of 256 octets`, refused(strings.Repeat("n", 256), "", "aGk="), 400, name, "at most 255 octets"},
		{`a file name that some readers decode to a path: =?UTF-8?Q?..=2Fevil?=`, refused("=?UTF-8?Q?..=2Fevil?=", "", "aGk="), 400, name, "begins an encoded word"},
		{`a file name that is ..`, refused("../..", "", "aGk="), 400, name, "must be a file name"},
		{`no file name`, refused("", "", "aGk="), 400, name, "must be a file name"},
		{`../../etc/passwd`, sent("../../etc/passwd", "", "filename="), 202, "", "filename=\"passwd\""},
		{`C:\Windows\System32\calc.exe`, sent(`C:\Windows\System32\calc.exe`, "application/octet-stream", "filename="), 202, "", `filename="calc.exe"`},
		{`a file name with quotes: a"; filename="b.exe`, sent(`a"; filename="b.exe`, "text/plain", "filename="), 202, "", `filename="a\"; filename=\"b.exe"`},
		{`a file name that is not ASCII`, sent("Übersicht.txt", "text/plain", "filename*"), 202, "", "filename*=UTF-8''%C3%9Cbersicht.txt"},
		{`a file name with a right-to-left override: gpj.exe`, refused("photo\u202egpj.exe", "image/jpeg", "aGk="), 400, name, "control character U+202E"},
		{`a file name with a right-to-left mark`, refused("\u200fexe.\u200fjpg", "image/jpeg", "aGk="), 400, name, "invisible mark U+200F"},
		{`a content type with CRLF`, refused("a.pdf", "application/pdf\r\nBcc: x", "aGk="), 400, media, "control character"},
		{`a content type that is none`, refused("a.pdf", "nonsense", "aGk="), 400, media, "must be a media type"},
		{`a content type of 256 octets`, refused("a.pdf", "a/"+strings.Repeat("b", 254), "aGk="), 400, media, "at most 255 octets"},
		{`a content type with a parameter that is there twice`, refused("a.pdf", "text/plain; a=b; a=c", "aGk="), 400, media, "must be a media type"},
		{`a content type with a boundary: multipart/mixed; boundary=x`, sent("a.txt", "multipart/mixed; boundary=x", "name="), 202, "", "name="},
		{`a boundary where there are no parts: application/pdf; boundary=x`, sent("a.pdf", "application/pdf; boundary=x", "Content-Type: application/pdf"), 202, "", "Content-Type: application/pdf; ⏎ name="},
		{`message/rfc822, which some scanners do not open`, sent("a.eml", "message/rfc822", "name="), 202, "", "name="},
		{`a content type with a name of its own`, sent("a.txt", `text/plain; name="b.exe"`, " name="), 202, "", "a.txt"},
		{`base64 that is none`, refused("a.pdf", "", "%%%"), 400, data, "must be base64"},
		{`base64 that ends in the middle`, refused("a.pdf", "", "aGk"), 400, data, "must be base64"},
		{`no content`, submits(body{"attachments": []body{{"filename": "a"}}}), 400, data, "is required"},
		{`101 attachments`, submits(body{"attachments": list2(101, body{"filename": "a", "content": "aGk="})}), 400, "attachments", "at most 100"},
		{`attachments one octet beyond MAX_ATTACHMENT_BYTES together`, refused("a.bin", "", strings.Repeat("AAAA", 349525)+"AAA="), 413, "", "at most 1048576 are allowed"},
	}
}

func list2(n int, b body) []body {
	all := make([]body, n)
	for i := range all {
		all[i] = b
	}
	return all
}
