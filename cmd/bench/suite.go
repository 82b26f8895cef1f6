package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The parts of a run.
const (
	partMailer   = "mailer"   // the mailer alone, and the loops
	partTLS      = "tls"      // the same over TLS
	partCampaign = "campaign" // whole campaigns, embedded store
	partDynamo   = "dynamo"   // whole campaigns, DynamoDB Local
	partMemory   = "memory"   // large attachments
	partLoad     = "load"     // the API while sending
)

var allParts = []string{partMailer, partTLS, partCampaign, partDynamo, partMemory, partLoad}

// oneWay is the delay of the proxy.
const oneWay = 5 * time.Millisecond

// plan is how much is measured.
type plan struct {
	span           time.Duration // of each contender's turn
	works          []work        // of the mailer
	contacts       []int         // of campaigns
	dynamoContacts int
	loadContacts   int
}

func quickPlan() plan {
	return plan{
		span: time.Second,
		works: []work{
			mailerWork(1, 0, false), mailerWork(8, 0, false), mailerWork(most, 0, false),
			mailerWork(8, 0, true), mailerWork(8, oneMB, false),
		},
		contacts: []int{contactsOf1}, dynamoContacts: 10_000, loadContacts: contactsOf1,
	}
}

func fullPlan() plan {
	p := plan{
		span: time.Second, contacts: []int{contactsOf1, contactsOf2},
		dynamoContacts: contactsOf1, loadContacts: contactsOf2,
	}
	for _, delayed := range []bool{false, true} {
		for _, attachment := range []int{0, 100 << 10, oneMB} {
			for _, connections := range []int{1, 8, most} {
				p.works = append(p.works, mailerWork(connections, attachment, delayed))
			}
		}
	}
	return p
}

// suite is a run under way.
type suite struct {
	options
	plan
	results *results
	out     io.Writer
	postfix postfix
	sink    string // address of smtp-sink
	slow    string // the same behind the proxy
	tls     place
	server  string // the server's program
	dynamo  string // endpoint, where needed
	// dynamoEnv is that of a service on DynamoDB, its tables included.
	dynamoEnv map[string]string
	filled    map[int]bool // embedded stores that have their contacts
}

// part is one of a run's, and how it is measured.
type part struct {
	name    string
	measure func(*suite, context.Context) error
}

func parts() []part {
	return []part{
		{partMailer, (*suite).mailer},
		{partTLS, (*suite).overTLS},
		{partCampaign, (*suite).campaigns},
		{partLoad, (*suite).load},
		{partMemory, (*suite).memory},
		{partDynamo, (*suite).onDynamo},
	}
}

// measure makes a run, whose parts replace those of an earlier one.
func measure(ctx context.Context, o options, earlier *results, out io.Writer) (*results, error) {
	if o.parts == "" {
		o.parts = strings.Join(allParts, ",")
	}
	if err := checkParts(o.parts); err != nil {
		return nil, err
	}
	s := &suite{options: o, plan: fullPlan(), results: earlier, out: out, filled: map[int]bool{}}
	if o.quick {
		s.plan = quickPlan()
	}
	return s.run(ctx)
}

func checkParts(parts string) error {
	for name := range strings.SplitSeq(parts, ",") {
		if !slices.Contains(allParts, name) {
			return fmt.Errorf("there is no part %q: they are %s", name, strings.Join(allParts, ", "))
		}
	}
	return nil
}

func (s *suite) run(ctx context.Context) (_ *results, err error) {
	if s.results.MessageSize, err = messageSize(0); err != nil {
		return nil, err
	}
	if err := s.emptyDir(); err != nil {
		return nil, err
	}
	stop, err := s.setStage(ctx)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return nil, err
	}
	for _, p := range parts() {
		if !s.wants(p.name) {
			continue
		}
		if err := s.measurePart(ctx, p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if err := s.profileMissed(ctx); err != nil {
		return nil, err
	}
	return s.results, s.results.save(filepath.Join(s.dir, dataName))
}

func (s *suite) measurePart(ctx context.Context, p part) error {
	s.results.forget(p.name)
	where := lookAround(ctx)
	where.Rounds, where.Quick = s.rounds, s.quick
	if err := p.measure(s, ctx); err != nil {
		return err
	}
	where.LoadAfter = loadAverage()
	s.results.Parts = append(s.results.Parts, partRun{Part: p.name, machine: where})
	// What is done stays, should a later part fail.
	return s.results.save(filepath.Join(s.dir, dataName))
}

// dirMarker is in every directory that this program has made, so that -dir
// empties no other.
const dirMarker = ".postern-bench"

func (s *suite) emptyDir() error {
	if entries, err := os.ReadDir(s.dir); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(s.dir, dirMarker)); err != nil {
			return fmt.Errorf("%s is not empty and not of an earlier run", s.dir)
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, dirMarker), nil, 0o600)
}

