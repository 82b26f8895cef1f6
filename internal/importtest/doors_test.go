package importtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// door is a library that reads text, and who may read with it: production
// packages, each with what it reads. What strangers send comes in by one door
// of its kind.
type door struct {
	library string
	readers map[string]string
}

// tools are not part of the service: they measure, show or test it.
const tool = "a tool, not the service"

var doors = []door{
	{"github.com/go-json-experiment/json", map[string]string{
		"internal/api": "every request's body: the one door for JSON, api.decode",
	}},
	// encoding/json takes the last of two equal names and puts U+FFFD for what
	// is no UTF-8. It is good enough for what Postern wrote itself.
	{"encoding/json", map[string]string{
		"internal/app":          "writes lines of metrics, reads none",
		"internal/audit":        "lines of the audit trail, of which each link is verified",
		"internal/auth":         "the operator's own list of tokens",
		"internal/budget":       "Postern's own cells",
		"internal/campaign":     "Postern's own events",
		"internal/client":       "the service's answers",
		"internal/engine":       "Postern's own cells",
		"internal/network":      "the metadata of the task that it runs in",
		"internal/secret":       "secrets that the operator keeps in Secrets Manager",
		"internal/store/bolt":   "Postern's own rows",
		"internal/store/dynamo": "Postern's own rows",
		"cmd/server":            "writes findings, reads none",
		"cmd/bench":             tool,
		"cmd/chaos":             tool,
	}},
	// The one parser of addresses is campaign.CheckAddress; net/mail unquotes
	// local parts, which then become parameters of RCPT.
	{"net/mail", map[string]string{
		"internal/audit": "headers of messages that Postern sent, read again for their digest",
		"cmd/demo":       tool,
	}},
	{"mime", map[string]string{
		"internal/api":    "a request's Content-Type, of which the media type alone is used",
		"internal/mailer": "attachments' types: the one check, mailer.checkContentType",
		"internal/audit":  "headers of messages that Postern sent, read again for their digest",
		"cmd/demo":        tool,
	}},
	// The HTML of a letter's body, for its text alternative. Nobody else reads
	// HTML.
	{"golang.org/x/net/html", map[string]string{"internal/mailer": "the letter's body"}},
	// Hostile text is read without regular expressions.
	{"regexp", nil},
	{"encoding/csv", map[string]string{"cmd/demo": tool}},
	{"text/template", map[string]string{"cmd/bench": tool}},
	{"html/template", nil},
	{"encoding/xml", nil},
	{"encoding/gob", nil},
	{"net/textproto", nil},
	{"plugin", nil},
	{"unsafe", nil},
	{"os/exec", map[string]string{"cmd/bench": tool, "cmd/chaos": tool, "internal/store/dynamo/dynamotest": "starts DynamoDB Local for tests"}},
}

