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
	process.once.Do(func() { process.server, process.err = run(context.Background(), "") })
	if process.err != nil {
		t.Fatal(process.err)
	}
	t.Logf("DynamoDB Local at %s, %s", process.server.endpoint, process.server.way)
	return process.server.endpoint
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
// that EnvEndpoint names, and gives its base URL and what stops it. A server
// that it starts runs on the processors that cpus lists as taskset and Docker
// do ("0", "0-2"), on any where it is empty. The error says what was tried.
func Run(ctx context.Context, cpus string) (endpoint string, stop func(context.Context) error, err error) {
	s, err := run(ctx, cpus)
	if err != nil {
		return "", nil, err
	}
	if s.stop == nil {
		s.stop = func(context.Context) error { return nil }
	}
	return s.endpoint, s.stop, nil
}

// run says what it has found, or what can be done.
func run(ctx context.Context, cpus string) (server, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	s, err := start(ctx, cpus)
	if err != nil {
		return server{}, fmt.Errorf(`no DynamoDB Local. One of three is needed:
  1. %s=http://host:port of one that runs,
  2. a Docker engine that answers and can get %s,
  3. npm and java, for the npm package %s.
What was tried: %w`, EnvEndpoint, image, npmPackage, err)
	}
	fmt.Fprintf(os.Stderr, "dynamotest: DynamoDB Local at %s, %s\n", s.endpoint, s.way)
	return s, nil
}

// Prefix gives a prefix for tables that no other test has.
func Prefix() string { return "test-" + rand.Text()[:12] + "-" }

// start takes the first way that works.
func start(ctx context.Context, cpus string) (server, error) {
	if endpoint := os.Getenv(EnvEndpoint); endpoint != "" {
		given := server{endpoint: endpoint, way: "given by " + EnvEndpoint}
		return given, awaitAnswer(ctx, endpoint, nil)
	}
	container, dockerErr := startContainer(ctx, cpus)
	if dockerErr == nil {
		return container, nil
	}
	jar, jarErr := startJar(ctx, cpus)
	if jarErr == nil {
		return jar, nil
	}
	return server{}, errors.Join(fmt.Errorf("docker: %w", dockerErr), fmt.Errorf("npm and java: %w", jarErr))
}

// awaitAnswer asks until the server answers at all: it has no page to give,
// so any status will do. Gone is closed when the server, a child of this
// process, has ended: its port was free before it began, and others may be
// faster, so what answers there must be a DynamoDB.
func awaitAnswer(ctx context.Context, endpoint string, gone <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		header, err := ask(ctx, client, endpoint)
		if err == nil && gone != nil && header.Get("X-Amzn-Requestid") == "" {
			err = errors.New("another server has the port")
		}
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

func ask(ctx context.Context, client *http.Client, endpoint string) (http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	return response.Header, response.Body.Close()
}
