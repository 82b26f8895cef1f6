//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
	"postern/internal/store/dynamo/dynamotest"
)

// TestCanaries runs a server that is given secrets of every kind, has it fail
// in as many ways as are cheap, and then searches for the secrets wherever
// Postern leaves something: log, answers, metrics, profiles, crash dump, files
// and rows.
func TestCanaries(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]map[string]string{
		"embedded": {"STORE": "embedded"},
		"dynamodb": {
			"STORE": "dynamodb", "DYNAMODB_ENDPOINT": dynamotest.Endpoint(t), "AWS_REGION": "us-gov-west-1",
			"TABLE_PREFIX": dynamotest.Prefix(), "CREATE_TABLES": "true",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newAviary(t, store).run(t)
		})
	}
}

// aviary is a server with secrets, and what it has said.
type aviary struct {
	canaries
	process *process
	relay   *smtptest.Server
	dir     string
	said    places
	ids     []string // of campaigns
}

func newAviary(t *testing.T, store map[string]string) *aviary {
	t.Helper()
	a := &aviary{dir: t.TempDir(), said: places{}, canaries: canaries{}}
	// DynamoDB Local is one for all tests, and the names of tables are no secret.
	for i, use := range []string{"default password", "own password", "refused password", "misplaced password", "text", "file", "subject", "reply-to", "file name", "wrong token"} {
		a.canaries[use] = fmt.Sprintf("canary-%d-%d-of-the-%s", i, time.Now().UnixNano(), strings.ReplaceAll(use, " ", "-"))
	}
	a.canaries["key"] = fmt.Sprintf("key-canary-%021d", time.Now().UnixNano()) // 32 octets
	a.relay = startEchoingRelay(t, a.canaries)

	tokens := filepath.Join(t.TempDir(), "tokens")
	code, token, stderr := runToken(t, "-name", "canaries", "-scopes", "admin", "-file", tokens)
	if code != exitOK {
		t.Fatal(stderr)
	}
	a.canaries["token"] = strings.TrimSpace(token)

	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, a.relay.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"DATA_DIR": a.dir, "ENCRYPTION_KEY": base64.StdEncoding.EncodeToString([]byte(a.canaries["key"])),
		"AUTH": "token", "API_TOKENS_FILE": tokens,
		"SMTP_SERVER": a.relay.Host(), "SMTP_PORT": strconv.Itoa(a.relay.Port()), "RELAY_CA_FILE": ca,
		"SMTP_USERNAME": "default", "SMTP_PASSWORD": a.canaries["default password"],
		"RELAY_ALLOW": "127.0.0.1/32", "RELAY_PORTS": strconv.Itoa(a.relay.Port()),
		"RETRY_MIN": "20ms", "RETRY_MAX": "50ms", "RETRY_FOR": "1s",
		"LOG_LEVEL": "trace", "LOG_ADDRESSES": "true", "PROFILING": "true",
	}
	maps.Copy(env, store)
	a.process = startProcess(t, env)
	a.process.Token = a.canaries["token"]
	return a
}

