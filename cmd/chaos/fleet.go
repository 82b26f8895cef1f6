package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"postern/internal/client"
	"postern/internal/store"
	"postern/internal/store/bolt"
	"postern/internal/store/dynamo"
)

// fleetConfig is what a fleet is like.
type fleetConfig struct {
	name     string
	binary   string // the server
	dir      string // for logs and the embedded store
	dynamoDB string // base URL of a DynamoDB Local; "" for the embedded store
	tasks    int
	seed     uint64
	people   int           // contacts to import
	pace     time.Duration // the mean time that the relay takes for a message
	env      []string      // more of the tasks' environment
}

// connections is the relay's cap in a fleet, for all tasks together.
const connections = 24

// fleet is some tasks on one store, with a relay of their own.
type fleet struct {
	fleetConfig

	relay  *relayProcess
	prefix string        // of the tables
	direct *dynamo.Store // the harness's own look at the tables
	http   *http.Client
	keys   []ed25519.PublicKey // that sign audit trails

	mu      sync.Mutex
	running []*task
	resting map[int]bool // stopped by SIGSTOP
	started int
	fault   storeFault
}

func startFleet(ctx context.Context, cfg fleetConfig) (_ *fleet, err error) {
	f := &fleet{
		fleetConfig: cfg, resting: map[int]bool{}, prefix: "chaos-" + rand.Text()[:12] + "-",
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: time.Minute},
	}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if err := os.MkdirAll(cfg.dir, 0o700); err != nil {
		return nil, err
	}
	if f.relay, err = startRelayProcess(cfg.seed); err != nil {
		return nil, err
	}
	if err := f.relay.tell(ctx, "pace", cfg.pace); err != nil {
		return nil, err
	}
	for range cfg.tasks {
		t, err := f.spawn(ctx)
		if err == nil {
			err = t.awaitUp(ctx) // the first one makes the tables
		}
		if err != nil {
			return nil, err
		}
	}
	if f.keys, err = f.running[0].auditKeys(ctx); err != nil {
		return nil, err
	}
	if cfg.dynamoDB != "" {
		f.direct, err = dynamo.Open(ctx, dynamo.Config{Region: region, Endpoint: cfg.dynamoDB, TablePrefix: f.prefix})
		if err != nil {
			return nil, err
		}
	}
	return f, f.importContacts(ctx)
}

// importContacts is patient with a DynamoDB Local that all fleets load at
// once.
func (f *fleet) importContacts(ctx context.Context) error {
	for batch := range slices.Chunk(contacts(f.people), 100) {
		for tries := 0; ; tries++ {
			err := f.running[0].Import(ctx, batch)
			if err == nil {
				break
			}
			if tries == 5 {
				return err
			}
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
		}
	}
	return nil
}

const region = "us-gov-west-1"

// filler makes a recipient large, so that a chunk holds few of them.
const filler = 2000

func contacts(n int) []client.Contact {
	all := make([]client.Contact, n)
	for i := range all {
		all[i] = client.Contact{
			"email": address(i), "first_name": "R" + strconv.Itoa(i),
			"filler": fmt.Sprintf("%0*d", filler, i),
		}
	}
	return all
}

func address(i int) string { return fmt.Sprintf("r%d@chaos.test", i) }

// environ is the environment of a task.
func (f *fleet) environ(g *gate) []string {
	port := strconv.Itoa(f.relay.port)
	env := append(os.Environ(),
		"LISTEN_ADDR=127.0.0.1:0", "METRICS_ADDR=127.0.0.1:0", "LOG_LEVEL=info",
		"SMTP_SERVER=127.0.0.1", "SMTP_PORT="+port, "SMTP_USE_TLS=false", "SMTP_USERNAME=", "SMTP_PASSWORD=",
		"RELAY_ALLOW=127.0.0.1/32", "RELAY_PORTS="+port, "RELAY_MAX_CONNECTIONS="+strconv.Itoa(connections),
		"RETRY_MIN=200ms", "RETRY_MAX=1s", "RETRY_FOR=1h",
		"ENCRYPTION_KEY=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	if g == nil {
		env = append(env, "STORE=embedded", "DATA_DIR="+f.dataDir())
	} else {
		env = append(env, "STORE=dynamodb", "AWS_REGION="+region, "DYNAMODB_ENDPOINT="+g.url,
			"TABLE_PREFIX="+f.prefix, "CREATE_TABLES=true")
	}
	return append(env, f.env...)
}

