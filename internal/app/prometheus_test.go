package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

const deployDir = "../../deploy"

// needPrometheus ends the test where Prometheus is not installed. That is the
// one reason for which these tests do not run.
func needPrometheus(t *testing.T) {
	t.Helper()
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			why := "Prometheus test not run: " + err.Error() + " (Debian's package prometheus has it)"
			_, _ = fmt.Fprintln(os.Stderr, why)
			t.Skip(why)
		}
	}
}

// TestRules: promtool takes the configuration and the rules, and the rules do
// what their tests say.
func TestRules(t *testing.T) {
	t.Parallel()
	needPrometheus(t)
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"}, {"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), "promtool", args...)
		cmd.Dir = filepath.Join(deployDir, "prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", cmd, err, out)
		}
	}
	tests, err := os.ReadFile(filepath.Join(deployDir, "prometheus", "rules_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range alertNames(t) {
		if !strings.Contains(string(tests), "alertname: "+name+"\n") {
			t.Errorf("rules_test.yml does not test %s", name)
		}
	}
}

// alertNames are those of rules.yml.
func alertNames(t *testing.T) (names []string) {
	t.Helper()
	rules, err := os.ReadFile(filepath.Join(deployDir, "prometheus", "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(string(rules), -1) {
		names = append(names, m[1])
	}
	return names
}

// prometheusServer is a Prometheus in a process of its own.
type prometheusServer struct{ base string }

// startPrometheus scrapes the targets several times a second, with the rules
// that are deployed.
func startPrometheus(t *testing.T, targets ...string) prometheusServer {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(filepath.Join(deployDir, "prometheus", "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for i, target := range targets {
		targets[i] = strconv.Quote(strings.TrimPrefix(target, "http://"))
	}
	settings := fmt.Sprintf("global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\nrule_files: [%q]\n"+
		"scrape_configs:\n  - job_name: postern\n    static_configs: [{targets: [%s]}]\n", rules, strings.Join(targets, ", "))
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	p := prometheusServer{base: "http://" + vacant(t)}
	log := &syncBuffer{}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "prometheus", "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+strings.TrimPrefix(p.base, "http://"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus' log:\n%s", log)
		}
	})
	p.await(t, "/-/ready")
	return p
}

func (p prometheusServer) await(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := p.read(t, path, &json.RawMessage{})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Prometheus is not ready: %v", err)
		}
	}
}

// read gets a path of the API; what is no JSON is left.
func (p prometheusServer) read(t *testing.T, path string, into any) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.base+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusBadRequest {
		return fmt.Errorf("answered %s", resp.Status)
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// query gives the numbers of an instant query. A query that is wrong ends the
// test.
func (p prometheusServer) query(t *testing.T, expr string) (values []float64) {
	t.Helper()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	err := p.read(t, "/api/v1/query?query="+url.QueryEscape(expr), &answer)
	if err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v %s", expr, err, answer.Error)
	}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		if !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return values
}

// awaitData asks until there is a number among the answers, and between two
// questions does what may be wanted for that once more.
func (p prometheusServer) awaitData(t *testing.T, what, expr string, again ...func()) []float64 {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if values := p.query(t, expr); len(values) > 0 {
			return values
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: no data for %s", what, expr)
			return nil
		}
		for _, f := range again {
			f()
		}
	}
}

// rules gives the expressions by name, of alerts or of records.
func (p prometheusServer) rules(t *testing.T, kind string) map[string]string {
	t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Query, Health string }
			}
		}
	}
	if err := p.read(t, "/api/v1/rules?type="+kind, &answer); err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			byName[r.Name] = r.Query
		}
	}
	return byName
}

// dashboardQueries gives the queries of the dashboard by panel, with
// its variables filled in.
func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployDir, "grafana", "postern.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("$__rate_interval", "1m", "$relay", ".*", "$instance", ".*")
	queries := map[string]string{}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			name := p.Title + " " + target.RefID
			if _, twice := queries[name]; twice {
				t.Errorf("there are two panels %q", p.Title)
			}
			queries[name] = filled.Replace(target.Expr)
			if strings.Contains(queries[name], "$") {
				t.Errorf("%s: a variable is unknown: %s", name, target.Expr)
			}
		}
	}
	return queries
}

// provoked are the alerts whose conditions TestPrometheus brings about; the
// others need more time, or a death, and have their tests in rules_test.yml.
var provoked = []string{
	"PosternAuthenticationRefused", "PosternRelayInTrouble", "PosternConnectionsFail", "PosternDeliveriesFail",
	"PosternRelayDayExhausted", "PosternCampaignFailed", "PosternCampaignPaused", "PosternCallersRefused",
	"PosternStoreThrottled", "PosternStoreErrors", "PosternAPIErrors",
}

