// Command server is Postern: an HTTP service that sends personalised bulk
// mail through an SMTP relay and remembers what became of every recipient.
// It is configured by the environment; `server -h` prints the variables.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"postern/internal/app"
	"postern/internal/config"
	"postern/internal/listen"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	// exitUnsigned: an audit trail is unbroken, and not all of it signed.
	exitUnsigned = 3
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "":
		return serve(getenv, stderr)
	case "healthcheck":
		return healthcheck(args[1:], getenv, stdout, stderr)
	case "audit":
		return auditTrail(args[1:], getenv, stdout, stderr)
	case "doctor":
		return diagnose(args[1:], getenv, stdout, stderr)
	case "token":
		return makeToken(args[1:], stdout, stderr)
	case "version", "-version", "--version":
		_, _ = fmt.Fprintln(stdout, version())
		return exitOK
	case "-h", "-help", "--help", "help":
		usage(stdout)
		return exitOK
	default:
		_, _ = fmt.Fprintf(stderr, "server: unknown command %q; `server -h` lists them\n", command)
		return exitUsage
	}
}

func usage(w io.Writer) {
	_, _ = fmt.Fprint(w, `Postern sends personalised bulk mail through an SMTP relay and remembers what
became of every recipient.

Usage:
  server              serve the API and send, until SIGTERM or SIGINT
  server healthcheck  ask the server on LISTEN_ADDR whether it lives; exit 0 or 1
  server audit        check what was sent and by whom; server audit -h says how
  server doctor       find out why mail does not flow: store and relay step by
                      step, with what to look at; server doctor -h has the flags
  server token        make a token for callers; server token -h says how
  server version      print the version
  server -h           print this

Configuration, by environment:

`)
	config.Usage(w)
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "postern (unknown build)"
	}
	text := "postern " + info.Main.Version + " " + info.GoVersion
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			text += " " + s.Value
		}
	}
	return text
}

func serve(getenv func(string) string, stderr io.Writer) int {
	cfg, err := config.Load(getenv)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "server: %v\n\n`server -h` explains the variables.\n", err)
		return exitUsage
	}
	logs := logWriter(stderr)
	log := zerolog.New(logs).With().Timestamp().Logger()
	if err := forbidCoreDumps(); err != nil {
		log.Warn().Err(err).Msg("core dumps could not be switched off")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	a, err := app.Start(ctx, cfg, logs)
	if err != nil {
		log.Error().Err(err).Msg("postern could not start")
		return exitFailed
	}
	if err := a.Run(ctx); err != nil {
		log.Error().Err(err).Msg("postern did not stop cleanly")
		return exitFailed
	}
	return exitOK
}

// logWriter takes lines of JSON, and makes lines for people of them where
// stderr is a terminal.
func logWriter(stderr io.Writer) io.Writer {
	if f, ok := stderr.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return zerolog.ConsoleWriter{Out: f, TimeFormat: time.TimeOnly}
		}
	}
	return stderr
}

// healthcheck is for containers without a shell or curl in them.
func healthcheck(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		return healthcheckUsage(args[0], stdout, stderr)
	}
	cfg, err := config.Load(getenv)
	if err == nil {
		err = askHealth(cfg)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "server healthcheck:", err)
		return exitFailed
	}
	return exitOK
}

func healthcheckUsage(arg string, stdout, stderr io.Writer) int {
	switch arg {
	case "-h", "-help", "--help", "help":
		_, _ = fmt.Fprint(stdout, "Usage:\n  server healthcheck  ask the server on LISTEN_ADDR whether it lives; exit 0 or 1.\n"+
			"                      It takes the server's own configuration, and no arguments\n")
		return exitOK
	default:
		_, _ = fmt.Fprintf(stderr, "server healthcheck: there is nothing to do with %q\n", arg)
		return exitUsage
	}
}

func askHealth(cfg config.Config) error {
	address, dialTLS, err := listen.HealthCheck(cfg, "/healthz")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	ask := http.Client{Transport: &http.Transport{DialTLSContext: dialTLS, DisableKeepAlives: true}}
	resp, err := ask.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errors.New("answered " + resp.Status)
	}
	return nil
}
