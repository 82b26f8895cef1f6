package mailer

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// liar is a relay that answers whatever it reads with the next piece of a
// stream that has nothing to do with it, and remembers when it saw what.
type liar struct {
	conn   net.Conn
	pieces [][]byte
	read   []byte // all that the client wrote
	wrote  []byte // all that it was answered
	// dots has for each message whose content and final dot came how many
	// octets had been answered then; -1 for none.
	dots []int
}

func (l *liar) run() {
	defer func() { _ = l.conn.Close() }()
	buf := make([]byte, 64<<10)
	for _, piece := range l.pieces {
		n, err := l.conn.Read(buf)
		l.saw(buf[:n])
		if err != nil {
			return
		}
		l.wrote = append(l.wrote, piece...)
		if _, err := l.conn.Write(piece); err != nil {
			return
		}
	}
	// What the client still says to a relay that has nothing more to answer.
	if c, ok := l.conn.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
	for {
		n, err := l.conn.Read(buf)
		l.saw(buf[:n])
		if err != nil {
			return
		}
	}
}

func (l *liar) saw(octets []byte) {
	l.read = append(l.read, octets...)
	for i := range l.dots {
		if l.dots[i] < 0 && bytes.Contains(l.read, []byte(octetsNo(i)+finalDot)) {
			l.dots[i] = len(l.wrote)
		}
	}
}

// answered is the reply to the i-th message's final dot: the first that
// begins behind what had been answered when the dot came.
func (l *liar) answered(i int) (Reply, error) { return readOne(string(l.wrote[l.dots[i]:])) }

// piecesOf cuts a stream. A piece is one answer, and so one write; where it
// ends within a line, the client cannot but wait, so the next piece belongs to
// it.
func piecesOf(stream, cuts []byte) [][]byte {
	var pieces [][]byte
	var piece []byte
	for _, cut := range cuts {
		n := min(int(cut), len(stream))
		piece = append(piece, stream[:n]...)
		stream = stream[n:]
		if len(piece) > 0 && len(piece) < readBuffer && piece[len(piece)-1] != '\n' {
			continue
		}
		pieces = append(pieces, piece)
		piece = nil
	}
	return append(pieces, append(piece, stream...))
}

const fuzzMessages = 4

// words stand for the octets above 127, so that chance makes replies too.
var words = []string{
	"250 2.0.0 ok\r\n", "354 go\r\n", "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n",
	"550 5.1.1 no\r\n", "451 4.7.1 later\r\n", "421 4.3.2 bye\r\n", "503 5.5.1 sequence\r\n", "554 5.5.1 none\r\n",
	"250-a\r\n250 b\r\n", "250-a\r\n", "220 ", "454 4.7.0 ", "\r\n", "334 x\r\n",
}

// spell puts words in the place of octets.
func spell(octets []byte) []byte {
	var out []byte
	for _, b := range octets {
		if b < 0x80 {
			out = append(out, b)
			continue
		}
		out = append(out, words[int(b-0x80)%len(words)]...)
	}
	return out
}

// FuzzSession answers a pipelining session with any octets, cut anywhere. It
// must end by itself, and a message is sent only when the relay saw its final
// dot and answered that one with 2yz; one that failed without doubt and
// without a reply is not with the relay. Meanwhile is called for exactly those
// whose reply to the dot was awaited.
func FuzzSession(f *testing.F) {
	const (
		begun = "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n"
		taken = "250 2.0.0 ok\r\n"
	)
	whole := []byte{byte(len(begun)), byte(len(taken + begun)), byte(len(taken + begun)), byte(len(taken + begun))}
	for _, seed := range []string{
		begun + taken + begun + taken + begun + taken + begun + taken,
		begun + "550 5.7.1 no\r\n" + begun + taken + begun + taken,
		begun + taken + "250 ok\r\n550 5.1.1 no\r\n554 none\r\n250 reset\r\n" + begun + taken,
		begun + taken + "250 ok\r\n550 5.1.1 no\r\n354 go\r\n554 none\r\n" + begun + taken,
		begun + taken + "550 a\r\n250 b\r\n354 c\r\n250 d\r\n",
		begun + taken + taken + begun + taken,
		begun + "250-a\r\n250 b\r\n421 c\r\n",
		"\x82\x80\x82\x80\x82\x80\x82\x80", "\x82\x80\x80\x83\x87\x80\x82\x80\x82\x80", "\x82\x80\x86\x87\x87",
		"\x82\x88\x80\x80\x85", "\x82\x80\x80\x84\x81\x87\x80\x82\x80",
		"", "\r\n", "354 \r\n354 \r\n354 \r\n250 \r\n",
	} {
		f.Add([]byte(seed), whole, byte(0))
		f.Add([]byte(seed), []byte{3, 9, 17, 40, 80, 1}, byte(0b0101))
		f.Add([]byte(seed), []byte{255}, byte(0b0010))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = listener.Close() })
	f.Fuzz(func(t *testing.T, stream, cuts []byte, drops byte) {
		client, relay := connected(t, listener)
		l := &liar{conn: relay, pieces: piecesOf(spell(stream), cuts), dots: []int{-1, -1, -1, -1}}
		var done sync.WaitGroup
		done.Go(l.run)
		s := newSession(Relay{}, Options{Timeouts: Timeouts{Longest: 25 * time.Millisecond}}, client)
		s.ext.pipelining = true
		start := time.Now()
		results := converse(t, s, drops)
		s.Close()
		done.Wait()
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
		for i, err := range results {
			l.check(t, i, err)
		}
	})
}

func connected(t *testing.T, listener net.Listener) (client, relay net.Conn) {
	t.Helper()
	var err error
	if client, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if relay, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, relay
}

// converse sends messages, each with the next one ahead, which is dropped
// where the bit is set, and gives how they fared.
func converse(t *testing.T, s *Session, drops byte) []error {
	t.Helper()
	all := mails(fuzzMessages)
	var results []error
	for i, m := range all {
		if s.Begun(m) && drops>>i&1 == 1 {
			s.Drop(t.Context())
		}
		meanwhiles := 0
		m.Meanwhile = func() { meanwhiles++ }
		_, err := s.Send(t.Context(), m, nextOf(all, i))
		results = append(results, err)
		want := 0
		if err == nil || asError(t, err).Stage == StageDot {
			want = 1
		}
		if meanwhiles != want {
			t.Errorf("message %d: %d calls of Meanwhile with %v", i, meanwhiles, err)
		}
		if err != nil && asError(t, err).Scope == ScopeSession && s.Usable() {
			t.Errorf("message %d: usable after %v", i, err)
		}
	}
	return results
}

func (l *liar) check(t *testing.T, i int, err error) {
	t.Helper()
	seen := l.dots[i] >= 0
	if err == nil {
		if !seen {
			t.Fatalf("message %d is sent and its dot was not seen\nread %q\nwrote %q", i, l.read, l.wrote)
		}
		if r, err := l.answered(i); err != nil || r.Code/100 != 2 {
			t.Fatalf("message %d is sent and was answered %v, %v\nread %q\nwrote %q", i, r, err, l.read, l.wrote)
		}
		return
	}
	if e := asError(t, err); seen && e.Stage != StageDot || !seen && e.Ambiguous && e.Code != 0 {
		t.Fatalf("message %d: %+v; dot seen: %v\nread %q\nwrote %q", i, e, seen, l.read, l.wrote)
	}
}
