package app_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"postern/internal/mailer/smtptest"
)

// placeTarget is a service with the relay rules as they are unless the
// configuration says otherwise.
func placeTarget(t *testing.T) *target {
	t.Helper()
	return newTarget(t, startRelay(t, smtptest.Config{}), embedded(t), map[string]string{"RETRY_MIN": "1h", "RETRY_MAX": "1h"})
}

// at hands in a campaign for a relay.
func at(host string, port any) func(*target) outcome {
	return mails(nil, body{"smtp_server": host, "smtp_port": port, "smtp_username": "u", "smtp_password": canary}, line("Subject:"))
}

func placeRows() []hostile {
	const server = "smtp_server"
	never := "can never be allowed"
	rows := []hostile{
		{`localhost`, at("localhost", 587), 400, server, "RELAY_ALLOW"},
		{`127.1, a short form of 127.0.0.1`, at("127.1", 587), 400, server, "neither a host name nor an IP address"},
		{`2852039166, which is 169.254.169.254 as one number`, at("2852039166", 587), 400, server, "neither a host name nor an IP address"},
		{`0xA9FEA9FE, the same in hexadecimal`, at("0xA9FEA9FE", 587), 400, server, "neither a host name nor an IP address"},
		{`0251.0376.0251.0376, the same in octal`, at("0251.0376.0251.0376", 587), 400, server, "neither a host name nor an IP address"},
		{`[fd00:ec2::254], in brackets`, at("[fd00:ec2::254]", 587), 400, server, "must not have '['"},
		{`fe80::1%eth0, with a zone`, at("fe80::1%eth0", 587), 400, server, "zone"},
		{`a zone of a megabyte, with CRLF`, at("fe80::1%\r\n"+strings.Repeat("z", 1<<20), 587), 400, server, "relay address fe80::1 has a zone"},
		{`a name of a megabyte`, at(strings.Repeat("a.", 1<<19)+"test", 587), 400, server, "1 to 253 octets"},
		{`a name of 300 octets`, at(strings.Repeat("a.", 150)+"test", 587), 400, server, "1 to 253 octets"},
		{`CRLF and a command in the name`, at("relay.test\r\nRSET", 587), 400, server, "must not have"},
		{`user@host`, at("u@relay.test", 587), 400, server, "must not have '@'"},
		{`a URL`, at("http://relay.test", 587), 400, server, "must not have"},
		{`host:port`, at("relay.test:25", 587), 400, server, "must not have ':'"},
		{`a name in Cyrillic letters that look Latin`, at("r\u0435lay.test", 587), 400, server, "xn-- form"},
		{`no relay, where the service has no default one`, submits(nil), 400, server, "is required"},
		{`port 25`, at("relay.test", 25), 400, "smtp_port", "RELAY_PORTS"},
		{`port 22, to talk to another service`, at("relay.test", 22), 400, "smtp_port", "RELAY_PORTS"},
		{`port 65536`, at("relay.test", 65536), 400, "smtp_port", "1 to 65535"},
		{`port -1`, at("relay.test", "-1"), 400, "smtp_port", "1 to 65535"},
		{`port "587; rm"`, at("relay.test", "587; rm"), 400, "smtp_port", "whole number"},
		{`a name that leads to 169.254.169.254 (rebinding: what counts is the address of the dial)`, at("metadata.attacker.test", 587), 202, "", never},
		{`a name that leads to 127.0.0.1`, at("loopback.attacker.test", 587), 202, "", "RELAY_ALLOW can allow it"},
		{`a name that leads to ::ffff:169.254.170.2`, at("mapped.attacker.test", 587), 202, "", never},
		{`a name that leads to fd00:ec2::254`, at("v6.attacker.test", 587), 202, "", never},
		{`a name that leads to 10.0.0.1`, at("private.attacker.test", 587), 202, "", "RELAY_ALLOW can allow it"},
		{`a user name with CRLF`, submits(body{"smtp_server": "relay.test", "smtp_username": "a\r\nb", "smtp_password": canary}), 400, "smtp_username", "without control characters"},
		{`a password with a NUL`, submits(body{"smtp_server": "relay.test", "smtp_username": "a", "smtp_password": canary + "\x00"}), 400, "smtp_password", "without control characters"},
		{`a password without a user name`, submits(body{"smtp_server": "relay.test", "smtp_password": canary}), 400, "smtp_username", "is required"},
	}
	rows = append(rows, checkRows()...)
	for _, address := range []string{
		"169.254.169.254", "169.254.170.2", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
		"100.100.100.200", "168.63.129.16", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255",
	} {
		rows = append(rows, hostile{address, at(address, 587), 400, server, never})
	}
	for _, address := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "fc00::1"} {
		rows = append(rows, hostile{address, at(address, 587), 400, server, "RELAY_ALLOW can allow it"})
	}
	return rows
}

