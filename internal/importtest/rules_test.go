package importtest

import (
	"cmp"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// rules are the arrows and homes of a module.
type rules struct {
	module string
	arrows map[string]row
	homes  map[string][]string
	// support packages exist for tests, and may import what tests may.
	support []string
}

// source is one Go file and what it imports.
type source struct {
	dir     string
	name    string
	imports []string
}

func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// scan reads the imports of every Go file of the module at the root of the
// tree, whatever its build constraints are.
func scan(tree fs.FS) ([]source, error) {
	var found []source
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return skipForeign(tree, name)
		case path.Ext(name) != ".go":
			return nil
		}
		s, err := read(tree, name)
		found = append(found, s)
		return err
	})
	return found, err
}

// skipForeign passes over the directories that the go command passes over.
func skipForeign(tree fs.FS, dir string) error {
	base := path.Base(dir)
	if dir == "." {
		return nil
	}
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(tree, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func read(tree fs.FS, name string) (source, error) {
	s := source{dir: path.Dir(name), name: path.Base(name)}
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return s, fmt.Errorf("read a source: %w", err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
	if err != nil {
		return s, fmt.Errorf("parse a source: %w", err)
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return s, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		s.imports = append(s.imports, imported)
	}
	return s, nil
}

// violations says which files break which rule, and which packages and rows
// have no counterpart.
func (r rules) violations(files []source) []string {
	found := r.unmatched(files)
	for _, f := range files {
		rw, ok := r.arrows[f.dir]
		if !ok {
			continue // unmatched has named it
		}
		for _, imported := range f.imports {
			if fault := r.fault(f, rw, imported); fault != "" {
				found = append(found, fmt.Sprintf("%s imports %q: %s", path.Join(f.dir, f.name), imported, fault))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func (r rules) unmatched(files []source) []string {
	seen := make(map[string]bool)
	var found []string
	for _, f := range files {
		if _, ok := r.arrows[f.dir]; !ok && !seen[f.dir] {
			found = append(found, f.dir+": no row in the table of arrows: "+
				"say in internal/importtest/arrows_test.go what this package may import, and in ARCHITECTURE.md what it is for")
		}
		seen[f.dir] = true
	}
	for dir := range maps.Keys(r.arrows) {
		if !seen[dir] {
			found = append(found, dir+": a row in the table of arrows, and no such package")
		}
	}
	return found
}

// fault is what is wrong with an import, "" for nothing.
func (r rules) fault(f source, rw row, imported string) string {
	if dir, ours := strings.CutPrefix(imported, r.module+"/"); ours {
		return oursFault(f, rw, dir)
	}
	if f.isTest() || slices.Contains(r.support, f.dir) {
		return ""
	}
	if rw.standardOnly && !isStandard(imported) && !slices.Contains(rw.besides, imported) {
		return f.dir + " imports the standard library only"
	}
	return r.homeFault(f.dir, imported)
}

func oursFault(f source, rw row, dir string) string {
	allowed := rw.allowed(f.isTest())
	if dir == f.dir && f.isTest() || slices.Contains(allowed, dir) {
		return ""
	}
	who := f.dir
	if f.isTest() {
		who = "the tests of " + who
	}
	return fmt.Sprintf("%s may import %s", who, cmp.Or(strings.Join(allowed, ", "), "none of Postern's packages"))
}

func (r rules) homeFault(dir, imported string) string {
	for library, home := range r.homes {
		if imported != library && !strings.HasPrefix(imported, library+"/") {
			continue
		}
		if len(home) == 0 {
			return library + " is for tests"
		}
		if !slices.Contains(home, dir) {
			return fmt.Sprintf("%s has its home in %s", library, strings.Join(home, ", "))
		}
	}
	return ""
}

// isStandard goes by the rule that only the standard library's paths have a
// first element without a dot.
func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// cycle is a way from a package along the production arrows back to itself,
// nil where the arrows allow none.
func (r rules) cycle() []string {
	done := make(map[string]bool)
	for _, dir := range slices.Sorted(maps.Keys(r.arrows)) {
		if way := r.walk(dir, nil, done); way != nil {
			return way
		}
	}
	return nil
}

func (r rules) walk(dir string, way []string, done map[string]bool) []string {
	if i := slices.Index(way, dir); i >= 0 {
		return append(slices.Clone(way[i:]), dir)
	}
	if done[dir] {
		return nil
	}
	way = append(way, dir)
	for _, next := range r.arrows[dir].imports {
		if round := r.walk(next, way, done); round != nil {
			return round
		}
	}
	done[dir] = true
	return nil
}