func (f *fleet) dataDir() string { return filepath.Join(f.dir, "data") }

// spawn starts one more task, and does not wait until it is up.
func (f *fleet) spawn(ctx context.Context) (*task, error) {
	f.mu.Lock()
	f.started++
	number, fault := f.started, f.fault
	f.mu.Unlock()
	var g *gate
	if f.dynamoDB != "" {
		var err error
		if g, err = startGate(f.dynamoDB, f.seed+uint64(number)); err != nil {
			return nil, err
		}
		g.set(fault)
	}
	t, err := startTask(f.binary, filepath.Join(f.dir, fmt.Sprintf("task-%03d.log", number)), f.environ(g))
	if err != nil {
		return nil, err
	}
	t.gate, t.HTTP = g, f.http
	f.mu.Lock()
	f.running = append(f.running, t)
	f.mu.Unlock()
	return t, f.relay.tell(ctx, "task", t.child.pid())
}

// byPID finds a task.
func (f *fleet) byPID(pid int) (*task, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.running {
		if t.child.pid() == pid {
			return t, nil
		}
	}
	return nil, fmt.Errorf("no task is process %d", pid)
}

// live gives the tasks that serve.
func (f *fleet) live() []*task {
	f.mu.Lock()
	defer f.mu.Unlock()
	var up []*task
	for _, t := range f.running {
		if t.isUp() && !f.resting[t.child.pid()] {
			up = append(up, t)
		}
	}
	return up
}

// awaitLive gives a task that serves.
func (f *fleet) awaitLive(ctx context.Context) (*task, error) {
	for {
		if up := f.live(); len(up) > 0 {
			return up[0], nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// bury waits for a task's end, and until nothing more comes of what it has
// written.
func (f *fleet) bury(ctx context.Context, t *task) error {
	select {
	case <-t.child.exited:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	f.running = slices.DeleteFunc(f.running, func(other *task) bool { return other == t })
	f.mu.Unlock()
	err := f.relay.tell(ctx, "gone", t.child.pid())
	if t.gate != nil {
		err = errors.Join(err, t.gate.shut(ctx))
		t.gate.close()
	}
	return errors.Join(err, f.relay.settled(ctx, t.child.pid()))
}

// rest notes that a task is stopped, or goes on.
func (f *fleet) rest(pid int, resting bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resting[pid] = resting
}

// spoil sets how the store is, for all tasks.
func (f *fleet) spoil(fault storeFault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
	for _, t := range f.running {
		t.gate.set(fault)
	}
}

// trap lays a trap at every task that there is, and gives what takes all of
// them up.
func (f *fleet) trap(kind write, skip int, after bool, spring func(*task) bool) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var removes []func()
	for _, t := range f.running {
		removes = append(removes, t.gate.lay(&trap{kind: kind, skip: skip, after: after, spring: func() bool { return spring(t) }}))
	}
	return func() {
		for _, r := range removes {
			r()
		}
	}
}

// youngest is the task that was started last.
func (f *fleet) youngest() *task {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running[len(f.running)-1]
}

// look has a look at the store beside the tasks: the embedded one only while
// no task has it.
func (f *fleet) look(see func(store.Store) error) error {
	if f.direct != nil {
		return see(f.direct)
	}
	s, err := bolt.Open(f.dataDir())
	if err != nil {
		return err
	}
	return errors.Join(see(s), s.Close())
}

func (f *fleet) close() {
	f.mu.Lock()
	tasks := f.running
	f.mu.Unlock()
	for _, t := range tasks {
		_ = t.child.cmd.Process.Kill()
		<-t.child.exited
		if t.gate != nil {
			t.gate.close()
		}
	}
	if f.direct != nil {
		_ = f.direct.Close()
	}
	if f.relay != nil {
		f.relay.close()
	}
	f.http.CloseIdleConnections()
}

// sleep waits, or gives the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