// TestPrometheus: a real Prometheus scrapes two services with campaigns through
// them, well and badly: every query of the dashboard answers with data, every
// rule is valid, and alerts have data when their faults are there.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	needPrometheus(t)
	s := startScene(t)
	p := startPrometheus(t, s.local.metrics, s.cloud.metrics)
	p.awaitData(t, "both services", `count(up{job="postern"} == 1) == 2`)
	s.play(t)

	for name, query := range dashboardQueries(t) {
		p.awaitData(t, "panel "+name, query)
	}
	for name, query := range p.rules(t, "record") {
		p.awaitData(t, "record "+name, query)
		p.awaitData(t, "record "+name, name)
	}
	alerts := p.rules(t, "alert")
	if names := alertNames(t); len(alerts) != len(names) {
		t.Errorf("Prometheus has %d alerts of %d", len(alerts), len(names))
	}
	s.breakStore(t)
	metric := regexp.MustCompile(`\b[\w:]+\b`)
	for name, query := range alerts {
		if slices.Contains(provoked, name) {
			// A counter that is first seen behind all calls has no rate.
			p.awaitData(t, "alert "+name, query, func() { s.callInVain(t) })
			continue
		}
		p.query(t, query) // is valid
		for _, m := range metric.FindAllString(query, -1) {
			if strings.HasPrefix(m, "postern_") || strings.HasPrefix(m, "process_") {
				p.awaitData(t, "alert "+name, m)
			}
		}
	}
	s.database.behave()
	if err := s.cloud.stop(); err != nil {
		t.Error(err)
	}
	p.awaitData(t, "alert PosternDown", alerts["PosternDown"])
	values := p.awaitData(t, "deliveries", `sum by (state) (postern_deliveries_recorded_total{state="failed"})`)
	if len(values) == 1 && values[0] < 30 {
		t.Errorf("%v recipients failed; want the 30 that the relay refuses", values[0])
	}
}

// scene is two services: one on the embedded store, one on DynamoDB.
type scene struct {
	local, cloud *service
	relay, plain *smtptest.Server
	database     *between
	dead         int // a port where nobody listens
}

// sceneContacts is how many recipients the main campaign of the scene has.
const sceneContacts = 300

func startScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{plain: startRelay(t, smtptest.Config{})}
	var lost, later atomic.Bool
	cfg := relayConfig()
	cfg.Hook = func(e smtptest.Event) smtptest.Action {
		switch {
		case e.Stage != smtptest.StageRcpt:
		case strings.HasSuffix(strings.TrimSuffix(e.Rcpt(), "@example.org"), "7"):
			return smtptest.Reply("550 5.1.1 no such user")
		case e.Rcpt() == "r11@example.org" && !later.Swap(true):
			return smtptest.Reply("450 4.2.1 later")
		case e.Rcpt() == "r12@example.org" && !lost.Swap(true):
			return smtptest.Close()
		}
		return smtptest.Action{}
	}
	s.relay = startRelay(t, cfg)
	s.dead = vacantPort(t)
	env := relayEnv(t, s.relay)
	maps.Copy(env, map[string]string{
		"RELAY_PORTS": fmt.Sprintf("%d,%d,%d", s.relay.Port(), s.plain.Port(), s.dead),
		"RELAY_RATE":  "60", "RETRY_MIN": "20ms", "RETRY_MAX": "40ms",
	})
	s.local = start(t, embedded(t), env)
	var cloud map[string]string
	s.database, cloud = startBetween(t)
	s.cloud = start(t, cloud, relayEnv(t, s.relay), map[string]string{"RELAY_DAILY_LIMIT": "5", "RELAY_RATE": "0"})
	return s
}

// play has every kind of campaign sent, as well as it may go.
func (s *scene) play(t *testing.T) {
	t.Helper()
	s.database.throttle("Query")
	s.cloud.importContacts(t, addresses(10))
	s.cloud.submit(t, simpleLetter())

	s.local.importContacts(t, addresses(sceneContacts))
	letter := simpleLetter()
	letter.Attachments = []client.Attachment{{Filename: "a.txt", ContentType: "text/plain", Content: []byte(strings.Repeat("text ", 200))}}
	main := s.local.submit(t, letter)
	unsafe, tls := false, true
	for name, relay := range map[string]client.Relay{
		"paused":  {Server: s.relay.Host(), Port: s.relay.Port(), Username: "postern", Password: "wrong"},
		"waiting": {Server: s.relay.Host(), Port: s.dead, UseTLS: &unsafe},
		"failed":  {Server: s.plain.Host(), Port: s.plain.Port(), UseTLS: &tls},
	} {
		c := simpleLetter()
		c.Relay, c.Recipients = relay, []string{"r1@example.org"}
		id := s.local.submit(t, c)
		if name == "waiting" {
			continue
		}
		if final := s.local.follow(t, id, s.relay); final.Status != name {
			t.Errorf("the campaign that is to be %s: %+v", name, final)
		}
	}
	for range 40 {
		s.callByName(t)
	}
	if final := s.local.follow(t, main, s.relay); final.Status != "completed" || final.Failed != sceneContacts/10 {
		t.Errorf("the main campaign: %+v", final)
	}
}

// callByName is a call from a page whose name leads to this machine, which is
// refused.
func (s *scene) callByName(t *testing.T) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.local.Base+"/contacts", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "attacker.example"
	resp, err := s.local.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// breakStore takes DynamoDB away.
func (s *scene) breakStore(t *testing.T) {
	t.Helper()
	s.database.cut()
	awaitReady(t, s.cloud, http.StatusServiceUnavailable)
}

// callInVain calls the API that has lost its store.
func (s *scene) callInVain(t *testing.T) {
	t.Helper()
	if status, _ := fetch(t, s.cloud, s.cloud.Base+"/campaigns"); status < http.StatusInternalServerError {
		t.Errorf("without its store the service answers %d", status)
	}
}
