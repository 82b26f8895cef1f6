package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/internal/store/dynamo"
	"postern/internal/store/dynamo/dynamotest"
)

// TestMain lets the test's own program be started again as a contender.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == contenderCommand {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	if runtime.GOOS != "linux" {
		_, _ = os.Stderr.WriteString("cmd/bench reads /proc, so it is tested on Linux only; nothing was tested\n")
		os.Exit(0)
	}
	code := m.Run()
	dynamotest.Stop()
	os.Exit(code)
}

// quickly is a suite that measures next to nothing.
func quickly(t *testing.T, parts string) *suite {
	t.Helper()
	return &suite{
		options: options{dir: filepath.Join(t.TempDir(), "bench"), rounds: 2, quick: true, parts: parts},
		plan: plan{
			span: 50 * time.Millisecond, works: []work{mailerWork(2, 0, false), mailerWork(2, 20<<10, true)},
			contacts: []int{40, 80}, loadContacts: 80,
		},
		out: io.Discard, filled: map[int]bool{}, results: &results{},
	}
}

// TestSuite measures a little of everything that this machine can.
func TestSuite(t *testing.T) {
	t.Parallel()
	wanted := "mailer,tls,campaign,load"
	if _, err := findPostfix(); err != nil {
		t.Logf("only the part over TLS is tested: %v", err)
		wanted = partTLS
	}
	s := quickly(t, wanted)
	r, err := s.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range r.Series {
		for _, sample := range one.Samples {
			if len(one.Samples) < 2 || sample.Messages == 0 || sample.Elapsed <= 0 {
				t.Errorf("%v, %s: %+v", one.Work, one.Contender, one.Samples)
			}
		}
	}
	if tls := (work{Part: partTLS, Connections: 8}); !ratio(r.find(tls, string(kindLane)), r.find(tls, string(kindSMTP)), rateOf).Measured {
		t.Error("nothing was compared over TLS")
	}
	// What was measured can be reported on again.
	var out bytes.Buffer
	page := t.TempDir()
	if code := run([]string{"-from", filepath.Join(s.dir, dataName), "-out", page}, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	for _, name := range []string{pageName, pictureName, dataName} {
		if text, err := os.ReadFile(filepath.Join(page, name)); err != nil || bytes.Contains(text, []byte("no value")) || len(text) < 200 {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	if wanted != partTLS && !strings.Contains(out.String(), "GET /campaign-status") {
		t.Errorf("the bars are not printed:\n%s", out.String())
	}
}

// TestWithoutPostfix says which package is missing.
func TestWithoutPostfix(t *testing.T) { //nolint:paralleltest // the environment is the process's
	if _, err := exec.LookPath(postfixDir + "/smtp-sink"); err == nil {
		t.Log("Postfix is installed where it is always found, so only the words are tested")
	} else {
		t.Setenv("PATH", t.TempDir())
		if _, err := findPostfix(); !errors.Is(err, errNoPostfix) {
			t.Errorf("error %v", err)
		}
	}
	if !strings.Contains(errNoPostfix.Error(), "apt-get install postfix") {
		t.Errorf("%q does not say what to install", errNoPostfix)
	}
}

// TestCampaign sends a campaign through a real server, whose relay is the
// suite's own sink, which needs no Postfix.
func TestCampaign(t *testing.T) {
	t.Parallel()
	var ready bytes.Buffer
	sink, err := startTLSSink(t.Context(), &ready)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	s := quickly(t, "")
	s.sink = placeIn(t, &ready).Addr
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.fill(t.Context(), 30); err != nil {
		t.Fatal(err)
	}
	w := work{Part: partMemory, Contacts: 30, Attachment: 1000}
	if err := s.oneCampaign(t.Context(), w, s.embedded(30), letterTo(1000)); err != nil {
		t.Fatal(err)
	}
	if got := s.results.find(w, wholeCampaign).Samples[0]; got.Messages != 30 || got.PeakAnon == 0 {
		t.Errorf("sample %+v", got)
	}
	for name, heap := range map[string]bool{"cpu": false, "heap": true} {
		file := filepath.Join(s.dir, name)
		if err := s.profile(t.Context(), contest{work: w, contender: wholeCampaign, heap: heap}, file); err != nil {
			t.Fatal(err)
		}
		if top, err := topOf(t.Context(), file); err != nil || !strings.Contains(top, "Showing nodes") {
			t.Errorf("%s: %v\n%s", name, err, top)
		}
	}
}

func placeIn(t *testing.T, ready *bytes.Buffer) (p place) {
	t.Helper()
	if err := json.Unmarshal(ready.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRawCheckpoints(t *testing.T) {
	t.Parallel()
	const rows = 250
	cfg := dynamo.Config{Region: region, Endpoint: dynamotest.Endpoint(t), TablePrefix: tablePrefix(), CreateTables: true}
	tables, err := dynamo.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := tables.Close(); err != nil {
		t.Fatal(err)
	}
	done, err := compete(t.Context(), spec{Kind: kindDynamo, Addr: cfg.Endpoint, TablePrefix: cfg.TablePrefix, Rows: rows})
	if err != nil || done.Messages != rows {
		t.Errorf("sample %+v, error %v", done, err)
	}
}

// TestProxyDelays: nothing arrives sooner than the delay after it was written,
// nothing is lost or changed, and the end of one side ends the other.
func TestProxyDelays(t *testing.T) {
	t.Parallel()
	const delay = 30 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	var ready bytes.Buffer
	p, err := startProxy(t.Context(), spec{Addr: l.Addr().String(), Delay: delay}, &ready)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	conn, err := net.Dial("tcp", placeIn(t, &ready).Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	sent := attachmentOf(4 << 20)
	go func() { _, _ = conn.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got[:1]); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("a round trip took %s, and the delay is %s one way", took, delay)
	}
	if _, err := io.ReadFull(conn, got[1:]); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("what came back is not what was sent: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); !ok || tcp.CloseWrite() != nil {
		t.Fatal("the connection cannot be ended on this side")
	}
	if _, err := conn.Read(got); !errors.Is(err, io.EOF) {
		t.Errorf("the end did not come back: %v", err)
	}
}

// TestEmptyDir: a mistyped -dir costs nobody his files.
func TestEmptyDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &suite{options: options{dir: dir}}
	if err := s.emptyDir(); err == nil {
		t.Error("a directory of somebody else's was emptied")
	}
	s.dir = filepath.Join(dir, "new")
	for range 2 {
		if err := s.emptyDir(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestOfAProcess(t *testing.T) {
	t.Parallel()
	memory, err := anonymous(os.Getpid())
	if err != nil || memory < 1<<20 {
		t.Errorf("this process has %d octets, %v", memory, err)
	}
	if cpu, err := processCPU(os.Getpid()); err != nil || cpu < 0 {
		t.Errorf("this process took %s, %v", cpu, err)
	}
	peak := watchMemory(context.Background(), os.Getpid())
	if got := peak(); got < 1<<20 {
		t.Errorf("its peak is %d octets", got)
	}
}
