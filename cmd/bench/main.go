// Command bench measures Postern beside what else puts mail on a relay, in one
// run and with the contenders taking turns: Postern's mailer alone, whole
// campaigns through the API of a real server process on both stores, Postfix's
// smtp-source, and the loops that users of net/smtp and go-simple-mail would
// write. The relay is Postfix's smtp-sink for all of them.
//
// Each contender runs in a process of its own: the program starts itself again
// under the name "contender", so that processor time and memory are that
// contender's alone. Only ratios within a run mean anything.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// options are what the command line says.
type options struct {
	dir    string
	out    string
	from   string
	quick  bool
	rounds int
	parts  string
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(args) == 2 && args[0] == contenderCommand {
		return report(stderr, contend(ctx, args[1], stdout, stderr))
	}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.dir, "dir", "data/bench", "directory for stores, profiles and results; emptied first")
	flags.StringVar(&o.out, "out", "", "directory for performance.md, .svg and .json; none are written without it")
	flags.StringVar(&o.from, "from", "", "performance.json of an earlier run, of which the parts are measured anew; without -parts none are")
	flags.BoolVar(&o.quick, "quick", false, "minutes instead of most of an hour: fewer sizes, shorter, without the million contacts")
	flags.IntVar(&o.rounds, "rounds", 3, "times that each contender has its turn; short turns come twice as often")
	flags.StringVar(&o.parts, "parts", "", "what to measure, by commas, of "+strings.Join(allParts, ", ")+"; all where it is empty")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	return report(stderr, bench(ctx, o, stdout))
}

func report(stderr io.Writer, err error) int {
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// bench measures, or reads what was measured, and says what it found.
func bench(ctx context.Context, o options, stdout io.Writer) error {
	if o.out != "" { // before an hour's work
		if err := os.MkdirAll(o.out, 0o755); err != nil { //nolint:gosec // G301: documentation
			return err
		}
	}
	r, err := obtain(ctx, o, stdout)
	if err != nil {
		return err
	}
	if err := printBars(stdout, r.Bars()); err != nil {
		return err
	}
	if o.out == "" {
		return nil
	}
	if err := r.writeFiles(o.out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Written: %s, %s and %s\n", pageName, pictureName, dataName)
	return err
}

// obtain takes what an earlier run has measured, if one is named, and measures
// the rest.
func obtain(ctx context.Context, o options, stdout io.Writer) (*results, error) {
	earlier := &results{}
	if o.from != "" {
		var err error
		if earlier, err = readResults(o.from); err != nil || o.parts == "" {
			return earlier, err
		}
	}
	return measure(ctx, o, earlier, stdout)
}