// checkRows ask POST /relays/check about relays.
func checkRows() []hostile {
	const name, literal, never = "metadata.attacker.test", "169.254.169.254", "can never be allowed"
	return []hostile{
		{`POST /relays/check of 169.254.169.254`, checks(body{"smtp_server": literal}), 400, "smtp_server", never},
		{`POST /relays/check of a name that leads there`, checks(body{"smtp_server": name}), 200, "", never},
		{`POST /relays/check of port 22`, checks(body{"smtp_server": name, "smtp_port": 22}), 400, "smtp_port", "RELAY_PORTS"},
		{`POST /relays/check with CRLF in mail_from`, checks(body{"smtp_server": name, "mail_from": "a@example.org\r\nDATA"}), 400, "mail_from", "must not have"},
		{`POST /relays/check with a parameter in rcpt_to`,
			checks(body{"smtp_server": name, "mail_from": "a@example.org", "rcpt_to": "a> NOTIFY=NEVER@example.org"}), 400, "rcpt_to", "must not have"},
	}
}

// checks asks about a relay and gives the first step that failed.
func checks(members body) func(*target) outcome {
	return func(tg *target) outcome {
		tg.t.Helper()
		content := encode(tg.t, members)
		var check struct {
			Steps []struct {
				Name, State, Detail string
			} `json:"steps"`
		}
		o := tg.send(http.MethodPost, "/relays/check", content)
		if o.status != http.StatusOK {
			return o
		}
		if err := tg.service.Call(tg.t.Context(), http.MethodPost, "relays/check", members, &check); err != nil {
			tg.t.Fatal(err)
		}
		for _, step := range check.Steps {
			if step.State == "failed" {
				o.text = tg.tidy(step.Name + ": " + step.Detail)
				return o
			}
		}
		return o
	}
}

// hostileNames resolves the names of attacker.test to addresses that no relay
// may have, and knows no other.
func hostileNames() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answerNames(theirs)
		return ours, nil
	}}
}

var hostileAddresses = map[string]string{
	"metadata.attacker.test.": "169.254.169.254", "loopback.attacker.test.": "127.0.0.1",
	"mapped.attacker.test.": "::ffff:169.254.170.2", "v6.attacker.test.": "fd00:ec2::254", "private.attacker.test.": "10.0.0.1",
}

// answerNames answers questions as DNS over TCP does (RFC 1035 section 4.2.2).
func answerNames(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	for {
		buf := make([]byte, 2+65535)
		n, err := conn.Read(buf)
		if err != nil || n < 2 {
			return
		}
		answer, err := resolve(buf[2:n])
		if err != nil {
			return
		}
		if _, err := conn.Write(append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...)); err != nil {
			return
		}
	}
}

func resolve(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	q := m.Questions[0]
	address, known := hostileAddresses[q.Name.String()]
	if !known {
		m.RCode = dnsmessage.RCodeNameError
		return m.Pack()
	}
	ip := net.ParseIP(address)
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
	switch {
	case q.Type == dnsmessage.TypeA && !strings.Contains(address, ":"):
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: [4]byte(ip.To4())}})
	case q.Type == dnsmessage.TypeAAAA && strings.Contains(address, ":"):
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: [16]byte(ip.To16())}})
	}
	return m.Pack()
}
