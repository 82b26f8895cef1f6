package dynamo

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/internal/store"
	"postern/internal/store/dynamo/dynamotest"
)

// examined gives the trials by name.
func examined(t *testing.T, c Config) (*Store, map[string]store.Trial) {
	t.Helper()
	s, trials := Examine(t.Context(), c)
	if s != nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	by := map[string]store.Trial{}
	for _, trial := range trials {
		by[trial.Name] = trial
	}
	return s, by
}

// faults gives the trials that have one.
func faults(trials map[string]store.Trial) map[string]store.Fault {
	found := map[string]store.Fault{}
	for name, trial := range trials {
		if trial.Fault != "" {
			found[name] = trial.Fault
		}
	}
	return found
}

func TestExamineChangesNothing(t *testing.T) {
	t.Parallel()
	direct := open(t, nil)
	count := func() (n int32) {
		for _, definition := range Tables(direct.prefix) {
			out, err := direct.db.Scan(t.Context(), &dynamodb.ScanInput{TableName: definition.TableName, ConsistentRead: aws.Bool(true)})
			if err != nil {
				t.Fatal(err)
			}
			n += out.Count
		}
		return n
	}
	before := count()
	s, trials := examined(t, Config{Endpoint: dynamotest.Endpoint(t), TablePrefix: direct.prefix})
	if s == nil || len(faults(trials)) > 0 {
		t.Fatalf("%+v", trials)
	}
	for name, says := range map[string]string{
		"endpoint": "private", "network": "connected to", "table " + direct.work: "due/Query", "read": "consistent",
	} {
		if !strings.Contains(trials[name].Detail, says) {
			t.Errorf("%s: %+v", name, trials[name])
		}
	}
	if n := count(); n != before {
		t.Errorf("%d items became %d", before, n)
	}
}

func TestExamineWithoutTables(t *testing.T) {
	t.Parallel()
	prefix := dynamotest.Prefix()
	s, trials := examined(t, Config{Endpoint: dynamotest.Endpoint(t), TablePrefix: prefix})
	found := faults(trials)
	if s != nil || len(found) != len(Tables(""))+1 || found["table "+prefix+TableContacts] != store.FaultMissing {
		t.Errorf("%+v", trials)
	}
}

func TestExamineWithoutServer(t *testing.T) {
	t.Parallel()
	s, trials := examined(t, Config{Endpoint: closedAddress})
	if found := faults(trials); s != nil || len(found) != 1 || found["network"] != store.FaultUnreachable {
		t.Errorf("%+v", trials)
	}
}

// TestExamineNamesWhatIsDenied: what a policy does not allow is named, each
// call of each table, and told apart from a network that does not carry.
func TestExamineNamesWhatIsDenied(t *testing.T) {
	t.Parallel()
	p, _, direct := through(t)
	c := Config{Endpoint: p.url, TablePrefix: direct.prefix}

	p.all(fault{code: "AccessDeniedException", message: "User: r is not authorized to perform: dynamodb:PutItem"}, "PutItem")
	s, trials := examined(t, c)
	work := trials["table "+direct.work]
	if s != nil || work.Fault != store.FaultDenied || !strings.HasPrefix(work.Detail, "not allowed: PutItem (AccessDeniedException: User: r") {
		t.Errorf("%+v", trials)
	}
	if read := trials["read"]; read.Fault != "" || read.Detail == "" {
		t.Errorf("reading is allowed: %+v", read)
	}

	p.follow(func(string) fault {
		return fault{code: "UnrecognizedClientException", message: "The security token is invalid"}
	})
	_, trials = examined(t, c)
	if found := faults(trials); len(found) != 1 || found["table "+direct.contacts] != store.FaultCredentials {
		t.Errorf("%+v", trials)
	}
	p.follow(func(string) fault { return throttled() })
	_, trials = examined(t, c)
	if trials["table "+direct.contacts].Fault != store.FaultBusy {
		t.Errorf("%+v", trials)
	}
}

// TestExamineOfAServerThatHangs up, as a proxy does in front of nothing.
func TestExamineOfAServerThatHangsUp(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	_, trials := examined(t, Config{Endpoint: server.URL})
	if trials["table "+TableContacts].Fault != store.FaultUnreachable || trials["network"].Fault != "" {
		t.Errorf("%+v", trials)
	}
	if _, more := trials["table "+TableWork]; more {
		t.Error("goes on where nothing answers")
	}
}

// TestActionsAreThePolicys: an examination tries what the task role allows, no
// more and no less.
func TestActionsAreThePolicys(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../terraform/modules/data/tables.json")
	if err != nil {
		t.Fatal(err)
	}
	var tables map[string]struct {
		Actions      []string `json:"actions"`
		IndexActions []string `json:"index_actions"`
		Indexes      map[string]any
	}
	if err := json.Unmarshal(text, &tables); err != nil {
		t.Fatal(err)
	}
	all := Actions()
	if len(all) != len(tables) {
		t.Errorf("%d tables, and %d in the policy", len(all), len(tables))
	}
	for name, table := range tables {
		want := slices.Clone(table.Actions)
		for index := range table.Indexes {
			for _, action := range table.IndexActions {
				want = append(want, index+"/"+action)
			}
		}
		got := all[name]
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: tries %q, the policy allows %q", name, got, want)
		}
	}
}
