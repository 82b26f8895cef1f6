package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern/internal/app"
	"postern/internal/client"
	"postern/internal/config"
)

// How often a campaign is asked whether it is done: often enough to be exact
// within a percent, and on DynamoDB Local, which takes seconds for thousands,
// seldom enough not to be what is measured.
const (
	followEmbedded = 20 * time.Millisecond
	followDynamo   = 100 * time.Millisecond
)

// buildServer makes the server's program.
func buildServer(ctx context.Context, dir string) (path string, err error) {
	path, err = filepath.Abs(filepath.Join(dir, "server"))
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "postern/cmd/server") //nolint:gosec // G204: the directory is the caller's
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build postern/cmd/server: %w: %s", err, out)
	}
	return path, nil
}

// environment is a service's configuration for a relay of this machine.
func environment(relay string, connections int) map[string]string {
	_, port, _ := net.SplitHostPort(relay)
	return map[string]string{
		"LISTEN_ADDR": "127.0.0.1:0", "METRICS_ADDR": "127.0.0.1:0",
		"SMTP_SERVER": "127.0.0.1", "SMTP_PORT": port, "SMTP_USE_TLS": "false",
		"RELAY_ALLOW": "127.0.0.0/8", "RELAY_PORTS": port,
		// smtp-source -d sends all it has over each connection as well.
		"RELAY_MAX_CONNECTIONS": strconv.Itoa(connections), "RELAY_MESSAGES_PER_CONNECTION": "0",
	}
}

// server is a running service.
type server struct {
	client.Client
	metrics     string // URL
	cmd         *exec.Cmd
	logged      chan struct{} // closed at the end of its log
	followEvery time.Duration
}

// startServer starts a service, the program or (for a profile) this one, and
// waits until it says where its API is.
func startServer(ctx context.Context, cmd *exec.Cmd, env map[string]string) (*server, error) {
	cmd.Env = os.Environ()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		cmd.Env = append(cmd.Env, name+"="+env[name])
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, logged: make(chan struct{}), followEvery: followEmbedded}
	if env["STORE"] == "dynamodb" {
		s.followEvery = followDynamo
	}
	lines := bufio.NewReader(log)
	where, err := addresses(lines)
	go func() {
		defer close(s.logged)
		_, _ = io.Copy(io.Discard, lines) // so that it never waits to be read
	}()
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.metrics = "http://" + where.Metrics + "/metrics"
	s.Client = client.Client{Base: "http://" + where.API, HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	return s, ctx.Err()
}

// listening are a service's addresses.
type listening struct {
	API     string `json:"api"`
	Metrics string `json:"metrics"`
}

// addresses reads the log as far as the line that says that the service is up.
func addresses(log *bufio.Reader) (listening, error) {
	var said []byte
	for {
		line, err := log.ReadBytes('\n')
		said = append(said, line...)
		if err != nil {
			return listening{}, fmt.Errorf("the server did not come up: %w: %s", err, said)
		}
		var where listening
		if json.Unmarshal(line, &where) == nil && where.API != "" {
			return where, nil
		}
	}
}

// stop ends the service in order.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.logged
	return s.cmd.Wait()
}

// serveProfiled is the service in this program, for a profile of it.
func serveProfiled(ctx context.Context, stderr io.Writer) error {
	cfg, err := config.Load(os.Getenv)
	if err != nil {
		return err
	}
	a, err := app.Start(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// importContacts gives the service n contacts.
func (s *server) importContacts(ctx context.Context, n int) error {
	const batch = 1000
	for start := 0; start < n; start += batch {
		people := make([]client.Contact, min(batch, n-start))
		for i := range people {
			people[i] = client.Contact{
				"email":      fmt.Sprintf("reader%07d@rcpt.example", start+i),
				"first_name": fmt.Sprintf("Ada%04d", i), "last_name": "Byron",
			}
		}
		if err := s.Import(ctx, people); err != nil {
			return err
		}
	}
	return nil
}

// letterTo is the letter that the bare mailer sends, as a campaign.
func letterTo(attachment int, recipients ...string) client.Campaign {
	c := client.Campaign{
		Name: "Bench", From: "The News <" + sender + ">", Subject: subject, Body: letterHTML(), Recipients: recipients,
	}
	if attachment > 0 {
		c.Attachments = []client.Attachment{{
			Filename: "plan.bin", ContentType: "application/octet-stream", Content: attachmentOf(attachment),
		}}
	}
	return c
}

// campaign sends a letter to all contacts and gives what it took, from before
// the POST to the first answer that says completed, and in processor time until
// the contacts' statistics have it. Begun, unless it is nil, is told the
// campaign's id.
func (s *server) campaign(ctx context.Context, c client.Campaign, contacts int, begun func(id string)) (sample, error) {
	pid := s.cmd.Process.Pid
	before, err := processCPU(pid)
	if err != nil {
		return sample{}, err
	}
	peak := watchMemory(ctx, pid)
	counted, err := s.counted(ctx)
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	id, err := s.Submit(ctx, c)
	if err == nil && begun != nil {
		begun(id)
	}
	var last client.Status
	if err == nil {
		last, err = s.rest(ctx, id)
	}
	elapsed := time.Since(began)
	if err == nil {
		err = s.settled(ctx, counted+last.Sent)
	}
	memory := peak()
	if err != nil {
		return sample{}, err
	}
	if last.Status != "completed" || last.Sent != contacts {
		return sample{}, fmt.Errorf("a campaign to %d contacts is %s with %d sent: %s", contacts, last.Status, last.Sent, last.Reason)
	}
	after, err := processCPU(pid)
	return sample{
		Messages: contacts, Elapsed: elapsed, CPU: after - before, PeakAnon: memory, Settling: time.Since(began) - elapsed,
	}, err
}

// settled waits until the contacts' statistics have so many messages.
func (s *server) settled(ctx context.Context, messages int) error {
	tick := time.NewTicker(s.followEvery)
	defer tick.Stop()
	for {
		counted, err := s.counted(ctx)
		if err != nil || counted >= messages {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// counted is how many messages the service has counted with their contacts.
func (s *server) counted(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.metrics, http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	const name = "postern_contacts_counted_total "
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name); found {
			n, err := strconv.ParseFloat(value, 64)
			return int(n), err
		}
	}
	return 0, fmt.Errorf("%s has no %s", s.metrics, name)
}

// rest waits until a campaign rests.
func (s *server) rest(ctx context.Context, id string) (client.Status, error) {
	tick := time.NewTicker(s.followEvery)
	defer tick.Stop()
	for {
		status, err := s.Status(ctx, id)
		if err != nil || status.Rests() {
			return status, err
		}
		select {
		case <-ctx.Done():
			return status, ctx.Err()
		case <-tick.C:
		}
	}
}
