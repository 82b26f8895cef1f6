package dynamo

import (
	"fmt"
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
	// testcontainers' link to its reaper lasts as long as the process.
	reaper := goleak.IgnoreAnyFunction("github.com/testcontainers/testcontainers-go.(*Reaper).connect.func1")
	if err := goleak.Find(reaper); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
