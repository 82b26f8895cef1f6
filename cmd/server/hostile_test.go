package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// The size of TestHostileClients; `make hostile` has 200 and 1,000.
var (
	hostilePosts = flag.Int("posts", 20, "large `posts` at once in TestHostileClients")
	hostileSlow  = flag.Int("slow", 200, "slow `clients` in TestHostileClients")
)

const (
	memoryLimit = 512 << 20
	fileOctets  = 7_400_000 // 9.9 MB as base64
	// attackTime, at least, is longer than the server's time-outs for headers
	// and bodies, so that it has to close what it opened.
	attackTime = 13 * time.Second
)

// TestHostileClients: many large campaigns at once and many slow clients
// against a server with 512 MB. It stays up, others are served meanwhile, and
// every large campaign is accepted, or refused at once and accepted later.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	relay, err := smtptest.Start(smtptest.Config{DigestOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	p := startProcess(t, map[string]string{
		"STORE": "embedded", "DATA_DIR": filepath.Join(t.TempDir(), "data"), "LISTEN_TLS": "self-signed", "LOG_LEVEL": "warn",
		"SMTP_SERVER": relay.Host(), "SMTP_PORT": strconv.Itoa(relay.Port()), "SMTP_USE_TLS": "false",
		"RELAY_ALLOW": "127.0.0.1/32", "RELAY_PORTS": strconv.Itoa(relay.Port()),
		// As in terraform/: nine tenths of a task's memory, API Gateway's limit.
		"GOMEMLIMIT": "460MiB", "MAX_REQUEST_BYTES": "10485760",
	})
	group := func() string { return "" }
	if !raceDetector {
		group = confine(t, p, memoryLimit)
	}
	peak := watchMemory(t, p.cmd.Process.Pid)
	importAudience(t, p)

	attack, over := context.WithCancel(t.Context())
	defer over()
	enough := time.After(attackTime)
	var attackers sync.WaitGroup
	for i := range *hostileSlow {
		attackers.Go(func() { slowly(attack, p.env["LISTEN_ADDR"], i) })
	}
	others := watchOthers(attack, p)
	statuses := postAll(t, p)
	<-enough
	over()
	attackers.Wait()
	slowest, served, failures := others()

	if len(failures) > 0 {
		t.Errorf("others were not served %d times, such as: %v", len(failures), failures[0])
	}
	if err := relay.Wait(t.Context(), *hostilePosts-*hostilePosts/tooLargeEvery); err != nil {
		t.Error(err)
	}
	stopsCleanly(t, p)
	most := peak()
	t.Logf("%d posts of 10 MB and %d slow clients: answers %v; %d calls of others, the slowest took %s; peak RssAnon %d MB, control group %s",
		*hostilePosts, *hostileSlow, statuses, served, slowest, most>>20, group())
	if !raceDetector && most > memoryLimit {
		t.Errorf("peak memory %d MB", most>>20)
	}
}

func importAudience(t *testing.T, p *process) {
	t.Helper()
	contacts := make([]client.Contact, 1000)
	for i := range contacts {
		contacts[i] = client.Contact{"email": fmt.Sprintf("r%d@example.org", i), "note": strings.Repeat("n", 500)}
	}
	if err := p.Import(t.Context(), contacts); err != nil {
		t.Fatal(err)
	}
}

// stopsCleanly ends the server as an operator would: it is still there, and
// nobody's open connection holds it up.
func stopsCleanly(t *testing.T, p *process) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// tooLargeEvery: one of so many posts is beyond what is allowed.
const tooLargeEvery = 10

// postAll posts all campaigns at once and each again, as Retry-After says,
// until it is accepted or refused for good. It counts all answers.
func postAll(t *testing.T, p *process) map[int]int {
	t.Helper()
	file := base64.StdEncoding.EncodeToString(make([]byte, fileOctets))
	var mu sync.Mutex
	statuses := map[int]int{}
	var posts sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for i := range *hostilePosts {
		posts.Go(func() {
			for {
				status, after, err := post(ctx, p, i, file)
				mu.Lock()
				statuses[status]++
				mu.Unlock()
				if err != nil {
					t.Errorf("post %d: %v", i, err)
					return
				}
				if after == 0 {
					return
				}
				select {
				case <-time.After(after):
				case <-ctx.Done():
				}
			}
		})
	}
	posts.Wait()
	unexpected := maps.Clone(statuses)
	maps.DeleteFunc(unexpected, func(status, _ int) bool {
		return slices.Contains([]int{http.StatusAccepted, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge}, status)
	})
	large := *hostilePosts / tooLargeEvery
	if len(unexpected) > 0 || statuses[http.StatusRequestEntityTooLarge] != large || statuses[http.StatusAccepted] != *hostilePosts-large {
		t.Errorf("answers %v", statuses)
	}
	return statuses
}