// startEchoingRelay starts a relay that repeats, wherever it is asked for
// something, the AUTH command that it was given.
func startEchoingRelay(t *testing.T, secrets canaries) *smtptest.Server {
	t.Helper()
	var mu sync.Mutex
	lines := map[int]string{}
	line := func(conn int) string {
		mu.Lock()
		defer mu.Unlock()
		return lines[conn]
	}
	relay, err := smtptest.Start(smtptest.Config{
		TLS: smtptest.StartTLS, Mechanisms: []string{"PLAIN"},
		Users: map[string]string{"default": secrets["default password"], "own": secrets["own password"]},
		Hook: func(e smtptest.Event) smtptest.Action {
			switch {
			case e.Stage == smtptest.StageAuth:
				mu.Lock()
				lines[e.Conn] = e.Command
				mu.Unlock()
				_, response, _ := strings.Cut(e.Command, "PLAIN ")
				plain, _ := base64.StdEncoding.DecodeString(response)
				if bytes.Contains(plain, []byte(secrets["refused password"])) {
					return smtptest.Reply("535-5.7.8 unknown: "+e.Command, "535 5.7.8 password "+secrets["refused password"])
				}
			case e.Stage == smtptest.StageMail && strings.Contains(e.Command, "<failing@"):
				return smtptest.Reply("550 5.7.1 no mail from there, " + line(e.Conn))
			case e.Stage == smtptest.StageRcpt && strings.HasPrefix(e.Rcpt(), "gone"):
				return smtptest.Reply("550 5.1.1 not here, " + line(e.Conn))
			case e.Stage == smtptest.StageRcpt && strings.HasPrefix(e.Rcpt(), "later"):
				return smtptest.Reply("451 4.7.1 not now, " + line(e.Conn))
			case e.Stage == smtptest.StageDot:
				return smtptest.Reply("250 2.0.0 queued for " + line(e.Conn))
			}
			return smtptest.Action{}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	return relay
}

func (a *aviary) run(t *testing.T) {
	t.Helper()
	a.campaigns(t)
	a.invalidRequests(t)
	a.commands(t)
	a.readEverything(t)
	a.report(t, "while it runs")
	if n := len(a.relay.Messages()); n == 0 {
		t.Error("the relay has taken nothing: the run proves nothing")
	}
	a.crash(t)
	a.report(t, "after the crash")
}

// report searches all that has been said and stored until now.
func (a *aviary) report(t *testing.T, when string) {
	t.Helper()
	in := maps.Clone(a.said)
	in.add("log", []byte(a.process.log.String()))
	in.addFiles(t, a.dir)
	if endpoint := a.process.env["DYNAMODB_ENDPOINT"]; endpoint != "" {
		in.addTables(t, endpoint, a.process.env["TABLE_PREFIX"])
	}
	octets := 0
	for _, content := range in {
		octets += len(content)
	}
	for _, found := range a.search(in) {
		t.Errorf("%s: %s", when, found)
	}
	t.Logf("%s: %d secrets searched for in %d octets of %d places", when, len(a.canaries), octets, len(in))
}

// campaigns sends with each password, to recipients at whom the relay fails in
// each way, and leaves campaigns in each status.
func (a *aviary) campaigns(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var contacts []client.Contact
	for _, name := range []string{"ada", "ben", "gone", "later"} {
		contacts = append(contacts, client.Contact{"email": name + "@example.org", "first_name": name})
	}
	if err := a.process.Import(ctx, contacts); err != nil {
		t.Fatal(err)
	}
	hour := time.Now().Add(time.Hour)
	for _, c := range []struct {
		from, user, password string
		at                   time.Time
		status               string
	}{
		{"office", "", "", time.Time{}, "completed"},
		{"office", "own", "own password", time.Time{}, "completed"},
		{"office", "own", "refused password", time.Time{}, "paused"},
		{"failing", "own", "own password", time.Time{}, "failed"},
		{"office", "own", "own password", hour, "cancelled"},
		{"office", "own", "own password", hour, "scheduled"},
	} {
		id, err := a.process.Submit(ctx, client.Campaign{
			From: c.from + "@example.org", Subject: a.canaries["subject"] + " {{first_name}}", Body: "<p>" + a.canaries["text"] + "</p>", SendAt: c.at,
			Attachments: []client.Attachment{{Filename: a.canaries["file name"] + ".txt", ContentType: "text/plain", Content: []byte(a.canaries["file"])}},
			Relay:       a.relayWith(c.user, a.canaries[c.password]),
		})
		if err != nil {
			t.Fatal(err)
		}
		a.ids = append(a.ids, id)
		a.bring(ctx, t, id, c.status)
	}
	a.recognisable(t, hour)
	// The password that is refused, once more and with the relay's check.
	if _, err := a.process.Resume(ctx, a.ids[2], a.relayWith("own", a.canaries["refused password"])); err != nil {
		t.Error(err)
	}
	a.bring(ctx, t, a.ids[2], "paused")
	a.call(t, http.MethodPost, "relays/check", fmt.Sprintf(`{"smtp_server":%q,"smtp_port":%d,"smtp_username":"own","smtp_password":%q}`,
		a.relay.Host(), a.relay.Port(), a.canaries["refused password"]))
}

// recognisable hands in what is recognised when it comes again: neither the
// request nor its text may be confirmed by what is stored for that.
func (a *aviary) recognisable(t *testing.T, at time.Time) {
	t.Helper()
	const text = "<p>guess me</p>"
	body := fmt.Sprintf(`{"from_email":"office@example.org","reply_to":"%s@example.org","subject":"s","body":%q,"send_at":%q,`+
		`"smtp_server":%q,"smtp_port":%d,"smtp_username":"own","smtp_password":%q}`,
		a.canaries["reply-to"], text, at.Format(time.RFC3339), a.relay.Host(), a.relay.Port(), a.canaries["own password"])
	for range 2 {
		a.callWith(t, http.MethodPost, "smtp-campaign", body, http.Header{"Idempotency-Key": {"again"}})
	}
	if !bytes.Contains(a.said["answers to POST"], []byte("Idempotent-Replayed: true")) {
		t.Error("the request was not recognised")
	}
	for what, plain := range map[string]string{"text": text, "body": body, "request": "POST /smtp-campaign\n" + body} {
		digest := sha256.Sum256([]byte(plain))
		a.canaries["the digest of a "+what] = string(digest[:])
	}
}

func (a *aviary) relayWith(user, password string) client.Relay {
	if user == "" {
		return client.Relay{}
	}
	return client.Relay{Server: a.relay.Host(), Port: a.relay.Port(), Username: user, Password: password}
}

// bring waits until the campaign has the status, or stops it.
func (a *aviary) bring(ctx context.Context, t *testing.T, id, status string) {
	t.Helper()
	if status == "cancelled" {
		if _, err := a.process.Pause(ctx, id); err != nil {
			t.Error(err)
		}
		if _, err := a.process.Cancel(ctx, id); err != nil {
			t.Error(err)
		}
	}
	if status == "scheduled" {
		return
	}
	if final, err := a.process.Follow(ctx, id, nil); err != nil || final.Status != status {
		t.Errorf("the campaign rests as %+v, %v; want %s", final, err, status)
	}
}

// invalidRequests has a password where none belongs.
func (a *aviary) invalidRequests(t *testing.T) {
	t.Helper()
	secret := a.canaries["misplaced password"]
	const letter = `"from_email":"office@example.org","subject":"s","body":"b"`
	for _, body := range []string{
		`{"smtp_password":"` + secret + `",`,
		`{"smtp_password":"` + secret + `"} rest`,
		`{` + letter + `,"smtp_password":"` + secret + `"}`,
		`{` + letter + `,"smtp_password":["` + secret + `"]}`,
		`{` + letter + `,"smtp_password":"` + secret + `","smtp_password":"twice"}`,
		`{` + letter + `,"smtp_username":"u","smtp_password":"` + secret + `\r\n"}`,
		`{` + letter + `,"smtp_username":"` + secret + `\r\n","smtp_password":"p"}`,
		`{` + letter + `,"smtp_port":"` + secret + `"}`,
		`{` + letter + `,"smtp_use_tls":"` + secret + `"}`,
		`{` + letter + `,"smtp_server":"` + secret + ` is it"}`,
		`{` + letter + `,"smtp_server":"user:` + secret + `@relay.example.org"}`,
		`{` + letter + `,"send_at":"` + secret + `"}`,
		`{` + letter + `,"delivery":"` + secret + `"}`,
		`{` + letter + `,"attachments":[{"filename":"a.txt","content_type":"text/plain","content":"` + secret + `!"}]}`,
		`{` + letter + `,"attachments":[{"filename":"a.txt","content_type":"` + secret + `","content":""}]}`,
		`{` + letter + `,"recipients":["` + secret + `"]}`,
		`{"from_email":"` + secret + `","subject":"s","body":"b"}`,
		`{"from_email":"office@example.org","subject":"s","body":"{{` + secret + ` "}`,
		secret,
	} {
		a.call(t, http.MethodPost, "smtp-campaign", body)
		a.call(t, http.MethodPost, "contacts", body)
		a.call(t, http.MethodPost, "relays/check", body)
		a.call(t, http.MethodPost, "campaigns/"+a.ids[2]+"/resume", body)
	}
	for _, path := range []string{"campaign-status/", "campaigns/", "contacts?cursor=", "contacts?limit=", "campaigns?status=", "campaigns/" + a.ids[0] + "/deliveries?state=", ""} {
		a.call(t, http.MethodGet, path+secret, "")
		a.call(t, http.MethodDelete, path+secret, "")
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + a.canaries["wrong token"], "Idempotency-Key": secret + strings.Repeat("x", 1<<10),
		"Content-Type": secret, "Content-Encoding": secret, "X-Request-Id": secret, "Cookie": secret, "Expect": secret,
	} {
		a.callWith(t, http.MethodPost, "smtp-campaign", `{}`, http.Header{name: {value}})
	}
	a.callWith(t, http.MethodGet, "campaigns", "", http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+secret))}})
}

