package app_test

import (
	"bytes"
	"crypto/tls"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// relayTarget is a service that may use relays on this machine, of which there
// is one for each row of relayRows.
func relayTarget(t *testing.T) *target {
	t.Helper()
	friendly := startRelay(t, smtptest.Config{TLS: smtptest.StartTLS})
	env := relayEnv(t, friendly)
	maps.Copy(env, map[string]string{
		"SMTP_USERNAME": "", "SMTP_PASSWORD": "", "RELAY_TIMEOUT": "5s", "RETRY_MIN": "1h", "RETRY_MAX": "1h",
	})
	trusted := newCertificate(t, smtptest.CertificateOptions{})
	foreign := newCertificate(t, smtptest.CertificateOptions{Hosts: []string{"other.test"}})
	expired := newCertificate(t, smtptest.CertificateOptions{NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(-1, 0, 0)})
	ca := filepath.Join(t.TempDir(), "all.pem")
	if err := os.WriteFile(ca, bytes.Join([][]byte{friendly.CertificatePEM(), trusted.PEM(), foreign.PEM(), expired.PEM()}, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	env["RELAY_CA_FILE"] = ca
	relays := map[string]*smtptest.Server{}
	for _, h := range hostileRelays() {
		switch cfg := &h.relay; {
		case cfg.TLS == smtptest.NoTLS || h.input == "a certificate of an authority that nobody trusts":
		case strings.Contains(h.input, "another name"):
			cfg.Certificate = foreign
		case strings.Contains(h.input, "expired"):
			cfg.Certificate = expired
		default:
			cfg.Certificate = trusted
		}
		relays[h.input] = startRelay(t, h.relay)
		env["RELAY_PORTS"] += "," + strconv.Itoa(relays[h.input].Port())
	}
	tg := newTarget(t, friendly, embedded(t), env)
	tg.relays = relays
	return tg
}

func newCertificate(t *testing.T, o smtptest.CertificateOptions) *smtptest.Certificate {
	t.Helper()
	c, err := smtptest.NewCertificate(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// hostileRelay is a relay that means no good, or is broken.
type hostileRelay struct {
	input string
	relay smtptest.Config
	// secure: the campaign asks for TLS and has a password.
	secure  bool
	contact body   // who is mailed; nil for a new one
	members body   // of the campaign
	says    string // what must become of it
	// unsaid are commands that the relay must never have got.
	unsaid []string
}

// relayRows are a campaign over each of hostileRelays.
func relayRows() []hostile {
	relays := hostileRelays()
	rows := make([]hostile, 0, len(relays)+1)
	for _, h := range relays {
		rows = append(rows, hostile{input: h.input, send: h.send, status: 202, says: h.says})
	}
	repeats := slices.IndexFunc(relays, func(h hostileRelay) bool { return strings.Contains(h.input, "repeats the command") })
	return append(rows, hostile{
		input: "the same one, asked by POST /relays/check", status: 200, says: "auth",
		send: func(tg *target) outcome {
			relay := tg.relays[relays[repeats].input]
			return checks(body{"smtp_server": relay.Host(), "smtp_port": relay.Port(), "smtp_username": "u", "smtp_password": canary})(tg)
		},
	})
}

func (h hostileRelay) send(tg *target) outcome {
	tg.t.Helper()
	relay := tg.relays[h.input]
	members := body{"smtp_server": relay.Host(), "smtp_port": relay.Port(), "smtp_use_tls": h.secure}
	if h.secure {
		members["smtp_username"], members["smtp_password"] = "u", canary
	}
	maps.Copy(members, h.members)
	on := *tg
	on.relay = relay
	o := mails(h.contact, members, func(string) string { return "sent" })(&on)
	for _, verb := range h.unsaid {
		if n := relay.Stats().Commands[verb]; n != 0 {
			tg.t.Errorf("%s: %d %s", h.input, n, verb)
		}
	}
	return o
}

func hostileRelays() []hostileRelay {
	users := map[string]string{"u": canary}
	at := func(stage smtptest.Stage, lines ...string) smtptest.Config {
		return smtptest.Config{Hook: smtptest.At(stage, smtptest.Reply(lines...))}
	}
	does := func(stage smtptest.Stage, a smtptest.Action) smtptest.Config {
		return smtptest.Config{Hook: smtptest.At(stage, a)}
	}
	secure := func(cfg smtptest.Config) smtptest.Config {
		cfg.TLS, cfg.Users = smtptest.StartTLS, users
		return cfg
	}
	return []hostileRelay{
		{
			input: `TLS is asked for, and it offers no STARTTLS (perhaps somebody in between took it out)`,
			relay: smtptest.Config{Users: users, ClearAuth: true}, secure: true, says: "does not offer STARTTLS", unsaid: []string{"AUTH", "MAIL"},
		}, {
			input: `it refuses STARTTLS`, relay: secure(at(smtptest.StageStartTLS, "502 5.5.1 no")), secure: true,
			says: "502 5.5.1 no", unsaid: []string{"AUTH", "MAIL"},
		}, {
			input: `plain text behind the 220 of STARTTLS`,
			relay: secure(does(smtptest.StageStartTLS, smtptest.Action{}.Inject("250 relay.test\r\n"))), secure: true,
			says: "sent plain text behind its answer to STARTTLS", unsaid: []string{"AUTH", "MAIL"},
		}, {
			input: `a certificate of an authority that nobody trusts`, relay: secure(smtptest.Config{}), secure: true,
			says: "certificate", unsaid: []string{"AUTH", "MAIL"},
		}, {
			input: `a certificate for another name`, relay: secure(smtptest.Config{}), secure: true,
			says: "certificate", unsaid: []string{"AUTH", "MAIL"},
		}, {
			input: `an expired certificate`, relay: secure(smtptest.Config{}), secure: true,
			says: "certificate", unsaid: []string{"AUTH", "MAIL"},
		}, {
			input: `TLS 1.1 at most`, secure: true,
			relay: secure(smtptest.Config{TLSConfig: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }}),
			says:  "protocol version", unsaid: []string{"AUTH", "MAIL"},
		}, {
			input: `it refuses the credentials and repeats the command with the password`,
			relay: secure(smtptest.Config{Hook: func(e smtptest.Event) smtptest.Action {
				if e.Stage != smtptest.StageAuth {
					return smtptest.Action{}
				}
				return smtptest.Reply("535 5.7.8 not understood: " + e.Command)
			}}), secure: true, says: "then paused", unsaid: []string{"MAIL"},
		}, {
			input: `it repeats the password in its answer to RCPT`, relay: secure(at(smtptest.StageRcpt, "550 5.1.1 "+canary)), secure: true,
			says: "then failed: rcpt: 550 5.1.1",
		}, {
			input: `a greeting that is a line without an end`, relay: does(smtptest.StageGreeting, smtptest.EndlessLine()), says: "longer than", unsaid: []string{"MAIL"},
		}, {
			input: `an answer to EHLO of lines without an end`, relay: does(smtptest.StageHello, smtptest.EndlessReply()), says: "longer than", unsaid: []string{"MAIL"},
		}, {
			input: `an answer to MAIL that is HTTP`, relay: does(smtptest.StageMail, smtptest.Raw("HTTP/1.1 200 OK\r\n\r\n")), says: "malformed",
		}, {
			input: `an answer whose code changes from line to line`, relay: does(smtptest.StageMail, smtptest.Raw("250-ok\r\n550 no\r\n")), says: "changes its code",
		}, {
			input: `no answer at all to MAIL`, relay: does(smtptest.StageMail, smtptest.Hang()), says: "then in_progress",
		}, {
			input: `more answers than questions`, relay: does(smtptest.StageMail, smtptest.Raw("250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n")),
			says: "then in_progress",
		}, {
			input: `SIZE smaller than the letter: nothing is sent`, relay: smtptest.Config{MaxSize: 300}, says: "before anything personal", unsaid: []string{"MAIL"},
		}, {
			input: `SIZE 99999999999999999999 and SIZE=x`, relay: smtptest.Config{Extensions: []string{"SIZE 99999999999999999999", "SIZE=x", "PIPELINING"}}, says: "sent",
		}, {
			input: `EHLO with 120 unknown keywords of 1,000 octets`,
			relay: smtptest.Config{Extensions: list(120, func(i int) string { return "X" + strconv.Itoa(i) + " " + strings.Repeat("x", 1000) })}, says: "sent",
		}, {
			input: `no EHLO, only HELO`, relay: smtptest.Config{NoEHLO: true}, says: "sent",
		}, {
			input: `no 8BITMIME, and text that is not ASCII`, relay: smtptest.Config{Extensions: []string{"PIPELINING"}},
			members: body{"subject": "Grüße", "body": "<p>Grüße</p>"}, says: "sent",
		}, {
			input: `no SMTPUTF8, and a sender that needs it`, relay: smtptest.Config{Extensions: []string{"PIPELINING"}},
			members: body{"from_email": "jürgen@example.org"}, says: "SMTPUTF8", unsaid: []string{"MAIL"},
		}, {
			input: `no SMTPUTF8, and a recipient who needs it`, relay: smtptest.Config{Extensions: []string{"PIPELINING"}},
			contact: body{"email": "zoë@example.org"}, says: "SMTPUTF8", unsaid: []string{"DATA"},
		}, {
			input: `an answer to RCPT with control characters, an escape sequence and what is no UTF-8`,
			relay: does(smtptest.StageRcpt, smtptest.Raw("550 5.1.1 a\x1b[2J\x00\x07b\xff\r\n")), says: "then failed: rcpt: 550 5.1.1 a\ufffd",
		}, {
			input: `an answer to RCPT with <script>`, relay: at(smtptest.StageRcpt, "550 5.1.1 <script>alert(1)</script>"), says: "<script>",
		}, {
			input: `an answer to RCPT of 2,000 octets`, relay: at(smtptest.StageRcpt, "550 5.1.1 "+strings.Repeat("long ", 398)), says: "then failed: rcpt: 550 5.1.1 long",
		}, {
			input: `it closes behind the final dot, and the campaign is at_most_once`, relay: does(smtptest.StageDot, smtptest.Close()),
			members: body{"delivery": "at_most_once"}, says: "then unknown",
		}, {
			input: `it refuses the sender, as every message has it`, relay: at(smtptest.StageMail, "550 5.7.1 sender refused"), says: "then failed",
		},
	}
}

// policyTarget is a service that limits who may be sent to, as whom and how
// many of one campaign.
func policyTarget(t *testing.T) *target {
	t.Helper()
	return limitedTarget(t, "MAX_RECIPIENTS", "3")
}

// dayTarget is one that limits besides how many a day.
func dayTarget(t *testing.T) *target {
	t.Helper()
	return limitedTarget(t, "DAILY_RECIPIENTS", "2")
}

func limitedTarget(t *testing.T, name, limit string) *target {
	t.Helper()
	relay := startRelay(t, smtptest.Config{TLS: smtptest.StartTLS})
	env := relayEnv(t, relay)
	maps.Copy(env, map[string]string{
		"SMTP_USERNAME": "", "SMTP_PASSWORD": "", "RECIPIENT_DOMAINS": "example.org", "SENDERS": "@example.org,press@agency.test",
		name: limit,
	})
	tg := newTarget(t, relay, embedded(t), env)
	var crowd []client.Contact
	for i := range 4 {
		tags := []string{"four"}
		if i < 3 {
			tags = append(tags, "three")
		}
		crowd = append(crowd, client.Contact{"email": "crowd" + strconv.Itoa(i) + "@example.org", "tags": tags})
	}
	crowd = append(crowd, client.Contact{"email": "crowd@elsewhere.test", "tags": []string{"foreign"}})
	tg.service.importContacts(t, crowd)
	return tg
}

func policyRows() []hostile {
	return []hostile{
		{`a sender outside SENDERS`, submits(body{"from_email": "boss@agency.test"}), 400, "from_email", "must be one of SENDERS"},
		{`a sender in a domain below one of SENDERS`, submits(body{"from_email": "a@sub.example.org"}), 400, "from_email", "must be one of SENDERS"},
		{`a sender with the Kelvin sign for a K`, submits(body{"from_email": "a@example.org.\u212a.test"}), 400, "from_email", "must be one of SENDERS"},
		{`a reply_to outside SENDERS`, submits(body{"from_email": "a@example.org", "reply_to": "boss@elsewhere.test"}), 400, "reply_to", "must be one of SENDERS"},
		{`a recipient outside RECIPIENT_DOMAINS`, submits(body{"recipients": []string{"ada@example.org", "x@elsewhere.test"}}), 400, "recipients[1]", "must be in a domain of RECIPIENT_DOMAINS"},
		{`a recipient in a domain that ends like an allowed one`, submits(body{"recipients": []string{"x@badexample.org"}}), 400, "recipients[0]", "RECIPIENT_DOMAINS"},
		{`a recipient in a domain below an allowed one`, submits(body{"recipients": []string{"x@sub.example.org"}}), 400, "recipients[0]", "RECIPIENT_DOMAINS"},
		{`a contact outside RECIPIENT_DOMAINS, chosen by a tag`, tagged("foreign", "crowd@elsewhere.test"), 202, "", "then suppressed: the domain is not among RECIPIENT_DOMAINS"},
		{`more recipients by tag than MAX_RECIPIENTS`, tagged("four", "crowd0@example.org"), 202, "", "then failed: it has more than 3 recipients"},
		{`more recipients by name than MAX_RECIPIENTS`, submits(body{"recipients": list(4, func(i int) string { return "crowd" + strconv.Itoa(i) + "@example.org" })}), 400, "recipients", "at most 3 (MAX_RECIPIENTS)"},
		{`POST /relays/check about a sender outside SENDERS`, checks(body{"mail_from": "boss@agency.test"}), 400, "mail_from", "must be one of SENDERS"},
		{`POST /relays/check about a recipient outside RECIPIENT_DOMAINS`, checks(body{"mail_from": "a@example.org", "rcpt_to": "x@elsewhere.test"}), 400, "rcpt_to", "must be in a domain of RECIPIENT_DOMAINS"},
	}
}

func dayRows() []hostile {
	return []hostile{
		{`more recipients than DAILY_RECIPIENTS leaves`, tagged("three", "crowd0@example.org"), 202, "", "then paused: DAILY_RECIPIENTS leaves 2 recipients of 2"},
	}
}

// tagged submits a campaign to the contacts of a tag, and gives what became of
// the one with the address.
func tagged(tag, address string) func(*target) outcome {
	return func(tg *target) outcome {
		tg.t.Helper()
		return tg.follow(encode(tg.t, campaignWith(body{"recipients": nil, "tags": []string{tag}})), address, line("To:"))
	}
}