// post sends one campaign with an attachment to one contact, and says after
// what time to try again; 0 for not.
func post(ctx context.Context, p *process, i int, file string) (status int, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	head := fmt.Sprintf(`{"from_email":"office@example.org","subject":"Hello","body":"<p>Hello</p>","recipients":["r%d@example.org"],"attachments":[`, i)
	tail := `"}]}`
	if i%tooLargeEvery == tooLargeEvery-1 {
		tail += strings.Repeat(" ", 1<<20)
	}
	head += `{"filename":"f.bin","content_type":"application/octet-stream","content":"`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Base+"/smtp-campaign",
		io.MultiReader(strings.NewReader(head), strings.NewReader(file), strings.NewReader(tail)))
	if err != nil {
		return 0, 0, err
	}
	req.ContentLength = int64(len(head) + len(file) + len(tail))
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.HTTP.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return resp.StatusCode, 0, err
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		return resp.StatusCode, time.Duration(seconds) * time.Second, err
	}
	return resp.StatusCode, 0, nil
}

// slowly is a client that means no good, again as soon as it is thrown out.
func slowly(ctx context.Context, addr string, i int) {
	kinds := []func(context.Context, net.Conn) error{slowHandshake, slowHeaders, slowBody, neverReads}
	for ctx.Err() == nil {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			continue
		}
		cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
		_ = kinds[i%len(kinds)](ctx, conn)
		cut()
		_ = conn.Close()
	}
}

// slowHandshake sends an octet a second of what is to become a ClientHello.
func slowHandshake(ctx context.Context, conn net.Conn) error {
	return octetByOctet(ctx, conn, 22)
}

func slowHeaders(ctx context.Context, conn net.Conn) error {
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if _, err := io.WriteString(secure, "GET /contacts HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
		return err
	}
	return octetByOctet(ctx, secure, 'x')
}

func slowBody(ctx context.Context, conn net.Conn) error {
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	const head = "POST /smtp-campaign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10000000\r\n\r\n"
	if _, err := io.WriteString(secure, head); err != nil {
		return err
	}
	return octetByOctet(ctx, secure, ' ')
}

// neverReads asks for all contacts, again and again, and takes no answer.
func neverReads(ctx context.Context, conn net.Conn) error {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10)
	}
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if _, err := io.WriteString(secure, strings.Repeat("GET /contacts?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n", 20)); err != nil {
		return err
	}
	return octetByOctet(ctx, secure, '\n')
}

func octetByOctet(ctx context.Context, w io.Writer, octet byte) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if _, err := w.Write([]byte{octet}); err != nil {
				return err
			}
		}
	}
}

// watchOthers calls the API as honest callers do, over new connections, until
// the context ends, and says how they fared.
func watchOthers(ctx context.Context, p *process) (fared func() (slowest time.Duration, served int64, failures []error)) {
	var mu sync.Mutex
	var slowest time.Duration
	var failures []error
	var served atomic.Int64
	var callers sync.WaitGroup
	for _, path := range []string{"healthz", "contacts?limit=10", "contacts?email=r7@example.org"} {
		callers.Go(func() {
			other := client.Client{Base: p.Base, HTTP: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
			}}}
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				began := time.Now()
				err := other.Call(context.WithoutCancel(ctx), http.MethodGet, path, nil, nil)
				mu.Lock()
				slowest = max(slowest, time.Since(began))
				if err != nil {
					failures = append(failures, fmt.Errorf("GET %s: %w", path, err))
				}
				mu.Unlock()
				served.Add(1)
				<-tick.C
			}
		})
	}
	return func() (time.Duration, int64, []error) {
		callers.Wait()
		return slowest, served.Load(), failures
	}
}
