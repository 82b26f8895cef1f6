package app_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

var updatePages = flag.Bool("update", false, "write docs/hostile-inputs.md anew")

const hostilePage = "../../docs/hostile-inputs.md"

// hostile is an input that means no good, or is broken, and what must come of
// it.
type hostile struct {
	input string // as the page says it
	// send sends it over a socket to the service, and gives what came of it.
	send func(*target) outcome
	// The answer that it must get: its status, a field that is named in it ("" for
	// none), and a part of its text.
	status int
	field  string
	says   string
}

// outcome is what came of an input: the answer, and for one that was accepted
// what became of it, or what went over the wire.
type outcome struct {
	status int
	fields []string
	text   string
}

// String is the outcome as the page says it.
func (o outcome) String() string {
	if o.status == 0 {
		return o.text
	}
	return fmt.Sprintf("%d: %s", o.status, o.text)
}

// hostileGroup is a chapter of the page: inputs that go to the same target.
type hostileGroup struct {
	title  string
	target func(*testing.T) *target
	rows   []hostile
}

func hostileGroups() []hostileGroup {
	return []hostileGroup{
		{"JSON", plainTarget, jsonRows()},
		{"HTTP", plainTarget, slices.Concat(httpRows(), reboundRows())},
		{"Addresses", plainTarget, addressRows()},
		{"Headers of a message", plainTarget, headerRows()},
		{"Contacts", plainTarget, contactRows()},
		{"Templates and what is filled in", plainTarget, slices.Concat(templateRows(), fieldRows())},
		{"Bodies and sizes", plainTarget, bodyRows()},
		{"Attachments", plainTarget, attachmentRows()},
		{"Campaigns and their course", plainTarget, courseRows()},
		{"Listings", plainTarget, listingRows()},
		{"Who may call", accessTarget, accessRows()},
		{"Where a relay may be", placeTarget, placeRows()},
		{"What a relay answers", relayTarget, relayRows()},
		{"Who may be sent to, as whom, and how many", policyTarget, policyRows()},
		{"How many may be sent to in a day", dayTarget, dayRows()},
	}
}

// TestHostile sends every hostile input to the service over a real socket, and
// holds the answers to what they must be, and docs/hostile-inputs.md to the
// answers. With -update it writes the page.
//
//nolint:tparallel // the groups end before the page is written
func TestHostile(t *testing.T) {
	t.Parallel()
	groups := hostileGroups()
	answers := make([][]string, len(groups))
	t.Run("groups", func(t *testing.T) {
		targets := sharedTargets(t, groups)
		for i, g := range groups {
			answers[i] = make([]string, len(g.rows))
			for j, row := range g.rows {
				t.Run(g.title, func(t *testing.T) {
					t.Parallel()
					on := *targets[i]
					on.t = t
					got := row.send(&on)
					row.check(t, got)
					answers[i][j] = got.String()
				})
			}
		}
	})
	if !t.Failed() {
		checkPage(t, writePage(groups, answers))
	}
}

// sharedTargets starts each kind of target once.
func sharedTargets(t *testing.T, groups []hostileGroup) []*target {
	t.Helper()
	started := map[string]*target{}
	targets := make([]*target, len(groups))
	for i, g := range groups {
		key := fmt.Sprintf("%p", g.target)
		if started[key] == nil {
			started[key] = g.target(t)
		}
		targets[i] = started[key]
	}
	return targets
}

func (row hostile) check(t *testing.T, got outcome) {
	t.Helper()
	if got.status != row.status || !strings.Contains(got.text, row.says) ||
		row.field != "" && !slices.Contains(got.fields, row.field) {
		t.Errorf("%s:\ngot  %s (fields %q)\nwant %d, field %q, %q", row.input, got, got.fields, row.status, row.field, row.says)
	}
}

var cell = sync.OnceValue(func() *strings.Replacer {
	return strings.NewReplacer("|", `\|`, "\r\n", " ", "\r", " ", "\n", " ", "&", "&amp;", "<", "&lt;", "{{", "{&#123;", "*", `\*`, "_", `\_`, "`", "\\`")
})

func writePage(groups []hostileGroup, answers [][]string) string {
	var b strings.Builder
	rows := 0
	for _, g := range groups {
		rows += len(g.rows)
	}
	fmt.Fprintf(&b, `# Hostile and broken inputs, and the answer each gets

`+"`go test ./internal/app -run TestHostile -update`"+` wrote this page: it sends each of the %d inputs below over a
socket to the service, started on the embedded store with a relay that keeps a ledger, and writes down what came back.
Without `+"`-update`"+` the same test fails where an answer is another one than here. Each row also has its answer in the
test's code, so a wrong one does not get onto the page.

A number is the status of the answer; in front of each rule stands the field that broke it. After 202 comes what became
of the message: what the relay was given, or why it was given nothing. Behind an error nothing is half done.
`, rows)
	for i, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n\n| input | answer |\n|---|---|\n", g.title)
		for j, row := range g.rows {
			fmt.Fprintf(&b, "| %s | %s |\n", cell().Replace(row.input), cell().Replace(answers[i][j]))
		}
	}
	return b.String()
}

func checkPage(t *testing.T, page string) {
	t.Helper()
	if *updatePages {
		if err := os.WriteFile(hostilePage, []byte(page), 0o600); err != nil { // git keeps the mode that it has
			t.Fatal(err)
		}
		return
	}
	written, err := os.ReadFile(hostilePage)
	if err != nil {
		t.Fatal(err)
	}
	want, got := strings.Split(string(written), "\n"), strings.Split(page, "\n")
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("docs/hostile-inputs.md, line %d, is not what the service answers; `go test ./internal/app -run TestHostile -update` writes it anew\nnow: %s",
				i+1, strings.Join(got[min(i, len(got)):min(i+1, len(got))], ""))
		}
	}
}
