package dynamo

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"

	"postern/internal/store/dynamo/dynamotest"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	code := m.Run()
	dynamotest.Stop()
	if code != 0 {
		return code
	}
	// The proxies' connections to the server, which ends on a machine that is busy
	// with more than this: each look takes half a second where there is something.
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	// testcontainers' link to its reaper lasts as long as the process.
	reaper := goleak.IgnoreAnyFunction("github.com/testcontainers/testcontainers-go.(*Reaper).connect.func1")
	err := goleak.Find(reaper)
	for looks := 1; err != nil && looks < 20; looks++ {
		err = goleak.Find(reaper)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
