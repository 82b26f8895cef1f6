// Command demo shows Postern's main job on one machine: it starts the service
// on the embedded store and a relay that captures mail, imports contacts with
// names from many scripts, sends them a campaign with two attachments, follows
// it to its end, and verifies what the relay has caught. With -keep the
// service and the relay stay up afterwards.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"postern/internal/client"
)

type options struct {
	dir      string
	contacts int
	rate     int
	keep     bool
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.dir, "dir", "data/demo", "directory for the store, the log and the captured mail; emptied first")
	flags.IntVar(&o.contacts, "contacts", 500, "number of contacts")
	flags.IntVar(&o.rate, "rate", 150, "messages a second, so that there is something to watch; 0 for no limit")
	flags.BoolVar(&o.keep, "keep", false, "keep the service and the relay running, on the default ports")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := demonstrate(ctx, o, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, "\ndemo:", err)
		return 1
	}
	return 0
}

func demonstrate(ctx context.Context, o options, out io.Writer) (err error) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }

	stage, err := setStage(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	say("Postern is up at %s (metrics at %s/metrics, log in %s)", stage.url, stage.metricsURL, stage.logPath)
	say("A relay that captures mail listens on %s, with STARTTLS and a password", stage.relay.Addr())

	people, err := loadPeople(o.contacts)
	if err != nil {
		return err
	}
	c := client.Client{Base: stage.url}
	if err := c.Import(ctx, people); err != nil {
		return err
	}
	say("Imported %d contacts, such as %s %s and %s %s", len(people),
		people[0]["first_name"], people[0]["last_name"], people[10]["first_name"], people[10]["last_name"])

	final, err := sendLetter(ctx, c, out)
	if err != nil {
		return err
	}
	report, err := verify(stage.relay, people)
	if err != nil {
		return fmt.Errorf("what the relay caught is not what was sent: %w", err)
	}
	say("Verified: %s", report)
	if final.Sent != len(people) {
		return fmt.Errorf("the service counts %d sent of %d", final.Sent, len(people))
	}
	if err := stage.saveMail(); err != nil {
		return err
	}
	stage.explain(say, final.ID, o.keep)
	if o.keep {
		return stage.keep(ctx)
	}
	return nil
}

// sendLetter submits the campaign and follows it to its end.
func sendLetter(ctx context.Context, c client.Client, out io.Writer) (client.Status, error) {
	campaign, err := letter()
	if err != nil {
		return client.Status{}, err
	}
	id, err := c.Submit(ctx, campaign)
	if err != nil {
		return client.Status{}, err
	}
	_, _ = fmt.Fprintf(out, "Campaign %s is accepted: an HTML letter with leaflet.pdf and emblem.png\n", id)
	b := newBar(out)
	defer b.end()
	s, err := c.Follow(ctx, id, func(s client.Status) error {
		b.draw(s)
		return nil
	})
	if err == nil && s.Status != "completed" {
		err = fmt.Errorf("the campaign is %s: %s", s.Status, s.Reason)
	}
	return s, err
}
