package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logged is what the service's source says of its log lines.
type logged struct {
	messages []string // each Msg("...")
	members  []string // the first argument of each Str("..."), Int("...") and so on
	texts    []string // every string literal
}

// TestFilters: what the metric filters look for in the service's log, the
// service logs. A pattern that matches nothing is an alarm that stays silent.
func TestFilters(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(modules + "/observability/filters.tf")
	if err != nil {
		t.Fatal(err)
	}
	in := logLines(t)
	patterns := servicePatterns(string(text))
	for _, pattern := range patterns {
		for _, fault := range in.faults(pattern) {
			t.Errorf("%s: %s", pattern, fault)
		}
	}
	if !slices.ContainsFunc(patterns, func(p string) bool { return strings.Contains(p, "$.message = ") }) {
		t.Errorf("no filter looks at a message: %q", patterns)
	}
}

// TestFiltersFaults: patterns that no line of the service matches are found.
func TestFiltersFaults(t *testing.T) {
	t.Parallel()
	in := logLines(t)
	for pattern, faults := range map[string]int{
		`{ $.message = "the relay works again" }`:                           0,
		`{ $.message = "relay * is in trouble*" }`:                          1, // a notice of the API's
		`{ $.message = "the relay works" }`:                                 1, // a part, without a wildcard
		`{ $.message = "the relay works*" }`:                                0,
		`{ $.reason = "*: auth: *" || $.message = "*: auth: *" }`:           2,
		`{ $.message = "request" && $.milliseconds >= 0 }`:                  1,
		`{ $.message = "campaign accepted" && $.status = "accomplished" }`:  1,
		`{ $.message = "campaign accepted" && $.attachments > 0 }`:          0,
		`{ $.level = "error" && $.reason = "* refuses the credentials: *"}`: 0,
	} {
		if got := in.faults(pattern); len(got) != faults {
			t.Errorf("%s: %q, want %d faults", pattern, got, faults)
		}
	}
}

var (
	serviceFilter = regexp.MustCompile(`group\s*=\s*var\.service_log_group_name\s+pattern\s*=\s*("(?:[^"\\]|\\.)*")`)
	member        = regexp.MustCompile(`\$\.(\w+)\s*[=<>!]`)
	comparison    = regexp.MustCompile(`\$\.(\w+)\s*=\s*"([^"]*)"`)
)

// servicePatterns are those of the filters of the service's own log.
func servicePatterns(source string) (patterns []string) {
	for _, found := range serviceFilter.FindAllStringSubmatch(source, -1) {
		pattern, err := strconv.Unquote(found[1])
		if err != nil {
			pattern = found[1] // an interpolation: whatever it has will be missed
		}
		patterns = append(patterns, pattern)
	}
	return patterns
}

// faults are the parts of a pattern that no line of the log has.
func (l logged) faults(pattern string) (faults []string) {
	for _, found := range member.FindAllStringSubmatch(pattern, -1) {
		if name := found[1]; name != "message" && name != "level" && !slices.Contains(l.members, name) {
			faults = append(faults, "no line has the member "+name)
		}
	}
	for _, found := range comparison.FindAllStringSubmatch(pattern, -1) {
		name, value := found[1], found[2]
		if name == "message" && !matches(value, l.messages) {
			faults = append(faults, "no line has the message "+value)
		}
		if name != "message" && !occurs(value, l.texts) {
			faults = append(faults, "nothing in the source says "+value)
		}
	}
	return faults
}

// matches says whether one of the messages is what the value with its
// wildcards looks for.
func matches(value string, messages []string) bool {
	whole := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(value), `\*`, ".*") + "$")
	return slices.ContainsFunc(messages, whole.MatchString)
}

// occurs says whether one literal has all that is between the wildcards. It may
// be a format, of which a line has more.
func occurs(value string, texts []string) bool {
	parts := strings.Split(value, "*")
	if len(parts) == 1 {
		return slices.Contains(texts, value)
	}
	return slices.ContainsFunc(texts, func(text string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
	})
}

// logLines reads the source of the service, without its tests.
func logLines(t *testing.T) (l logged) {
	t.Helper()
	for _, dir := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err == nil {
				ast.Inspect(file, l.note)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// loggers are the methods of zerolog that the filters' members are written by.
var loggers = []string{"Str", "Int", "Int64", "Float64", "Bool", "AnErr"}

func (l *logged) note(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BasicLit:
		if text, ok := literal(n); ok {
			l.texts = append(l.texts, text)
		}
	case *ast.CallExpr:
		method, ok := n.Fun.(*ast.SelectorExpr)
		if !ok || len(n.Args) == 0 {
			break
		}
		text, ok := literal(n.Args[0])
		switch {
		case ok && method.Sel.Name == "Msg":
			l.messages = append(l.messages, text)
		case ok && slices.Contains(loggers, method.Sel.Name):
			l.members = append(l.members, text)
		}
	}
	return true
}

// literal is the text of a string literal.
func literal(e ast.Expr) (text string, ok bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}