// TestDoors holds production code to its doors, and the list above to the
// code.
func TestDoors(t *testing.T) {
	t.Parallel()
	files, err := scan(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range doors {
		used := map[string]bool{}
		for _, f := range files {
			if f.isTest() || !slices.ContainsFunc(f.imports, d.opens) {
				continue
			}
			used[f.dir] = true
			if d.readers[f.dir] == "" {
				t.Errorf("%s imports %s, which is not its door: say in internal/importtest/doors_test.go what it reads with it", path.Join(f.dir, f.name), d.library)
			}
		}
		for dir := range d.readers {
			if !used[dir] {
				t.Errorf("%s is said to read with %s, and does not", dir, d.library)
			}
		}
	}
}

// opens says whether an import is of the library: for mime that is the package
// alone and mime/multipart is another.
func (d door) opens(imported string) bool {
	return imported == d.library || strings.HasPrefix(imported, d.library+"/") && strings.Contains(d.library, ".")
}

// owner says which files of a package alone may use an expression.
type owner struct {
	dir, expression string
	files           []string
	why             string
}

var owners = []owner{
	{"internal/api", "r.Body", []string{"body.go", "exchange.go", "pace.go"}, "bodies are read whole, within limits, by readBody"},
	{"internal/api", "json.Unmarshal", []string{"decode.go"}, "JSON comes in by decode, and unmarshal is for parts of what has come in"},
	{"internal/api", "jsontext.NewDecoder", []string{"decode.go"}, "JSON comes in by decode"},
	{"internal/api", "json.UnmarshalRead", nil, "JSON comes in by decode"},
	{"internal/api", "r.URL.Query", nil, "it passes over what it cannot read; readQuery does not"},
	{"internal/api", "r.FormValue", nil, "forms are not read"},
	{"internal/api", "r.ParseForm", nil, "forms are not read"},
	{"internal/api", "r.ParseMultipartForm", nil, "forms are not read"},
	{"internal/mailer", "mime.ParseMediaType", []string{"attachment.go"}, "checkContentType is the one check of types"},
	{"internal/campaign", "idna.Lookup.ToASCII", []string{"wire.go"}, "WireAddress is the one way to an address's form on the wire"},
}

// TestOwners looks for the expressions as they are written.
func TestOwners(t *testing.T) {
	t.Parallel()
	for _, o := range owners {
		found := filesWith(t, o.dir, o.expression)
		for _, name := range found {
			if !slices.Contains(o.files, name) {
				t.Errorf("%s/%s uses %s: %s", o.dir, name, o.expression, o.why)
			}
		}
		for _, name := range o.files {
			if !slices.Contains(found, name) {
				t.Errorf("%s/%s is said to use %s, and does not", o.dir, name, o.expression)
			}
		}
	}
}

// filesWith names the production files of a package that have a selector such
// as r.Body.
func filesWith(t *testing.T, dir, expression string) (names []string) {
	t.Helper()
	files, err := fs.Glob(os.DirFS("../.."), dir+"/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path.Join("../..", name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		has := false
		ast.Inspect(file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			has = has || ok && spelled(selector) == expression
			return !has
		})
		if has {
			names = append(names, path.Base(name))
		}
	}
	return names
}

// spelled is a chain of selectors as it is written; "" for another expression.
func spelled(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if left := spelled(e.X); left != "" {
			return left + "." + e.Sel.Name
		}
	}
	return ""
}

// headerChecks are the ways that look for control characters; the one check of
// what reaches a header is campaign.CheckHeaderText.
var headerChecks = map[string]string{
	"internal/campaign/address.go": "CheckHeaderText itself",
	"internal/mailer/reply.go":     "a relay's reply, cleaned for people to read",
	"internal/mailer/guard.go":     "a relay's reply, compared with secrets",
	"internal/doctor/text.go":      "what others wrote, cleaned for people to read",
}

func TestOneCheckOfHeaders(t *testing.T) {
	t.Parallel()
	files, err := scan(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]bool{}
	for _, f := range files {
		if strings.HasPrefix(f.dir, "internal/") && !slices.Contains(postern.support, f.dir) {
			dirs[f.dir] = true
		}
	}
	for dir := range dirs {
		for _, name := range filesWith(t, dir, "unicode.IsControl") {
			if headerChecks[path.Join(dir, name)] == "" {
				t.Errorf("%s/%s looks for control characters: campaign.CheckHeaderText is the one check", dir, name)
			}
		}
		for _, fault := range breaksSpelled(t, dir) {
			t.Error(fault)
		}
	}
}

// breaksSpelled finds strings.ContainsAny of line breaks.
func breaksSpelled(t *testing.T, dir string) (faults []string) {
	t.Helper()
	files, err := fs.Glob(os.DirFS("../.."), dir+"/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path.Join("../..", name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 || spelled(call.Fun) != "strings.ContainsAny" {
				return true
			}
			if literal, ok := call.Args[1].(*ast.BasicLit); ok {
				if text, err := strconv.Unquote(literal.Value); err == nil && strings.ContainsAny(text, "\r\n") {
					faults = append(faults, fmt.Sprintf("%s looks for line breaks: campaign.CheckHeaderText is the one check", name))
				}
			}
			return true
		})
	}
	return faults
}
