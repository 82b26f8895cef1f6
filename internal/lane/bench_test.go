package lane

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"postern/internal/budget"
	"postern/internal/campaign"
	"postern/internal/mailer"
)

// sink is a relay that does as little as possible: it answers, and keeps
// nothing.
type sink struct {
	net.Listener
	serving sync.WaitGroup
}

func startSink(b *testing.B) *sink {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &sink{Listener: l}
	s.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.serving.Go(func() { talk(conn) })
		}
	})
	b.Cleanup(func() {
		_ = l.Close()
		s.serving.Wait()
	})
	return s
}

// talk answers one connection; replies are written when input runs out.
func talk(conn net.Conn) {
	defer conn.Close()
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	_, _ = w.WriteString("220 sink.test\r\n")
	inData := false
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case inData && string(line) == ".\r\n":
			inData = false
			_, _ = w.WriteString("250 2.0.0 Ok\r\n")
		case inData:
		case bytes.HasPrefix(line, []byte("DATA")):
			inData = true
			_, _ = w.WriteString("354 go on\r\n")
		case bytes.HasPrefix(line, []byte("EHLO")):
			_, _ = w.WriteString("250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
		case bytes.HasPrefix(line, []byte("QUIT")):
			return
		default:
			_, _ = w.WriteString("250 2.1.0 Ok\r\n")
		}
	}
}

// tap is a source that gives n jobs.
type tap struct {
	mu       sync.Mutex
	template Job
	given, n int
	done     int
	finished chan struct{}
}

func (t *tap) Ready() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.given < t.n
}

func (t *tap) Take() (Job, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.given == t.n {
		return Job{}, false
	}
	t.given++
	j := t.template
	j.Index = t.given
	return j, true
}

func (t *tap) Done(o Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.Err != nil {
		panic(o.Err)
	}
	if t.done++; t.done == t.n {
		close(t.finished)
	}
}

// BenchmarkLane sends messages of 2 KB to a sink in the same process, whose
// work is in the figures, from four sources of one campaign.
func BenchmarkLane(b *testing.B) {
	html := "<p>Dear {{first_name}},</p>" + string(bytes.Repeat([]byte("<p>"+string(bytes.Repeat([]byte("x"), 60))+"</p>\n"), 11))
	letter, err := mailer.Compile(mailer.Content{
		Subject: "Hello {{first_name}}", HTML: html, From: campaign.Mailbox{Address: "news@sender.test"}, Date: time.Unix(1e9, 0),
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, workers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("%d", workers), func(b *testing.B) { benchmark(b, letter, workers) })
	}
}

func benchmark(b *testing.B, letter *mailer.Letter, workers int) {
	s := startSink(b)
	port := s.Addr().(*net.TCPAddr).Port
	rules, err := mailer.ParseRules([]string{"127.0.0.0/8"}, []int{port})
	if err != nil {
		b.Fatal(err)
	}
	l := NewLanes(b.Context(), Config{
		Session: mailer.Options{Rules: rules, LocalName: "client.test"},
		Budgets: budgets(&cells{}, "task", time.Now), Caps: budget.Caps{Connections: workers},
		Registerer: prometheus.NewRegistry(), Log: zerolog.New(io.Discard),
	}).Open(mailer.Relay{Host: "127.0.0.1", Port: port})
	defer l.Close()
	g := l.Join("c")
	defer g.Leave()
	run := func(n int) {
		var taps []*tap
		var detach []func()
		for i := range 4 {
			t := &tap{n: n/4 + max(0, min(1, n%4-i)), finished: make(chan struct{}), template: Job{
				Recipient: campaign.Recipient{Address: "ada@rcpt.test", Values: []string{"Ada", "Byron"}},
				Letter:    letter, From: "news@sender.test", MessageID: "0123456789abcdef0123456789abcdef@sender.test",
			}}
			if t.n == 0 {
				continue
			}
			taps, detach = append(taps, t), append(detach, g.Attach(t))
		}
		for i, t := range taps {
			<-t.finished
			detach[i]()
		}
	}
	run(workers * 8) // connects
	b.ReportAllocs()
	b.ResetTimer()
	run(b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}
