// Package tests holds the Terraform stack to the service: the tables to
// dynamo.Tables, the permissions to the calls that the store makes, the
// environment variables to the configuration's table, the metric filters to the
// log lines. Terraform itself is not
// needed, but for TestStack, which looks at a stack that e2e/run has applied.
package tests

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/config"
	"postern/internal/store/dynamo"
)

var stackFile = flag.String("stack", "", "`file` with terraform show -json of an applied stack, for TestStack")

const modules = "../modules"

// table is an entry of tables.json.
type table struct {
	HashKey      string            `json:"hash_key"`
	RangeKey     string            `json:"range_key"`
	TTL          string            `json:"ttl"`
	Attributes   map[string]string `json:"attributes"`
	Indexes      map[string]index  `json:"indexes"`
	Actions      []string          `json:"actions"`
	IndexActions []string          `json:"index_actions"`
}

type index struct {
	HashKey  string `json:"hash_key"`
	RangeKey string `json:"range_key"`
}

func readTables(t *testing.T) map[string]table {
	t.Helper()
	var tables map[string]table
	readJSON(t, modules+"/data/tables.json", &tables)
	return tables
}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestTables: tables.json makes the tables that the store would make.
func TestTables(t *testing.T) {
	t.Parallel()
	tables := readTables(t)
	for _, want := range dynamo.Tables("") {
		got, ok := tables[*want.TableName]
		if !ok {
			t.Errorf("there is no table %s", *want.TableName)
			continue
		}
		checkTable(t, got, &want)
		delete(tables, *want.TableName)
	}
	for name := range tables {
		t.Errorf("table %s is not the store's", name)
	}
}

func checkTable(t *testing.T, got table, want *dynamodb.CreateTableInput) {
	t.Helper()
	name := *want.TableName
	if keys := keysOf(want.KeySchema); keys != (index{got.HashKey, got.RangeKey}) {
		t.Errorf("%s: keys %s and %q, want %+v", name, got.HashKey, got.RangeKey, keys)
	}
	attributes := map[string]string{}
	for _, a := range want.AttributeDefinitions {
		attributes[*a.AttributeName] = string(a.AttributeType)
	}
	if !maps.Equal(got.Attributes, attributes) {
		t.Errorf("%s: attributes %v, want %v", name, got.Attributes, attributes)
	}
	indexes := map[string]index{}
	for _, i := range want.GlobalSecondaryIndexes {
		indexes[*i.IndexName] = keysOf(i.KeySchema)
		if i.Projection.ProjectionType != types.ProjectionTypeKeysOnly {
			t.Errorf("%s: index %s projects %s; modules/data makes all of keys only", name, *i.IndexName, i.Projection.ProjectionType)
		}
	}
	if !maps.Equal(got.Indexes, indexes) {
		t.Errorf("%s: indexes %v, want %v", name, got.Indexes, indexes)
	}
	ttl := ""
	if name == dynamo.TableWork {
		ttl = dynamo.TTLAttribute
	}
	if got.TTL != ttl {
		t.Errorf("%s: TTL on %q, want %q", name, got.TTL, ttl)
	}
}

func keysOf(schema []types.KeySchemaElement) (keys index) {
	for _, k := range schema {
		if k.KeyType == types.KeyTypeHash {
			keys.HashKey = aws.ToString(k.AttributeName)
		} else {
			keys.RangeKey = aws.ToString(k.AttributeName)
		}
	}
	return keys
}

// What the stack sets by itself, with what the service calls it.
var (
	ofTheStack = []string{
		"LISTEN_ADDR", "METRICS_ADDR", "AUTH", "API_TOKENS_REF", "VPC_ENABLED", "STORE", "AWS_REGION", "TABLE_PREFIX", "ENCRYPTION_KEY",
		"SMTP_SERVER", "SMTP_PORT", "SMTP_USERNAME", "SMTP_PASSWORD_REF", "RELAYS", "RELAY_ALLOW", "RELAY_PORTS", "RELAY_CA", "RELAY_REQUIRE_TLS",
		"SHUTDOWN_TIMEOUT", "MAX_REQUEST_BYTES", "VPC_ENDPOINT_IDS", "LISTEN_TLS", "TLS_NAMES", "EMF_NAMESPACE",
	}
	// What has no place on AWS: the embedded store's, tables made by the
	// service, another DynamoDB, mail in clear, files that a task would need a
	// volume for, and references to secrets that ECS hands over itself.
	notOnAWS = []string{
		"DATA_DIR", "CREATE_TABLES", "DYNAMODB_ENDPOINT", "SMTP_USE_TLS", "API_TOKENS_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE",
		"RELAY_CA_FILE", "ENCRYPTION_KEY_REF", "SMTP_PASSWORD",
	}
	// What Go reads.
	notOfTheTable = []string{"GOMEMLIMIT"}
)

// TestSettings: every variable of the service is set by the stack, or may be
// set with it, or has no place on AWS.
func TestSettings(t *testing.T) {
	t.Parallel()
	var settings []string
	readJSON(t, modules+"/service/settings.json", &settings)
	known := slices.Sorted(slices.Values(slices.Concat(settings, ofTheStack, notOnAWS)))
	if variables := variables(); !slices.Equal(known, variables) {
		t.Errorf("settings.json and this test know\n%q\nand the service\n%q", known, variables)
	}
}

// variables are the names in the configuration's usage, sorted.
func variables() []string {
	var usage bytes.Buffer
	config.Usage(&usage)
	var names []string
	for line := range strings.Lines(usage.String()) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "VARIABLE" {
			names = append(names, fields[0])
		}
	}
	slices.Sort(names)
	return names
}