func (a *aviary) call(t *testing.T, method, path, body string) {
	t.Helper()
	a.callWith(t, method, path, body, nil)
}

// callWith calls the API and keeps the answer, header included. That some
// calls are refused below HTTP is as it should be.
func (a *aviary) callWith(t *testing.T, method, path, body string, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.process.Base+"/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + a.canaries["token"]}}
	maps.Copy(req.Header, header)
	a.keep(t, req)
}

func (a *aviary) keep(t *testing.T, req *http.Request) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	where := "answers to " + req.Method
	a.said.add(where, []byte(resp.Status+"\n"))
	for name, values := range resp.Header {
		a.said.add(where, []byte(name+": "+strings.Join(values, ", ")+"\n"))
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a.said.add(where, append(answer, '\n'))
}

// commands runs the server's other commands with the secrets in the
// environment, at their places and at wrong ones.
func (a *aviary) commands(t *testing.T) {
	t.Helper()
	right := func(name string) string { return a.process.env[name] }
	secret := a.canaries["misplaced password"]
	wrong := func(name string) string {
		switch {
		case strings.Contains(name, "PASSWORD"), strings.Contains(name, "KEY"), strings.Contains(name, "TOKENS"):
			return secret
		case name == "DYNAMODB_ENDPOINT":
			return "http://user:" + secret + "@127.0.0.1:8000"
		default:
			return a.process.env[name]
		}
	}
	for name, args := range map[string][]string{"help": {"-h"}, "version": {"version"}, "doctor": {"doctor"}, "healthcheck": {"healthcheck"}, "no command": {"serve"}} {
		for kind, env := range map[string]func(string) string{"": right, ", faulty": wrong} {
			var out bytes.Buffer
			run(args, env, &out, &out)
			a.said.add("output of "+name+kind, append(out.Bytes(), '\n'))
		}
	}
	var out bytes.Buffer
	if code := run(nil, wrong, &out, &out); code != exitUsage {
		t.Errorf("a server with secrets at wrong places: exit %d, %s", code, &out)
	}
	a.said.add("output of a faulty start", out.Bytes())
}

