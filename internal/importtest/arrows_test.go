package importtest

import "slices"

// postern is the rule book. Directories are relative to the module's root.
var postern = rules{
	module:  "postern",
	arrows:  arrows,
	homes:   homes,
	support: []string{"internal/store/storetest", "internal/store/dynamo/dynamotest", "internal/mailer/smtptest"},
}

// arrows has a row for every package: the packages of Postern that it
// imports, and those that its tests import besides. A package is listed in
// full: an arrow to store is none to store/bolt.
var arrows = map[string]row{
	"internal/auth": {standardOnly: true},
	// Whose an address is, is what it is on the wire.
	"internal/campaign": {standardOnly: true, besides: []string{"golang.org/x/net/idna", "golang.org/x/text/unicode/norm"}},
	"internal/config":   {standardOnly: true},
	"internal/seal":     {standardOnly: true},
	"internal/secret":   {imports: []string{"internal/config"}},

	"internal/redact": {imports: []string{"internal/campaign"}},

	// An auditor reads it: nothing of the service but the domain.
	"internal/audit": {
		imports:      []string{"internal/campaign"},
		standardOnly: true,
		tests:        []string{"internal/mailer", "internal/mailer/smtptest"},
	},

	"internal/store": {imports: []string{"internal/campaign"}},
	"internal/store/bolt": {
		imports: []string{"internal/campaign", "internal/store"},
		tests:   []string{"internal/store/storetest"},
	},
	"internal/store/dynamo": {
		imports: []string{"internal/campaign", "internal/store"},
		tests:   []string{"internal/store/storetest", "internal/store/dynamo/dynamotest"},
	},
	"internal/store/dynamo/dynamotest": {},
	"internal/store/storetest":         {imports: []string{"internal/campaign", "internal/store"}},

	"internal/budget": {
		imports: []string{"internal/campaign", "internal/store"},
		tests:   []string{"internal/store/bolt"},
	},
	"internal/lane": {
		imports: []string{"internal/budget", "internal/campaign", "internal/mailer"},
		tests:   []string{"internal/mailer/smtptest", "internal/store"},
	},
	"internal/mailer": {
		imports: []string{"internal/campaign"},
		tests:   []string{"internal/mailer/smtptest"},
	},
	"internal/mailer/smtptest": {},
	"internal/doctor": {
		imports: []string{"internal/campaign", "internal/mailer", "internal/store"},
		tests:   []string{"internal/mailer/smtptest"},
	},
	"internal/network": {
		imports: []string{"internal/doctor", "internal/mailer"},
		tests:   []string{"internal/mailer/smtptest"},
	},

	"internal/engine": {
		imports: []string{"internal/audit", "internal/budget", "internal/campaign", "internal/lane", "internal/mailer", "internal/store"},
		tests:   []string{"internal/mailer/smtptest", "internal/seal", "internal/store/bolt", "internal/store/storetest"},
	},
	"internal/listen": {
		imports: []string{"internal/config"},
		tests:   []string{"internal/mailer/smtptest"},
	},
	"internal/api": {
		imports: []string{"internal/auth", "internal/campaign", "internal/doctor", "internal/engine", "internal/network", "internal/seal"},
		tests:   []string{"internal/client", "internal/mailer", "internal/mailer/smtptest", "internal/store", "internal/store/bolt"},
	},
	"internal/app": {
		imports: []string{
			"internal/api", "internal/auth", "internal/budget", "internal/campaign", "internal/config", "internal/doctor", "internal/engine", "internal/listen", "internal/mailer", "internal/network",
			"internal/redact", "internal/seal", "internal/secret", "internal/store", "internal/store/bolt", "internal/store/dynamo",
		},
		tests: []string{
			"internal/audit", "internal/client", "internal/mailer/smtptest", "internal/store/dynamo/dynamotest", "internal/store/storetest",
		},
	},
	// The client knows the API from the outside.
	"internal/client":     {standardOnly: true},
	"internal/importtest": {},
	// Tests only: they hold the Terraform stack to the service.
	"terraform/tests": {tests: []string{
		"internal/campaign", "internal/config", "internal/store", "internal/store/dynamo",
		"internal/store/dynamo/dynamotest", "internal/store/storetest",
	}},

	"cmd/server": {
		imports: []string{"internal/app", "internal/audit", "internal/auth", "internal/config", "internal/doctor", "internal/listen"},
		tests: []string{
			"internal/client", "internal/engine", "internal/mailer/smtptest", "internal/store/dynamo/dynamotest",
		},
	},
	// The demo brings its own relay and calls the API as anyone would.
	"cmd/demo": {imports: []string{"internal/app", "internal/client", "internal/config", "internal/mailer/smtptest"}},
	// The bench suite measures the pieces by themselves and the whole from
	// outside, and takes turns with the libraries that users would take.
	"cmd/bench": {imports: []string{
		"internal/app", "internal/budget", "internal/campaign", "internal/client", "internal/config", "internal/lane",
		"internal/mailer", "internal/store", "internal/store/dynamo", "internal/store/dynamo/dynamotest",
	}},
	// The chaos harness starts servers as processes and calls the API as
	// anyone would. Of the rest it has the relay, DynamoDB Local, the check of
	// audit trails, and its own look at the stores, which it holds the servers
	// to.
	"cmd/chaos": {imports: []string{
		"internal/audit", "internal/campaign", "internal/client", "internal/mailer/smtptest", "internal/store", "internal/store/bolt",
		"internal/store/dynamo", "internal/store/dynamo/dynamotest",
	}},
}

// homes names the only packages whose production code imports a library, or
// anything below it. A library that is not listed may be imported by every
// package that is not restricted to the standard library.
var homes = map[string][]string{
	// HTTP is the API's; the app serves it, the health check and the client
	// call it.
	"net/http": {
		"internal/api", "internal/app", "internal/client", "internal/listen", "internal/network", "internal/secret", "internal/store/dynamo", "cmd/server", "cmd/demo", "cmd/bench", "cmd/chaos",
	},
	"golang.org/x/net/idna":     {"internal/campaign"},
	"golang.org/x/text":         {"internal/campaign"},
	"github.com/go-chi":         {"internal/api"},
	"github.com/aws":            {"internal/secret", "internal/store/dynamo", "cmd/bench"},
	"go.etcd.io/bbolt":          {"internal/store/bolt"},
	"net/smtp":                  {"internal/mailer", "cmd/bench"},
	"github.com/xhit":           {"internal/mailer", "cmd/bench"},
	"crypto/aes":                {"internal/seal"},
	"github.com/rs/zerolog":     {"internal/api", "internal/app", "internal/budget", "internal/engine", "internal/lane", "internal/listen", "cmd/server", "cmd/bench"},
	"github.com/jhillyerd":      {"cmd/demo"}, // reads what its relay caught, as a MIME parser that is not ours
	"testing":                   {},
	"go.uber.org/goleak":        {},
	"pgregory.net/rapid":        {},
	"github.com/getkin":         {},
	"github.com/testcontainers": {},
	"github.com/moby":           {},
	"go.yaml.in":                {},
}

// row is what one package may import.
type row struct {
	imports []string
	// tests are imported by the package's tests, besides imports.
	tests []string
	// standardOnly: production code takes no library either.
	standardOnly bool
	// besides are packages of libraries that it takes all the same.
	besides []string
}

// allowed lists the directories that a file of the package may import from.
func (r row) allowed(inTest bool) []string {
	if !inTest {
		return r.imports
	}
	return slices.Concat(r.imports, r.tests)
}
