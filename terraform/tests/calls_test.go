package tests

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
	"postern/internal/store/dynamo"
	"postern/internal/store/dynamo/dynamotest"
	"postern/internal/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	dynamotest.Stop()
	os.Exit(code)
}

// recorder stands before DynamoDB Local and notes what is done to which
// resource, as IAM names it.
type recorder struct {
	prefix string
	refuse string // an operation that is refused, for what is done about it
	mu     sync.Mutex
	seen   map[string]map[string]bool // actions by table, or table/index/name
}

func (r *recorder) note(resource, action string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	resource = strings.TrimPrefix(resource, r.prefix)
	if r.seen[resource] == nil {
		r.seen[resource] = map[string]bool{}
	}
	r.seen[resource][action] = true
}

// call is the part of a request that says what it is about.
type call struct {
	TableName     string
	IndexName     string
	RequestItems  map[string]json.RawMessage
	TransactItems []map[string]struct{ TableName string }
}

// observe notes a request. A transaction needs the permission of each of its
// parts, and none of its own.
func (r *recorder) observe(operation string, c call) {
	switch {
	case len(c.TransactItems) > 0:
		for _, part := range c.TransactItems {
			for kind, of := range part {
				r.note(of.TableName, partAction[kind])
			}
		}
	case len(c.RequestItems) > 0:
		for name := range c.RequestItems {
			r.note(name, operation)
		}
	case c.IndexName != "":
		r.note(c.TableName+"/index/"+c.IndexName, operation)
	default:
		r.note(c.TableName, operation)
	}
}

var partAction = map[string]string{
	"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem",
}

func (r *recorder) before(t *testing.T, endpoint string) string {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		var c call
		if err := json.Unmarshal(body, &c); err != nil {
			t.Errorf("a request that is not understood: %v", err)
		}
		_, operation, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
		r.observe(operation, c)
		if operation == r.refuse {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"com.amazon.coral.validate#ValidationException","message":"refused"}`)
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// log is what stores did, behind recorders.
type log struct {
	endpoint string
	mu       sync.Mutex
	all      []*recorder
}

// open gives a store whose calls are recorded, on tables that are there.
func (l *log) open(t *testing.T, prefix, refuse string) store.Store {
	t.Helper()
	r := &recorder{prefix: prefix, refuse: refuse, seen: map[string]map[string]bool{}}
	l.mu.Lock()
	l.all = append(l.all, r)
	l.mu.Unlock()
	s, err := dynamo.Open(t.Context(), dynamo.Config{Endpoint: r.before(t, l.endpoint), TablePrefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newTables makes tables of a prefix of their own. Terraform makes them on
// AWS, so this is not recorded.
func (l *log) newTables(t *testing.T) (prefix string) {
	t.Helper()
	prefix = dynamotest.Prefix()
	s, err := dynamo.Open(t.Context(), dynamo.Config{Endpoint: l.endpoint, TablePrefix: prefix, CreateTables: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return prefix
}

func (l *log) seen() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, r := range l.all {
		for resource, actions := range r.seen {
			if all[resource] == nil {
				all[resource] = map[string]bool{}
			}
			maps.Copy(all[resource], actions)
		}
	}
	return all
}

// TestPermissions: the task role allows the calls that the store makes, and
// no other. They are seen in the contract's tests, and in the two things that
// those do not do.
func TestPermissions(t *testing.T) { //nolint:tparallel // the group has to end before what it did is compared
	t.Parallel()
	l := &log{endpoint: dynamotest.Endpoint(t)}
	// In a group, which ends when its parallel tests have ended.
	t.Run("calls", func(t *testing.T) {
		t.Run("contract", l.contract)
		t.Run("a campaign that fails", l.campaignThatFails)
		t.Run("a contact of another program", l.foreignContact)
	})
	want := map[string][]string{}
	for name, table := range readTables(t) {
		want[name] = table.Actions
		for index := range table.Indexes {
			want[name+"/index/"+index] = table.IndexActions
		}
	}
	seen := l.seen()
	for resource, actions := range want {
		if got := slices.Sorted(maps.Keys(seen[resource])); !slices.Equal(got, slices.Sorted(slices.Values(actions))) {
			t.Errorf("%s: the role allows %q, the store calls %q", resource, actions, got)
		}
	}
	for resource := range seen {
		if _, ok := want[resource]; !ok {
			t.Errorf("%s: the store uses it, the role knows nothing of it", resource)
		}
	}
}

func (l *log) contract(t *testing.T) {
	t.Parallel()
	var prefixes sync.Map // of stores
	open := func(t *testing.T, prefix string) store.Store {
		t.Helper()
		s := l.open(t, prefix, "")
		prefixes.Store(s, prefix)
		return s
	}
	storetest.Harness{
		Open: func(t *testing.T) store.Store { return open(t, l.newTables(t)) },
		Reopen: func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			prefix, _ := prefixes.Load(s)
			return open(t, prefix.(string))
		},
	}.Run(t)
}

// campaignThatFails: reservation and content are cleared away.
func (l *log) campaignThatFails(t *testing.T) {
	t.Parallel()
	s := l.open(t, l.newTables(t), "TransactWriteItems")
	_, _, err := s.CreateCampaign(t.Context(), store.NewCampaign{
		Campaign: campaign.Campaign{ID: "c", Status: campaign.StatusPending, CreatedAt: time.Now()},
		Content:  map[string][]byte{"letter": []byte("text")},
	})
	if err == nil {
		t.Error("the campaign was made")
	}
}

// foreignContact: one whose key has an upper-case letter moves when a task
// opens the table.
func (l *log) foreignContact(t *testing.T) {
	t.Parallel()
	prefix := l.newTables(t)
	l.call(t, "PutItem", `{"TableName":"`+prefix+dynamo.TableContacts+`","Item":{"email":{"S":"Ada@example.org"}}}`)
	// The tables' maker has noted that there are no such contacts.
	l.call(t, "DeleteItem", `{"TableName":"`+prefix+dynamo.TableWork+`","Key":{"pk":{"S":"adopted"},"sk":{"S":"`+dynamo.TableContacts+`"}}}`)
	s := l.open(t, prefix, "")
	found, err := s.GetContacts(t.Context(), []string{"ada@example.org"})
	if err != nil || len(found) != 1 {
		t.Errorf("the contact under its own key: %v, %v", found, err)
	}
}

// call does what another program did, past the store.
func (l *log) call(t *testing.T, operation, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{
		"Content-Type": {"application/x-amz-json-1.0"},
		"X-Amz-Target": {"DynamoDB_20120810." + operation},
		// It looks for a signature and does not verify it.
		"Authorization": {"AWS4-HMAC-SHA256 Credential=local/20260101/local/dynamodb/aws4_request, SignedHeaders=host, Signature=0"},
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", operation, response.Status)
	}
}