// readEverything asks for every GET of the API, and for what is beside it.
func (a *aviary) readEverything(t *testing.T) {
	t.Helper()
	document, err := os.ReadFile(filepath.Join(moduleRoot, "internal", "api", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var openAPI struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(document, &openAPI); err != nil {
		t.Fatal(err)
	}
	for path, methods := range openAPI.Paths {
		if methods["get"] == nil || strings.HasSuffix(path, "/events") { // a stream does not end by itself
			continue
		}
		for _, id := range a.ids {
			filled := strings.NewReplacer("{campaign_id}", id, "{id}", id, "{email}", url.PathEscape("gone@example.org")).Replace(path)
			a.call(t, http.MethodGet, strings.TrimPrefix(filled, "/"), "")
		}
	}
	for _, path := range []string{"metrics", "debug/pprof/goroutine?debug=2", "debug/pprof/goroutine?debug=1", "debug/pprof/heap?debug=1", "debug/pprof/cmdline"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.process.env["METRICS_ADDR"]+"/"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		a.keep(t, req)
	}
}

// crash has the Go runtime print what every goroutine is doing, as it does for
// a fatal error, and end the process.
func (a *aviary) crash(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "linux" {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", a.process.cmd.Process.Pid))
		if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0") {
			t.Errorf("core dumps are not switched off: %v\n%s", err, limits)
		}
	}
	if err := a.process.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	_ = a.process.cmd.Wait()
	if dump := a.process.log.String(); !strings.Contains(dump, "SIGQUIT: quit") || !strings.Contains(dump, "goroutine ") {
		t.Error("there is no crash dump")
	}
}
