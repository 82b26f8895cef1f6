package app_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"postern/internal/store/dynamo/dynamotest"
)

// between stands before DynamoDB Local and can be told to spoil what passes.
type between struct {
	proxy http.Handler

	mu    sync.Mutex
	spoil http.HandlerFunc // nil for a DynamoDB that is well
	over  chan struct{}    // closed when the spoiling is over
}

// startBetween gives the environment of a service on DynamoDB behind it.
func startBetween(t *testing.T) (*between, map[string]string) {
	t.Helper()
	to, err := url.Parse(dynamotest.Endpoint(t))
	if err != nil {
		t.Fatal(err)
	}
	b := &between{proxy: &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ErrorLog: log.New(io.Discard, "", 0), // of requests that their client has given up
	}}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	t.Cleanup(func() { b.behave() })
	env := dynamoDB(t)
	env["DYNAMODB_ENDPOINT"] = server.URL
	return b, env
}

func (b *between) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	spoil := b.spoil
	b.mu.Unlock()
	if spoil == nil {
		spoil = b.proxy.ServeHTTP
	}
	spoil(w, r)
}

func (b *between) set(spoil http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over != nil {
		close(b.over)
		b.over = nil
	}
	b.spoil = spoil
}

// behave lets everything pass again.
func (b *between) behave() { b.set(nil) }

// hang is a DynamoDB that is stopped (SIGSTOP): it takes requests, and answers
// none.
func (b *between) hang() {
	b.set(nil)
	over := make(chan struct{})
	b.set(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-over:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = over
}

// cut is a DynamoDB that is gone: connections end.
func (b *between) cut() {
	b.set(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// throttle refuses every second request of an operation for its rate.
func (b *between) throttle(operation string) {
	var mu sync.Mutex
	odd := false
	b.set(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "."+operation) {
			mu.Lock()
			odd = !odd
			refuse := odd
			mu.Unlock()
			if refuse {
				w.Header().Set("Content-Type", "application/x-amz-json-1.0")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}`))
				return
			}
		}
		b.proxy.ServeHTTP(w, r)
	})
}
