// Package dynamotest finds a DynamoDB Local for tests: the one that
// DYNAMODB_ENDPOINT names, or a container, or the jar out of an npm package
// run by Java. A test process has at most one; each test keeps its tables
// apart by a prefix of its own.
package dynamotest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"
)

// EnvEndpoint names a DynamoDB Local that runs already, as a base URL.
const EnvEndpoint = "DYNAMODB_ENDPOINT"

// Bounds of starting a server. The first start may have to fetch it.
const (
	startWithin  = 5 * time.Minute
	answerWithin = time.Minute
	stopWithin   = 20 * time.Second
)

// server is a DynamoDB Local with how it was come by.
type server struct {
	endpoint string
	way      string
	stop     func(context.Context) error
}

// process is the server of this test process: tests of a package run in one,
// and starting takes seconds, so it is shared. It is started by the first
// test that needs it.
var process struct {
	once   sync.Once
	server server
	err    error
}

// Endpoint gives the base URL of a DynamoDB Local. It ends the test with what
// can be done when there is none; it never skips.
func Endpoint(t testing.TB) string {
	t.Helper()
	endpoint, err := Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("DynamoDB Local at %s, %s", endpoint, process.server.way)
	return endpoint
}

// Start is Endpoint for what is no test: it gives the base URL, or an error
// that says what can be done. Stop ends it.
func Start(ctx context.Context) (endpoint string, err error) {
	process.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, startWithin)
		defer cancel()
		process.server, process.err = start(ctx)
		if process.err == nil {
			fmt.Fprintf(os.Stderr, "dynamotest: DynamoDB Local at %s, %s\n", process.server.endpoint, process.server.way)
		}
	})
	if process.err != nil {
		return "", fmt.Errorf(`no DynamoDB Local. One of three is needed:
  1. %s=http://host:port of one that runs,
  2. a Docker engine that answers and can get %s,
  3. npm and java, for the npm package %s.
What was tried: %w`, EnvEndpoint, image, npmPackage, process.err)
	}
	return process.server.endpoint, nil
}

// Stop ends the server that this process has started, if any. TestMain calls
// it after the tests have run.
func Stop() {
	process.once.Do(func() { process.err = errors.New("dynamotest: stopped") })
	if process.server.stop == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if err := process.server.stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "dynamotest: stopping DynamoDB Local:", err)
	}
}

// Run starts a DynamoDB Local for a program that is no test, or finds the one
// that EnvEndpoint names, and gives its base URL and what stops it. The error
// says what was tried.
func Run(ctx context.Context) (endpoint string, stop func(context.Context) error, err error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	s, err := start(ctx)
	if err != nil {
		return "", nil, err
	}
	if s.stop == nil {
		s.stop = func(context.Context) error { return nil }
	}
	return s.endpoint, s.stop, nil
}

// Prefix gives a prefix for tables that no other test has.
func Prefix() string { return "test-" + rand.Text()[:12] + "-" }

// start takes the first way that works.
func start(ctx context.Context) (server, error) {
	if endpoint := os.Getenv(EnvEndpoint); endpoint != "" {
		given := server{endpoint: endpoint, way: "given by " + EnvEndpoint}
		return given, awaitAnswer(ctx, endpoint, nil)
	}
	container, dockerErr := startContainer(ctx)
	if dockerErr == nil {
		return container, nil
	}
	jar, jarErr := startJar(ctx)
	if jarErr == nil {
		return jar, nil
	}
	return server{}, errors.Join(fmt.Errorf("docker: %w", dockerErr), fmt.Errorf("npm and java: %w", jarErr))
}

// awaitAnswer asks until the server answers at all: it has no page to give,
// so any status will do. Gone is closed when the server has ended.
func awaitAnswer(ctx context.Context, endpoint string, gone <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx, client, endpoint)
		if err == nil {
			return nil
		}
		select {
		case <-gone:
			return errors.New("it ended by itself")
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", endpoint, err)
		case <-tick.C:
		}
	}
}

func ask(ctx context.Context, client *http.Client, endpoint string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	return response.Body.Close()
}
