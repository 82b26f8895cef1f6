package importtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// threatModel is the page whose table says which tests show what.
const threatModel = "SECURITY.md"

var (
	testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]*)`")
	// proof is one part of a row's last column: tests and their package.
	proof = regexp.MustCompile("^`(?:Test|Fuzz)[A-Za-z0-9_]+`.* in ([a-z][a-z0-9/]*)$")
)

// TestThreatModel holds the security page to the source: each threat has a
// test, and each test and file that it names is there.
func TestThreatModel(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, threatModel))
	if err != nil {
		t.Fatal(err)
	}
	rows := threats(string(page))
	if len(rows) < 20 {
		t.Fatalf("%d rows were found; is the table still read?", len(rows))
	}
	for threat, shown := range rows {
		for _, fault := range faultsOfProof(root, shown) {
			t.Errorf("%q: %s", threat, fault)
		}
	}
}

// TestThreatModelFaults plants what TestThreatModel is to find.
func TestThreatModelFaults(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"internal/a/a_test.go": "package a\nfunc TestIsThere(t *testing.T) {}\n", "internal/a/a.go": "package a\nfunc TestNoTest() {}\n", "docs/page.md": "",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for shown, want := range map[string]string{
		"`TestIsThere` in internal/a; docs/page.md":         "",
		"`TestIsThere`, `TestIsGone` in internal/a":         "TestIsGone is not in internal/a",
		"`TestIs` in internal/a":                            "TestIs is not in internal/a",
		"`TestNoTest` in internal/a":                        "TestNoTest is not in internal/a",
		"`TestIsThere`":                                     "neither tests in a package nor a file",
		"`TestIsThere` in internal/a; `TestB...`":           "neither tests in a package nor a file",
		"docs/page.md":                                      "no test",
		"`TestIsThere` in internal/a; docs/other.md":        "docs/other.md is not there",
		"`TestIsThere` in internal/b":                       "TestIsThere is not in internal/b",
		"`TestIsThere` with another parser in internal/a":   "",
		"`TestIsThere` in internal/a; what somebody thinks": "neither tests in a package nor a file",
	} {
		faults := strings.Join(faultsOfProof(root, shown), "; ")
		if (want == "") != (faults == "") || !strings.Contains(faults, want) {
			t.Errorf("%s: found %q, want %q", shown, faults, want)
		}
	}
}

// threats gives the last column of the page's table of threats by the first.
func threats(page string) map[string]string {
	rows := map[string]string{}
	_, table, _ := strings.Cut(page, "| threat | what stops it | shown by |\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 {
			break
		}
		if threat := strings.TrimSpace(cells[0]); !strings.HasPrefix(threat, "---") {
			rows[threat] = strings.TrimSpace(cells[2])
		}
	}
	return rows
}

// faultsOfProof says what is wrong with a row's last column.
func faultsOfProof(root, shown string) (faults []string) {
	tests := 0
	for part := range strings.SplitSeq(shown, ";") {
		part = strings.TrimSpace(part)
		in := proof.FindStringSubmatch(part)
		if in == nil {
			switch _, err := os.Stat(filepath.Join(root, filepath.FromSlash(part))); {
			case strings.ContainsAny(part, " `"):
				faults = append(faults, fmt.Sprintf("%q names neither tests in a package nor a file", part))
			case err != nil:
				faults = append(faults, part+" is not there")
			}
			continue
		}
		for _, name := range testName.FindAllStringSubmatch(part, -1) {
			tests++
			if !hasTest(filepath.Join(root, filepath.FromSlash(in[1])), name[1]) {
				faults = append(faults, name[1]+" is not in "+in[1])
			}
		}
	}
	if tests == 0 {
		faults = append(faults, "no test shows it")
	}
	return faults
}

// hasTest says whether a package has a test of the name.
func hasTest(dir, name string) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(source), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
