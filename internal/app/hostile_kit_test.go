package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// canary stands for every secret that hostile inputs bring along. It must come
// back in no answer and stand in no log.
const canary = "canary-5ecret"

// target is a service that hostile inputs are sent to, in the course of a
// test.
type target struct {
	t       *testing.T
	service *service
	relay   *smtptest.Server
	relays  map[string]*smtptest.Server // besides, by name
	tokens  map[string]string           // good ones, by name
	last    *atomic.Int64               // number of the last contact made
}

// body is a JSON object.
type body map[string]any

// newTarget is a service that knows Ada.
func newTarget(t *testing.T, relay *smtptest.Server, envs ...map[string]string) *target {
	t.Helper()
	tg := emptyTarget(t, relay, envs...)
	tg.service.importContacts(t, []client.Contact{{"email": "ada@example.org", "first_name": "Ada"}})
	return tg
}

// emptyTarget is a service without contacts.
func emptyTarget(t *testing.T, relay *smtptest.Server, envs ...map[string]string) *target {
	t.Helper()
	tg := &target{t: t, service: start(t, envs...), relay: relay, last: &atomic.Int64{}}
	t.Cleanup(func() {
		if v := relay.Violations(); v.Total() != 0 {
			t.Errorf("the relay saw what no client may do: %+v", v)
		}
		for _, secret := range append(slices.Collect(maps.Values(tg.tokens)), canary) {
			if strings.Contains(tg.service.log.String(), secret) {
				t.Error("a secret stands in the log")
			}
		}
	})
	return tg
}

// plainTarget is a service with a friendly relay and small limits.
func plainTarget(t *testing.T) *target {
	t.Helper()
	relay := startRelay(t, smtptest.Config{TLS: smtptest.StartTLS})
	env := relayEnv(t, relay)
	maps.Copy(env, map[string]string{
		"SMTP_USERNAME": "", "SMTP_PASSWORD": "",
		"MAX_REQUEST_BYTES": "4194304", "MAX_INFLIGHT_BYTES": "268435456", "MAX_ATTACHMENT_BYTES": "1048576",
	})
	return newTarget(t, relay, embedded(t), env)
}

// send sends a request with the header lines given, and reads the answer.
func (tg *target) send(method, path, content string, header ...string) outcome {
	tg.t.Helper()
	req, err := http.NewRequestWithContext(tg.t.Context(), method, tg.service.Base+path, strings.NewReader(content))
	if err != nil {
		tg.t.Fatal(err)
	}
	if content != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header[header[i]] = append(req.Header[header[i]], header[i+1])
	}
	resp, err := tg.service.HTTP.Do(req)
	if err != nil {
		tg.t.Fatal(err)
	}
	return tg.read(resp)
}

// read makes the outcome of an answer.
func (tg *target) read(resp *http.Response) outcome {
	tg.t.Helper()
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		tg.t.Fatal(err)
	}
	for _, secret := range append(slices.Collect(maps.Values(tg.tokens)), canary) {
		if bytes.Contains(answer, []byte(secret)) {
			tg.t.Errorf("the answer tells a secret: %s", answer)
		}
	}
	return tg.outcomeOf(resp.StatusCode, answer)
}

