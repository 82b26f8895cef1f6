package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"postern/internal/app"
	"postern/internal/config"
	"postern/internal/doctor"
)

// stepTimeout is how long a relay is waited for at each step: relays that make
// clients wait on purpose take a few seconds.
const stepTimeout = 10 * time.Second

// diagnose finds out why mail does not flow. It needs no shell and no other
// tool, and works beside a server that runs.
func diagnose(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	asJSON, examination, err := diagnoseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "server doctor:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	checks := examine(ctx, getenv, examination)
	if err := report(stdout, checks, asJSON); err != nil {
		_, _ = fmt.Fprintln(stderr, "server doctor:", err)
		return exitFailed
	}
	if !doctor.Healthy(checks) {
		return exitFailed
	}
	return exitOK
}

func diagnoseFlags(args []string, stderr io.Writer) (asJSON bool, x app.Examination, err error) {
	flags := flag.NewFlagSet("server doctor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	relay := flags.String("relay", "", "`host:port` of another relay than the default one; it is not logged in to")
	flags.StringVar(&x.From, "mail-from", "", "ask the relay whether it takes this sender's `address`; no message is sent")
	flags.StringVar(&x.To, "rcpt-to", "", "and this recipient's `address`; needs -mail-from")
	flags.Int64Var(&x.LetterBytes, "letter-bytes", 0, "size of a whole message to be judged, in `octets`")
	flags.DurationVar(&x.StepTimeout, "timeout", stepTimeout, "how long to wait for each step of a relay's")
	if err = flags.Parse(args); err != nil {
		return false, x, err
	}
	if flags.NArg() > 0 {
		return false, x, fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	if x.To != "" && x.From == "" {
		return false, x, errors.New("-rcpt-to needs -mail-from")
	}
	if *relay == "" {
		return asJSON, x, nil
	}
	host, port, err := net.SplitHostPort(*relay)
	if err == nil {
		x.Host = host
		x.Port, err = strconv.Atoi(port)
	}
	if err != nil {
		return false, x, fmt.Errorf("-relay must be host:port: %w", err)
	}
	return asJSON, x, nil
}

// examine looks at the configuration first: with faults in it there is nothing
// else to look at.
func examine(ctx context.Context, getenv func(string) string, x app.Examination) []doctor.Check {
	cfg, err := config.Load(getenv)
	if err == nil {
		return app.Examine(ctx, cfg, x)
	}
	steps := []doctor.Step{{Name: "variables", State: doctor.Failed, Detail: err.Error()}}
	if faulty, is := errors.AsType[*config.Error](err); is {
		steps = nil
		for _, f := range faulty.Faults {
			steps = append(steps, doctor.Step{
				Name: f.Name, State: doctor.Failed, Detail: f.Rule, Hint: "`server -h` explains the variables.",
			})
		}
	}
	return []doctor.Check{doctor.NewCheck("configuration", steps)}
}

func report(w io.Writer, checks []doctor.Check, asJSON bool) error {
	if !asJSON {
		return doctor.Write(w, checks)
	}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(map[string]any{"ok": doctor.Healthy(checks), "checks": checks})
}
