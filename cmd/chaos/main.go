// Command chaos shows what Postern does when things go wrong: it runs real
// server processes against a scripted relay with a ledger, kills them at every
// step, spoils their store and their relay, counts who got what, and verifies
// the audit trails. The ledger is the truth; nothing of Postern's is asked what
// was in flight. It needs Linux, and finds a DynamoDB Local as the tests do.
// docs/chaos.md says how to read its tables.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"postern/internal/store/dynamo/dynamotest"
)

type options struct {
	seed     uint64
	dir      string
	server   string // the program
	only     string // a store
	step     string // a fault's name
	repeats  int
	people   int
	stops    int
	budget   bool
	takeover bool
}

// Exit codes.
const (
	exitOK     = 0
	exitBroken = 1 // an invariant is, or the harness failed
	exitUsage  = 2
)

func main() {
	if seed, err := strconv.ParseUint(os.Getenv(asRelay), 10, 64); err == nil {
		if err := serveRelay(seed, os.Stdin, os.Stdout); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "chaos: the relay:", err)
			os.Exit(exitBroken)
		}
		os.Exit(exitOK)
	}
	os.Exit(mainRun(os.Args[1:], os.Stdout, os.Stderr))
}

func mainRun(args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Uint64Var(&o.seed, "seed", 1, "of the plan of faults")
	flags.StringVar(&o.dir, "dir", "data/chaos", "directory for logs and stores; emptied first")
	flags.StringVar(&o.server, "server", "", "the server to run; built from the source when empty")
	flags.StringVar(&o.only, "store", "", "embedded or dynamodb; both when empty")
	flags.StringVar(&o.step, "fault", "", "make this fault only, by its name in the table")
	flags.IntVar(&o.repeats, "repeats", 6, "faults in each scenario")
	flags.IntVar(&o.people, "people", 3000, "recipients of a campaign; a third of them on DynamoDB Local, which is slow")
	flags.IntVar(&o.stops, "stops", 0, "only stop tasks cleanly in mid-campaign, so many times")
	flags.BoolVar(&o.budget, "budget", false, "only hold four tasks to a relay's caps, one killed, one added")
	flags.BoolVar(&o.takeover, "takeover", false, "only measure how soon a dead task's chunk is taken over")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	began := time.Now()
	err := withGround(ctx, o, stdout, chosen(o))
	_, _ = fmt.Fprintf(stdout, "\nseed %d, %s\n", o.seed, time.Since(began).Round(time.Second))
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "chaos: %v\nLogs are in %s. The same plan of faults again: go run ./cmd/chaos -seed %d\n", err, o.dir, o.seed)
		return exitBroken
	}
	return exitOK
}

// mode is what the harness does.
type mode func(context.Context, *ground) error

func chosen(o options) mode {
	switch {
	case o.stops > 0:
		return stops
	case o.budget:
		return budgets
	case o.takeover:
		return takeovers
	default:
		return all
	}
}

// ground is what a mode works on.
type ground struct {
	options

	out      io.Writer
	binary   string
	dynamoDB string
}

// withGround builds the server, starts a DynamoDB Local, and goes on with the
// mode.
func withGround(ctx context.Context, o options, out io.Writer, m mode) (err error) {
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	o.dir = dir
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	g := &ground{options: o, out: out, binary: o.server}
	if g.binary == "" {
		g.binary = filepath.Join(dir, "server")
		if err := build(ctx, g.binary); err != nil {
			return err
		}
	}
	endpoint, stop, err := dynamotest.Run(ctx, "")
	if err != nil {
		return fmt.Errorf("no DynamoDB Local to be had: %w", err)
	}
	defer func() { err = errors.Join(err, stop(context.WithoutCancel(ctx))) }()
	g.dynamoDB = endpoint
	return m(ctx, g)
}

func build(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "postern/cmd/server") //nolint:gosec // G204: a path of our own
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return nil
}

// fleet starts a fleet on the ground.
func (g *ground) fleet(ctx context.Context, cfg fleetConfig) (*fleet, error) {
	cfg.binary, cfg.dir = g.binary, filepath.Join(g.dir, cfg.name)
	return startFleet(ctx, cfg)
}

func (g *ground) say(format string, args ...any) { _, _ = fmt.Fprintf(g.out, format+"\n", args...) }
