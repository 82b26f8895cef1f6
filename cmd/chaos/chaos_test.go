package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/store/dynamo/dynamotest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asRelay) != "" {
		main()
	}
	code := m.Run()
	dynamotest.Stop()
	if code == 0 {
		if err := leaks(); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

// leaks are goroutines that are still there. Those of connections whose process
// is gone end a moment later, on a busy machine a longer one than goleak waits.
func leaks() (err error) {
	// testcontainers' link to its reaper lasts as long as the process.
	reaper := goleak.IgnoreAnyFunction("github.com/testcontainers/testcontainers-go.(*Reaper).connect.func1")
	for end := time.Now().Add(3 * time.Second); ; {
		if err = goleak.Find(reaper); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// testWithin bounds a run.
const testWithin = 12 * time.Minute

// testGround is the ground of a short run: a server is built, and a DynamoDB
// Local found.
func testGround(t *testing.T) (context.Context, *ground) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	t.Cleanup(cancel)
	// Not t.TempDir: where the run fails, the logs of the tasks are wanted.
	dir, err := os.MkdirTemp("", "chaos-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	g := &ground{options: options{seed: 1, dir: dir}, out: t.Output(), binary: filepath.Join(dir, "server")}
	if err := build(ctx, g.binary); err != nil {
		t.Fatal(err)
	}
	g.dynamoDB = dynamotest.Endpoint(t)
	return ctx, g
}

// TestChaos is a short run of the harness on both stores and with both
// promises; `make chaos` is the long one.
func TestChaos(t *testing.T) {
	t.Parallel()
	ctx, g := testGround(t)
	shorts := []assignment{
		short(g, fleetConfig{name: "embedded", tasks: 1, people: 600}, []kind{atDot, cut, unstored}, []kind{stopping, unanswer}),
		short(g, fleetConfig{name: "dynamodb", tasks: 2, people: 300, dynamoDB: g.dynamoDB}, []kind{cut, unstored}, []kind{unanswer}),
	}
	for _, a := range shorts {
		t.Run(a.fleet.name, func(t *testing.T) {
			t.Parallel()
			kills, apart, trails := 0, 0, 0
			err := g.work(ctx, a, func(r row) {
				kills, apart, trails = kills+sum(r.kills), apart+sum(r.apart), trails+r.trails
				t.Logf("%s: %d kills at a task with an open transaction, %d messages to %d recipients, %d lost, %d duplicates of at most %d, %d unknown, %d audit trails verified, signed within %s",
					r.promise, sum(r.kills), r.messages, r.recipients, r.lost, r.duplicates, r.bound, r.unknown, r.trails, r.unsigned.Round(time.Millisecond))
				for _, v := range r.violations {
					t.Error(v)
				}
			})
			if err != nil {
				t.Fatalf("%v\nLogs are in %s.", err, g.dir)
			}
			if want := 4 / a.fleet.tasks; kills == 0 || kills+apart < want {
				t.Errorf("%d kills have hit a task with an open transaction and %d another; want %d", kills, apart, want)
			}
			if trails < len(a.scenarios) {
				t.Errorf("%d audit trails were verified; want one of each of %d scenarios at least", trails, len(a.scenarios))
			}
		})
	}
}

// short is a fleet with a scenario for each promise.
func short(g *ground, cfg fleetConfig, atLeast, atMost []kind) assignment {
	cfg.pace, cfg.seed = relayPace, g.seed
	p := newPlanner(g.seed, uint64(cfg.tasks), cfg.dynamoDB == "")
	a := assignment{fleet: cfg, scenarios: []scenario{{name: mixed, promise: atLeastOnce}, {name: mixed, promise: atMostOnce}}}
	for i, kinds := range [][]kind{atLeast, atMost} {
		for _, k := range kinds {
			a.scenarios[i].faults = append(a.scenarios[i].faults, p.fault(k))
		}
	}
	return a
}

// TestOwner finds the process behind a connection.
func TestOwner(t *testing.T) {
	t.Parallel()
	r, err := startRelayProcess(1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	c := dial(t, r.port)
	pids := []int{r.child.pid(), os.Getpid()}
	pid, err := ownerOf(c.LocalAddr().String(), c.RemoteAddr().String(), pids)
	for range 50 { // a table that changes while it is read may lack a line
		if err == nil {
			break
		}
		pid, err = ownerOf(c.LocalAddr().String(), c.RemoteAddr().String(), pids)
	}
	if err != nil || pid != os.Getpid() {
		t.Errorf("process %d, %v; want %d", pid, err, os.Getpid())
	}
	if pid, err := ownerOf(c.LocalAddr().String(), c.RemoteAddr().String(), []int{r.child.pid()}); err == nil {
		t.Errorf("process %d is said to own a connection of another's", pid)
	}
}

// TestPlanIsRepeatable: a seed gives the same faults every time, and another
// seed others.
func TestPlanIsRepeatable(t *testing.T) {
	t.Parallel()
	plan := func(seed uint64) string {
		var b bytes.Buffer
		for _, f := range newPlanner(seed, 3, false).mix(40, atLeastOnce).faults {
			b.WriteString(string(f.kind) + strconv.Itoa(f.skip) + f.wait.String() + f.span.String() + "\n")
		}
		return b.String()
	}
	first := plan(5)
	if again := plan(5); again != first {
		t.Error("one seed, two plans")
	}
	if plan(6) == first {
		t.Error("two seeds, one plan")
	}
}
