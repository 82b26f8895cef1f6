package app_test

import (
	"maps"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// metric is a metric's type and labels.
type metric struct {
	kind   string
	labels []string
}

// TestMetricsAreDocumented: after campaigns on either store, what the service
// exports and docs/metrics.md are the same, and both are as Prometheus' own
// conventions want them.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	exported := map[string]metric{}
	for _, store := range backends {
		maps.Copy(exported, exportedBy(t, store))
	}
	documented := documentedMetrics(t)
	for name, is := range exported {
		says, found := documented[name]
		if found && (says.kind != is.kind || !slices.Equal(says.labels, is.labels)) {
			t.Errorf("%s is a %s with labels %q; docs/metrics.md says a %s with %q", name, is.kind, is.labels, says.kind, says.labels)
		}
		if !found && !slices.ContainsFunc(slices.Collect(maps.Keys(documented)), func(family string) bool {
			matches, _ := path.Match(family, name)
			return matches
		}) {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
	}
	for name := range documented {
		if _, found := exported[name]; !found && !strings.HasSuffix(name, "*") {
			t.Errorf("docs/metrics.md has %s, and the service does not", name)
		}
	}
}

// exportedBy gives the metrics of a service with a campaign at work, whose lane
// has its gauges then, and behind its end.
func exportedBy(t *testing.T, store backend) map[string]metric {
	t.Helper()
	held, goOn := make(chan struct{}), make(chan struct{})
	var holds, later atomic.Bool
	cfg := relayConfig()
	cfg.Hook = func(e smtptest.Event) smtptest.Action {
		switch {
		case e.Stage != smtptest.StageRcpt:
		case e.Rcpt() == "r1@example.org" && !later.Swap(true):
			return smtptest.Reply("450 4.2.1 later")
		case e.Rcpt() == "r2@example.org" && !holds.Swap(true):
			close(held)
			return smtptest.Action{}.After(goOn)
		}
		return smtptest.Action{}
	}
	relay := startRelay(t, cfg)
	s := start(t, store.env(t), relayEnv(t, relay), map[string]string{"RETRY_MIN": "10ms", "RETRY_MAX": "10ms"})
	s.importContacts(t, addresses(20))
	letter := simpleLetter()
	letter.Attachments = []client.Attachment{{Filename: "a.txt", ContentType: "text/plain", Content: []byte("text")}}
	id := s.submit(t, letter)
	<-held
	all := s.exported(t)
	close(goOn)
	if final := s.follow(t, id, relay); final.Status != "completed" || final.Sent != 20 {
		t.Fatalf("on %s: %+v", store.name, final)
	}
	maps.Copy(all, s.exported(t))
	return all
}

// exported reads and lints /metrics.
func (s *service) exported(t *testing.T) map[string]metric {
	t.Helper()
	status, text := fetch(t, s, s.metrics+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics answers %d", status)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	byName := map[string]metric{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		byName[m[1]] = metric{kind: m[2]}
	}
	label := regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
	for _, sample := range regexp.MustCompile(`(?m)^(\w+?)(?:_bucket)?\{(.*)\} `).FindAllStringSubmatch(text, -1) {
		m, found := byName[sample[1]]
		if !found {
			continue // _sum and _count have the labels of the buckets
		}
		for _, l := range label.FindAllStringSubmatch(sample[2], -1) {
			if l[1] != "le" && !slices.Contains(m.labels, l[1]) {
				m.labels = append(m.labels, l[1])
			}
		}
		slices.Sort(m.labels)
		byName[sample[1]] = m
	}
	return byName
}

// documentedMetrics reads the table.
func documentedMetrics(t *testing.T) map[string]metric {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]metric{}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+\\*?)` \\| (counter|gauge|histogram|) ?\\| ([^|]*)\\|[^|]*\\|[^|]*\\|[^|]*\\|$")
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		var labels []string
		for _, l := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		byName[m[1]] = metric{kind: m[2], labels: labels}
	}
	return byName
}

// TestAlertsAreDocumented: whoever is woken finds what to do.
func TestAlertsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(Postern\\w+)` \\| .+ \\|$").FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, m[1])
	}
	names := alertNames(t)
	slices.Sort(documented)
	slices.Sort(names)
	if !slices.Equal(documented, names) {
		t.Errorf("docs/metrics.md has alerts\n%q\nrules.yml\n%q", documented, names)
	}
}