// wants says whether any of the parts is to be measured.
func (s *suite) wants(names ...string) bool {
	wanted := strings.Split(s.parts, ",")
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(wanted, name) })
}

// setStage starts what the parts need: relays, the proxy, the server's
// program, DynamoDB Local. Stop is never nil.
func (s *suite) setStage(ctx context.Context) (stop func() error, err error) {
	var stops []func() error
	stop = func() (err error) {
		for i := range stops {
			err = errors.Join(err, stops[len(stops)-1-i]())
		}
		return err
	}
	for _, set := range []struct {
		up     func(context.Context) (func() error, error)
		needed bool
	}{
		{s.startSink, s.wants(partMailer, partCampaign, partDynamo, partMemory, partLoad)},
		{s.startProxy, s.wants(partMailer)},
		{s.startTLS, s.wants(partTLS)},
		{s.build, s.wants(partCampaign, partDynamo, partMemory, partLoad)},
		{s.startDynamo, s.wants(partDynamo)},
	} {
		if !set.needed {
			continue
		}
		down, err := set.up(ctx)
		if err != nil {
			return stop, err
		}
		stops = append(stops, down)
	}
	return stop, nil
}

func (s *suite) startSink(ctx context.Context) (func() error, error) {
	var err error
	if s.postfix, err = findPostfix(); err != nil {
		return nil, err
	}
	addr, stop, err := s.postfix.startSink(ctx)
	s.sink = addr
	return func() error { stop(); return nil }, err
}

func (s *suite) startProxy(ctx context.Context) (func() error, error) {
	check, err := checkProxy(ctx, oneWay)
	if err != nil {
		return nil, err
	}
	s.results.Proxy = check
	s.say("The proxy delays a round trip by %s (%s to %s) and passes %.0f MB/s", check.Mid.Round(10*time.Microsecond),
		check.Least.Round(10*time.Microsecond), check.Most.Round(10*time.Microsecond), check.OctetsPerSecond/1e6)
	p, err := startHelper(ctx, spec{Kind: kindProxy, Addr: s.sink, Delay: oneWay})
	if err != nil {
		return nil, err
	}
	s.slow = p.Addr
	return p.Close, nil
}

func (s *suite) startTLS(ctx context.Context) (func() error, error) {
	h, err := startHelper(ctx, spec{Kind: kindTLSSink})
	if err != nil {
		return nil, err
	}
	s.tls = h.place
	return h.Close, nil
}

func (s *suite) build(ctx context.Context) (_ func() error, err error) {
	s.server, err = buildServer(ctx, s.dir)
	return func() error { return nil }, err
}

func (s *suite) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format+"\n", args...)
}

// note adds a sample and says so.
func (s *suite) note(w work, contender string, one sample) {
	s.results.add(w, contender, one)
	s.say("%-40s %-26s %9.0f/s  %.4f CPU s per 1000  %5.0f MB  %s of settling", w, contender, one.rate(), one.cpuPerThousand(), peakOfMB(one),
		one.Settling.Round(time.Millisecond))
}

// String names the work for the log of a run.
func (w work) String() string {
	name := fmt.Sprintf("%s, %d connections", w.Part, w.Connections)
	if w.Attachment > 0 {
		name += fmt.Sprintf(", %d KB", w.Attachment>>10)
	}
	if w.Contacts > 0 {
		name += fmt.Sprintf(", %d contacts", w.Contacts)
	}
	if w.Delayed {
		name += ", delayed"
	}
	return name
}
