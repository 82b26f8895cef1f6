package importtest

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestPosternKeepsItsArrows(t *testing.T) {
	t.Parallel()
	files, err := scan(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found %d Go files: the module's root is not where this test looks", len(files))
	}
	for _, v := range postern.violations(files) {
		t.Error(v)
	}
}

func TestTheArrowsHaveNoCycle(t *testing.T) {
	t.Parallel()
	if way := postern.cycle(); way != nil {
		t.Errorf("the table allows a cycle: %s", strings.Join(way, " -> "))
	}
}

// planted is a small module that keeps its rules; each case of
// TestPlantedViolations breaks one.
var planted = rules{
	module:  "gate",
	support: []string{"internal/store/storetest"},
	homes:   map[string][]string{"net/smtp": {"internal/mailer"}, "example.org/check": {}},
	arrows: map[string]row{
		"internal/domain":          {standardOnly: true, besides: []string{"example.org/idna"}},
		"internal/store":           {imports: []string{"internal/domain"}, tests: []string{"internal/store/storetest"}},
		"internal/store/storetest": {imports: []string{"internal/domain"}},
		"internal/api":             {imports: []string{"internal/domain"}},
	},
}

func plantedTree() fstest.MapFS {
	return fstest.MapFS{
		"go.mod":                             {Data: []byte("module gate\n")},
		"internal/domain/domain.go":          {Data: []byte("package domain\nimport \"strings\"\n")},
		"internal/domain/domain_test.go":     {Data: []byte("package domain_test\nimport (\n\"gate/internal/domain\"\n\"example.org/check\"\n)\n")},
		"internal/store/store.go":            {Data: []byte("package store\nimport \"gate/internal/domain\"\n")},
		"internal/store/store_test.go":       {Data: []byte("package store\nimport \"gate/internal/store/storetest\"\n")},
		"internal/store/storetest/kit.go":    {Data: []byte("package storetest\nimport \"example.org/check\"\n")},
		"internal/api/api.go":                {Data: []byte("package api\nimport \"example.org/router/v5\"\n")},
		"internal/api/testdata/broken.go":    {Data: []byte("not Go")},
		"tools/go.mod":                       {Data: []byte("module tools\n")},
		"tools/tool.go":                      {Data: []byte("package tools\nimport \"gate/internal/api\"\n")},
		"internal/api/README.md":             {Data: []byte("# not Go either\n")},
		"internal/.hidden/also_not_there.go": {Data: []byte("not Go")},
	}
}

func TestPlantedViolations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file, text string
		want             string // "" for none
	}{
		{name: "nothing planted"},
		{
			"a store in the api", "internal/api/store.go", "package api\nimport \"gate/internal/store\"\n",
			`internal/api/store.go imports "gate/internal/store": internal/api may import internal/domain`,
		},
		{
			"under a build constraint", "internal/api/win.go", "//go:build windows\n\npackage api\nimport _ \"gate/internal/store\"\n",
			`internal/api/win.go imports "gate/internal/store": internal/api may import internal/domain`,
		},
		{
			"in a test", "internal/api/api_test.go", "package api\nimport \"gate/internal/store\"\n",
			`internal/api/api_test.go imports "gate/internal/store": the tests of internal/api may import internal/domain`,
		},
		{
			"a test's arrow in production", "internal/store/kit.go", "package store\nimport \"gate/internal/store/storetest\"\n",
			`internal/store/kit.go imports "gate/internal/store/storetest": internal/store may import internal/domain`,
		},
		{
			"upwards", "internal/domain/up.go", "package domain\nimport \"gate/internal/api\"\n",
			`internal/domain/up.go imports "gate/internal/api": internal/domain may import none of Postern's packages`,
		},
		{
			"a library in the domain", "internal/domain/lib.go", "package domain\nimport \"example.org/ids\"\n",
			`internal/domain/lib.go imports "example.org/ids": internal/domain imports the standard library only`,
		},
		{name: "a library that the domain may take", file: "internal/domain/idna.go", text: "package domain\nimport \"example.org/idna\"\n"},
		{
			"another of the same module in the domain", "internal/domain/lib.go", "package domain\nimport \"example.org/idna/sub\"\n",
			`internal/domain/lib.go imports "example.org/idna/sub": internal/domain imports the standard library only`,
		},
		{
			"a library away from home", "internal/api/smtp.go", "package api\nimport \"net/smtp\"\n",
			`internal/api/smtp.go imports "net/smtp": net/smtp has its home in internal/mailer`,
		},
		{
			"a test's library in production", "internal/api/check.go", "package api\nimport \"example.org/check/sub\"\n",
			`internal/api/check.go imports "example.org/check/sub": example.org/check is for tests`,
		},
		{
			"a package without a row", "internal/util/util.go", "package util\n",
			"internal/util: no row in the table of arrows: say in internal/importtest/arrows_test.go what this package may import, " +
				"and in ARCHITECTURE.md what it is for",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tree := plantedTree()
			if tt.file != "" {
				tree[tt.file] = &fstest.MapFile{Data: []byte(tt.text)}
			}
			var want []string
			if tt.want != "" {
				want = []string{tt.want}
			}
			checkViolations(t, tree, want)
		})
	}
}

func TestRowWithoutPackage(t *testing.T) {
	t.Parallel()
	tree := plantedTree()
	delete(tree, "internal/api/api.go")
	checkViolations(t, tree, []string{"internal/api: a row in the table of arrows, and no such package"})
}

func checkViolations(t *testing.T, tree fstest.MapFS, want []string) {
	t.Helper()
	files, err := scan(tree)
	if err != nil {
		t.Fatal(err)
	}
	if got := planted.violations(files); !slices.Equal(got, want) {
		t.Errorf("violations:\n%q\nwant\n%q", got, want)
	}
}

func TestBrokenSourceIsAnError(t *testing.T) {
	t.Parallel()
	tree := plantedTree()
	tree["internal/api/broken.go"] = &fstest.MapFile{Data: []byte("package api\nimport (\n")}
	if _, err := scan(tree); err == nil {
		t.Error("a file that does not parse was passed over")
	}
}

func TestPlantedCycle(t *testing.T) {
	t.Parallel()
	round := rules{arrows: map[string]row{
		"a": {imports: []string{"b", "c"}},
		"b": {imports: []string{"c"}},
		"c": {imports: []string{"d"}},
		"d": {imports: []string{"b"}},
	}}
	if got, want := round.cycle(), []string{"b", "c", "d", "b"}; !slices.Equal(got, want) {
		t.Errorf("cycle %q, want %q", got, want)
	}
	if way := planted.cycle(); way != nil {
		t.Errorf("cycle %q where there is none", way)
	}
}