func (tg *target) outcomeOf(status int, answer []byte) outcome {
	var problem struct {
		Detail string `json:"detail"`
		Errors []struct {
			Field   string `json:"field"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	_ = json.Unmarshal(answer, &problem) // what is no JSON has no detail
	o := outcome{status: status, text: problem.Detail}
	var rules []string
	for _, e := range problem.Errors {
		o.fields = append(o.fields, e.Field)
		rules = append(rules, strings.TrimSpace(e.Field+" "+e.Message))
	}
	if len(rules) > 0 {
		o.text = strings.Join(rules[:min(len(rules), 3)], "; ")
	}
	if len(rules) > 3 {
		o.text += "; and more"
	}
	switch {
	case o.text == "" && status/100 == 2:
		o.text = "accepted"
	case o.text == "":
		o.text = strings.TrimSpace(string(answer))
	}
	o.text = tg.tidy(o.text)
	return o
}

// tidy takes out of a text what differs from run to run.
func (tg *target) tidy(text string) string {
	for _, relay := range append(slices.Collect(maps.Values(tg.relays)), tg.relay) {
		text = strings.ReplaceAll(text, ":"+strconv.Itoa(relay.Port()), ":PORT")
	}
	for _, varies := range []string{": current time", " (possibly because"} {
		text, _, _ = strings.Cut(text, varies)
	}
	for _, at := range []time.Time{time.Now(), time.Now().Add(-patience)} { // it may be midnight
		text = strings.ReplaceAll(text, at.UTC().Format(time.DateOnly), "TODAY")
	}
	return text
}

// campaignWith is a campaign to Ada alone, with the members given; nil takes
// one away.
func campaignWith(members body) body {
	c := body{
		"subject": "Hello", "body": "<p>Hello</p>", "from_email": "office@example.org", "recipients": []string{"ada@example.org"},
	}
	for name, value := range members {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

// post sends a JSON body.
func post(path string, members body) func(*target) outcome {
	return func(tg *target) outcome { return tg.send(http.MethodPost, path, encode(tg.t, members)) }
}

// raw sends a body as it stands.
func raw(path, content string) func(*target) outcome {
	return func(tg *target) outcome { return tg.send(http.MethodPost, path, content) }
}

func encode(t *testing.T, v any) string {
	t.Helper()
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// submits hands in a campaign that must be refused.
func submits(members body) func(*target) outcome {
	return post("/smtp-campaign", campaignWith(members))
}

// mails hands in a campaign to a new contact with the fields given, and gives
// what became of it.
func mails(fields, members body, show func(message string) string) func(*target) outcome {
	return func(tg *target) outcome {
		tg.t.Helper()
		address := fmt.Sprintf("h%d@example.org", tg.last.Add(1))
		contact := body{"email": address}
		maps.Copy(contact, fields)
		if given, ok := fields["email"].(string); ok {
			address = given
		}
		if o := tg.send(http.MethodPost, "/contacts", encode(tg.t, contact)); o.status != http.StatusOK {
			return o
		}
		campaign := campaignWith(body{"recipients": []string{address}})
		maps.Copy(campaign, members)
		o := tg.follow(encode(tg.t, campaign), address, show)
		if _, given := fields["email"]; !given {
			o.text = strings.ReplaceAll(o.text, address, "contact@example.org")
		}
		return o
	}
}

// follow hands in a campaign to one address, waits until it rests or stands
// still, and says what became of it.
func (tg *target) follow(campaign, address string, show func(message string) string) outcome {
	tg.t.Helper()
	id, refused := tg.submit(campaign)
	if id == "" {
		return refused
	}
	o := outcome{status: http.StatusAccepted}
	final := tg.rest(id)
	delivered := tg.service.deliveries(tg.t, id)[address]
	switch {
	case delivered.State == "sent":
		o.text = tg.tidy(show(tg.messageTo(address)))
	case final.Status != "completed" && final.Reason+final.Notice != "":
		o.text = tg.tidy(fmt.Sprintf("then %s: %s", final.Status, final.Reason+final.Notice))
	default:
		o.text = tg.tidy(fmt.Sprintf("then %s: %s", delivered.State, delivered.Reply))
	}
	if strings.Contains(o.text, canary) {
		tg.t.Errorf("a secret is in what became of it: %s", o.text)
	}
	return o
}

func (tg *target) submit(campaign string) (id string, refused outcome) {
	tg.t.Helper()
	req, err := http.NewRequestWithContext(tg.t.Context(), http.MethodPost, tg.service.Base+"/smtp-campaign", strings.NewReader(campaign))
	if err != nil {
		tg.t.Fatal(err)
	}
	resp, err := tg.service.HTTP.Do(req)
	if err != nil {
		tg.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusAccepted {
		return "", tg.read(resp)
	}
	defer func() { _ = resp.Body.Close() }()
	var accepted client.Status
	if err := json.NewDecoder(resp.Body).Decode(&accepted); err != nil {
		tg.t.Fatal(err)
	}
	return accepted.ID, outcome{}
}

// lasting is for how long a notice must be there. A shorter one may be of a
// moment in which the relay has let a connection down and the result of that is
// not recorded yet.
const lasting = time.Second

// rest waits until a campaign rests or has a notice that lasts.
func (tg *target) rest(id string) client.Status {
	tg.t.Helper()
	ctx, cancel := context.WithTimeout(tg.t.Context(), patience)
	defer cancel()
	var noticed time.Time
	for {
		s, err := tg.service.Status(ctx, id)
		if err != nil {
			tg.t.Fatal(err)
		}
		if s.Notice != "" && noticed.IsZero() {
			noticed = time.Now()
		}
		if s.Rests() || s.Notice != "" && time.Since(noticed) >= lasting {
			return s
		}
		select {
		case <-ctx.Done():
			tg.t.Fatalf("the campaign neither rests nor says why: %+v", s)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// messageTo gives the one message that the relay has taken for an address,
// which must be sound.
func (tg *target) messageTo(address string) string {
	tg.t.Helper()
	all := tg.relay.Messages()
	local, _, _ := strings.Cut(address, "@") // the domain may be another one on the wire
	first := slices.IndexFunc(all, func(m smtptest.Message) bool { return strings.HasPrefix(m.To[0], local+"@") })
	if first < 0 {
		tg.t.Fatalf("the relay has no message for %s", address)
	}
	message := string(all[first].Data)
	header, _, _ := strings.Cut(message, "\r\n\r\n")
	var names []string
	for line := range strings.SplitSeq(header, "\r\n") {
		if name, _, found := strings.Cut(line, ":"); found && !strings.HasPrefix(line, " ") {
			names = append(names, name)
		}
	}
	if got := strings.ReplaceAll(strings.Join(names, " "), "From Reply-To", "From"); got != "Date From To Subject Message-ID MIME-Version Content-Type" {
		tg.t.Errorf("the message for %s has the header fields %s", address, got)
	}
	return message
}

// whole is line for a text in the body, whose soft line breaks are taken out.
func whole(text string) func(string) string {
	return func(message string) string {
		_, parts, _ := strings.Cut(message, "\r\n\r\n")
		return line(text)("\r\n" + strings.ReplaceAll(parts, "=\r\n", ""))
	}
}

// line shows the first line of a message that has the text, with the lines
// that are folded from it.
func line(text string) func(string) string {
	return func(message string) string {
		start := strings.Index(message, text)
		if start < 0 {
			return "no " + text + " on the wire"
		}
		start = strings.LastIndex(message[:start], "\r\n") + 2
		shown, rest, _ := strings.Cut(message[start:], "\r\n")
		for strings.HasPrefix(rest, " ") {
			var more string
			more, rest, _ = strings.Cut(rest, "\r\n")
			shown += " ⏎" + more
		}
		if len(shown) > 300 {
			shown = shown[:150] + " ... " + shown[len(shown)-50:]
		}
		return "on the wire: " + shown
	}
}

// overWire writes octets to the service and reads what it answers until it
// closes the connection or has answered once.
func overWire(request string) func(*target) outcome {
	return func(tg *target) outcome {
		tg.t.Helper()
		base, err := url.Parse(tg.service.Base)
		if err != nil {
			tg.t.Fatal(err)
		}
		conn, err := net.DialTimeout("tcp", base.Host, patience)
		if err != nil {
			tg.t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write([]byte(strings.ReplaceAll(request, "HOST", base.Host))); err != nil {
			tg.t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			tg.t.Fatal(err)
		}
		return tg.answers(answer)
	}
}

// octetByOctet begins a request over the wire, goes on with an octet a second,
// and gives what the service answers when it has enough.
func octetByOctet(request string) func(*target) outcome {
	return func(tg *target) outcome {
		tg.t.Helper()
		base, err := url.Parse(tg.service.Base)
		if err != nil {
			tg.t.Fatal(err)
		}
		conn, err := net.DialTimeout("tcp", base.Host, patience)
		if err != nil {
			tg.t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte(strings.ReplaceAll(request, "HOST", base.Host))); err != nil {
			tg.t.Fatal(err)
		}
		var came []byte
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			piece := make([]byte, 4096)
			n, err := conn.Read(piece)
			came = append(came, piece[:n]...)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return tg.answers(came)
			}
			if len(came) == 0 {
				_, _ = conn.Write([]byte("a")) // the reading finds out that it is closed
			}
		}
		tg.t.Error("the service waits for ever")
		return outcome{}
	}
}

// answers reads what came over a connection: one answer, and none behind it.
func (tg *target) answers(octets []byte) outcome {
	head, content, _ := bytes.Cut(octets, []byte("\r\n\r\n"))
	if bytes.Contains(bytes.ToLower(head), []byte("transfer-encoding: chunked")) {
		content, _ = io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(content)))
	}
	fields := strings.Fields(string(head))
	if len(fields) < 2 {
		return outcome{text: "the connection is closed without an answer"}
	}
	if n := bytes.Count(octets, []byte("HTTP/1.1 ")) + bytes.Count(octets, []byte("HTTP/1.0 ")); n != 1 {
		tg.t.Errorf("%d answers: %s", n, octets)
	}
	status, err := strconv.Atoi(fields[1])
	if err != nil {
		tg.t.Errorf("answered %q", octets)
	}
	return tg.outcomeOf(status, content)
}
