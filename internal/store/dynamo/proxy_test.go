package dynamo

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/internal/store/dynamo/dynamotest"
)

// proxy stands before DynamoDB Local and spoils answers by script.
type proxy struct {
	url  string
	to   string
	mu   sync.Mutex
	plan func(op string) fault
	seen map[string]int // requests by operation, since the plan was made
}

// fault is what happens to a request. The zero fault is none.
type fault struct {
	// drop closes the connection after the server has applied the request.
	drop bool
	// code and message are an error's, answered in place of the server.
	code, message string
	// more is added to the JSON of the error.
	more string
}

func throttled() fault {
	return fault{code: "ProvisionedThroughputExceededException", message: "slow down"}
}

// cancelled is a transaction's end for a reason, the same for its two parts.
func cancelled(reason string) fault {
	return fault{
		code: "TransactionCanceledException", message: "Transaction cancelled",
		more: fmt.Sprintf(`,"CancellationReasons":[{"Code":%q,"Message":"m"},{"Code":"None"}]`, reason),
	}
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{to: dynamotest.Endpoint(t)}
	p.follow(nil)
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// follow makes a plan for the requests from now on; nil for none.
func (p *proxy) follow(plan func(op string) fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan, p.seen = plan, map[string]int{}
}

// first spoils the first n requests of an operation.
func (p *proxy) first(n int, op string, f fault) {
	p.follow(func(got string) fault {
		if got == op && p.seen[op] <= n {
			return f
		}
		return fault{}
	})
}

// all spoils every request of the operations.
func (p *proxy) all(f fault, ops ...string) {
	p.follow(func(got string) fault {
		if slices.Contains(ops, got) {
			return f
		}
		return fault{}
	})
}

func (p *proxy) count(op string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[op]
}

func (p *proxy) next(op string) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[op]++
	if p.plan == nil {
		return fault{}
	}
	return p.plan(op)
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	f := p.next(op)
	if f.code != "" {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":%q%s}`, f.code, f.message, f.more)
		return
	}
	request, err := http.NewRequestWithContext(r.Context(), r.Method, p.to, r.Body)
	if err != nil {
		panic(err)
	}
	request.Header, request.ContentLength = r.Header.Clone(), r.ContentLength
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || f.drop {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), response.Header)
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(body)
}

// through opens a store behind a proxy, and one beside it for looking.
func through(t *testing.T) (*proxy, *Store, *Store) {
	t.Helper()
	direct := open(t, nil)
	p := newProxy(t)
	client := dynamodb.New(direct.db.Options(), func(o *dynamodb.Options) {
		o.BaseEndpoint = aws.String(p.url)
		o.Retryer = retry.AddWithMaxAttempts(newRetryer(), 3) // the rest would be more waiting
	})
	s := open(t, func(c *Config) { c.Client, c.TablePrefix, c.CreateTables = client, direct.prefix, false })
	return p, s, direct
}
