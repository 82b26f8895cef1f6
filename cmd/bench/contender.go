package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"
)

// contenderCommand is the argument that makes this program one contender. The
// argument behind it is a spec in JSON.
const contenderCommand = "contender"

// kind is what a process of this program is.
type kind string

// The kinds. Those that send report a sample at their end; the others say
// where they listen, and end when their standard input does.
const (
	kindLane       kind = "lane"           // Postern's mailer: lane, letter, digest
	kindSession    kind = "session"        // Postern's sessions, a message spliced, nothing else
	kindSMTP       kind = "net/smtp"       // a loop over net/smtp
	kindSimpleMail kind = "go-simple-mail" // a loop over go-simple-mail
	kindDynamo     kind = "raw"            // checkpoints by the AWS SDK alone
	kindProxy      kind = "proxy"          // delays both directions
	kindTLSSink    kind = "tls-sink"       // a relay with STARTTLS
	kindIdle       kind = "idle"           // an HTTP server that does nothing
	kindServer     kind = "server"         // the service, with a profile being taken
)

// spec is what a contender's process is told.
type spec struct {
	Kind kind
	// Addr is the relay, the proxy's target, or DynamoDB Local's URL.
	Addr        string
	Connections int
	Attachment  int           // octets before base64; 0 for none
	For         time.Duration // new messages are begun for so long
	TLS         bool
	Authority   []byte        // the relay's, in PEM, with TLS
	Delay       time.Duration // the proxy's, one way
	Rows        int           // of raw checkpoints, in tables
	TablePrefix string        // of this prefix, which are there
	Profile     string        // file for a CPU profile; "" for none
	HeapProfile string        // file for a profile of the heap at its largest; "" for none
}

// sample is what a contender did in one round.
type sample struct {
	Messages int
	Elapsed  time.Duration
	CPU      time.Duration // of the sending process
	PeakAnon int64         // octets
	// Settling is how long, behind a campaign's end, its contacts' statistics
	// took, which are in CPU.
	Settling time.Duration `json:",omitempty"`
}

func (s sample) rate() float64 { return float64(s.Messages) / s.Elapsed.Seconds() }

// cpuPerThousand is processor seconds for a thousand messages.
func (s sample) cpuPerThousand() float64 { return s.CPU.Seconds() / float64(s.Messages) * 1000 }

// contend is the life of a contender's process.
func contend(ctx context.Context, encoded string, stdout, stderr io.Writer) (err error) {
	var s spec
	if err := json.Unmarshal([]byte(encoded), &s); err != nil {
		return fmt.Errorf("a contender's spec: %w", err)
	}
	if s.Profile != "" {
		stop, err := startProfile(s.Profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	if s.HeapProfile != "" {
		watching, stop := context.WithCancel(ctx)
		var group sync.WaitGroup
		group.Go(func() { profileHeap(watching, s.HeapProfile, stderr) })
		defer group.Wait() // a profile that is being written is finished
		defer stop()
	}
	switch s.Kind {
	case kindProxy:
		return serveUntilEOF(stdout, func(w io.Writer) (io.Closer, error) { return startProxy(ctx, s, w) })
	case kindTLSSink:
		return serveUntilEOF(stdout, func(w io.Writer) (io.Closer, error) { return startTLSSink(ctx, w) })
	case kindIdle:
		return serveUntilEOF(stdout, func(w io.Writer) (io.Closer, error) { return startIdle(ctx, w) })
	case kindServer:
		return serveProfiled(ctx, stderr)
	default:
		return send(ctx, s, stdout)
	}
}

// send does a sender's work and reports on it.
func send(ctx context.Context, s spec, stdout io.Writer) error {
	work, err := prepare(ctx, s)
	if err != nil {
		return err
	}
	done, err := timed(ctx, work)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(done)
}

func startProfile(path string) (stop func() error, err error) {
	file, err := os.Create(path) //nolint:gosec // G304: the bench program names its own file
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// profileHeap keeps a profile of the heap as it was when it was largest.
func profileHeap(ctx context.Context, path string, stderr io.Writer) {
	tick := time.NewTicker(sampleEvery / 4)
	defer tick.Stop()
	var most uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		if now.HeapAlloc < most+most/16 {
			continue
		}
		most = now.HeapAlloc
		if err := writeHeapProfile(path); err != nil {
			_, _ = fmt.Fprintln(stderr, "heap profile:", err)
			return
		}
	}
}

func writeHeapProfile(path string) error {
	file, err := os.Create(path) //nolint:gosec // G304: the bench program names its own file
	if err != nil {
		return err
	}
	return errors.Join(pprof.WriteHeapProfile(file), file.Close())
}

// prepare makes what a contender of the kind does, from its first connection
// to its last reply, and says how many messages it was.
func prepare(ctx context.Context, s spec) (work func(context.Context) (int, error), err error) {
	if s.Kind == kindDynamo {
		return prepareRawCheckpoints(ctx, s)
	}
	mail, err := newMailing(s)
	if err != nil {
		return nil, err
	}
	switch s.Kind {
	case kindLane:
		return mail.throughLane, nil
	case kindSession:
		return mail.overSessions, nil
	case kindSMTP:
		return mail.overNetSMTP, nil
	case kindSimpleMail:
		return mail.overSimpleMail, nil
	default:
		return nil, fmt.Errorf("there is no contender %q", s.Kind)
	}
}

func timed(ctx context.Context, work func(context.Context) (int, error)) (sample, error) {
	before, err := ownCPU()
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	n, err := work(ctx)
	elapsed := time.Since(began)
	if err != nil {
		return sample{}, err
	}
	after, err := ownCPU()
	return sample{Messages: n, Elapsed: elapsed, CPU: after - before}, err
}

// serveUntilEOF starts a server that says where it listens, and closes it when
// standard input ends, which it does with the parent at the latest.
func serveUntilEOF(stdout io.Writer, start func(io.Writer) (io.Closer, error)) error {
	server, err := start(stdout)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return server.Close()
}

// command starts this program again as a contender.
func command(ctx context.Context, s spec) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, self, contenderCommand, string(encoded)), nil //nolint:gosec // G204: itself
}

// compete runs a contender that sends, and gives its sample.
func compete(ctx context.Context, s spec) (sample, error) {
	cmd, err := command(ctx, s)
	if err != nil {
		return sample{}, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	peak := watchMemory(ctx, cmd.Process.Pid)
	err = cmd.Wait()
	memory := peak()
	if err != nil {
		return sample{}, fmt.Errorf("contender %s: %w: %s", s.Kind, err, bytes.TrimSpace(stderr.Bytes()))
	}
	var done sample
	if err := json.Unmarshal(stdout.Bytes(), &done); err != nil {
		return sample{}, fmt.Errorf("contender %s: %w", s.Kind, err)
	}
	done.PeakAnon = memory
	return done, nil
}

// place is where a server of the suite's own listens.
type place struct {
	Addr      string
	Authority []byte // in PEM; nil without TLS
}

// helper is a contender's process that serves.
type helper struct {
	place
	cmd   *exec.Cmd
	stdin io.Closer
}

func startHelper(ctx context.Context, s spec) (*helper, error) {
	cmd, err := command(ctx, s)
	if err != nil {
		return nil, err
	}
	h := &helper{cmd: cmd}
	if h.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&h.place); err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not say where it listens: %w", s.Kind, err), h.Close())
	}
	return h, nil
}

// Close ends the process.
func (h *helper) Close() error {
	_ = h.stdin.Close()
	return h.cmd.Wait()
}
