package smtptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errEnd ends a connection without anything further to say.
var errEnd = errors.New("end of the connection")

// maxLine bounds a command line; RFC 4954 4 allows AUTH 12,288 octets.
const maxLine = 16 << 10

// conn is one connection, served by one goroutine.
type conn struct {
	srv *Server
	id  int
	// open is how many connections there were when this one came.
	open      int
	nc        net.Conn // the TLS connection once there is one
	br        *bufio.Reader
	bw        *bufio.Writer
	tls       bool
	greeted   bool
	user      string
	messages  int
	tx        transaction
	unreplied []int  // messages whose reply is still in bw
	data      []byte // the message being read; reused
}

type transaction struct {
	open   bool
	from   string
	params string
	to     []string
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc}
	c.id, c.open = s.opened()
	c.br = bufio.NewReaderSize(flushingReader{c}, maxLine)
	c.bw = bufio.NewWriter(nc)
	return c
}

// flushingReader writes the replies out whenever the client has to be waited
// for: pipelined commands are answered together.
type flushingReader struct{ c *conn }

func (r flushingReader) Read(p []byte) (int, error) {
	if err := r.c.flush(); err != nil {
		return 0, err
	}
	return r.c.nc.Read(p)
}

func (c *conn) flush() error {
	if err := c.bw.Flush(); err != nil {
		return err
	}
	if len(c.unreplied) > 0 {
		c.srv.replied(c.unreplied)
		c.unreplied = c.unreplied[:0]
	}
	return nil
}

func (c *conn) serve() {
	defer c.ask(StageClosed, "")
	defer c.srv.count(func(s *Stats) { s.InUse-- })
	defer c.reset()
	if c.srv.cfg.TLS == ImplicitTLS && c.startTLS() != nil {
		return
	}
	err := c.greet()
	for err == nil {
		var line string
		if line, err = c.readLine(); err == nil {
			err = c.command(line)
		}
	}
	_ = c.flush()
}

func (c *conn) greet() error {
	usual := "220 " + c.srv.cfg.Hostname + " ESMTP ready"
	if limit := c.srv.cfg.MaxConnections; limit > 0 && c.open > limit {
		usual = "421 4.7.0 too many connections"
	}
	_, err := c.answer(StageGreeting, "", usual)
	return err
}

// readLine reads a command without its line end.
func (c *conn) readLine() (string, error) {
	if idle := c.srv.cfg.IdleTimeout; idle > 0 {
		_ = c.nc.SetReadDeadline(time.Now().Add(idle))
	}
	raw, err := c.br.ReadSlice('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", c.say("421 4.4.2 idle for too long")
	case errors.Is(err, bufio.ErrBufferFull):
		return "", c.say("500 5.5.2 line too long")
	case err != nil:
		return "", err
	}
	line, isCRLF := bytes.CutSuffix(raw, []byte("\r\n"))
	if !isCRLF || bytes.IndexByte(line, 0) >= 0 {
		c.srv.violated(Violations{BadLines: 1})
	}
	if c.br.Buffered() > 0 && !c.offers("PIPELINING") {
		c.srv.violated(Violations{NotPipelined: 1})
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// say writes a reply of the relay's own; one with 421 or 500 ends the
// connection.
func (c *conn) say(reply string) error {
	if _, err := c.bw.WriteString(reply + "\r\n"); err != nil {
		return err
	}
	if strings.HasPrefix(reply, "421") || strings.HasPrefix(reply, "500 5.5.2") {
		return errEnd
	}
	return nil
}

// answer asks the hook, then answers as it says, or as usual. It gives the
// code that was answered.
func (c *conn) answer(stage Stage, line, usual string) (int, error) {
	act := c.ask(stage, line)
	text, err := c.decide(act, usual)
	if err != nil {
		return 0, err
	}
	return codeOf(text), c.write(text, act)
}

func (c *conn) ask(stage Stage, line string) Action {
	hook := *c.srv.hook.Load()
	if hook == nil {
		return Action{}
	}
	return hook(Event{
		Stage: stage, Command: line, Conn: c.id, Remote: c.nc.RemoteAddr().String(), Messages: c.messages,
		TLS: c.tls, User: c.user, From: c.tx.from, To: slices.Clone(c.tx.to),
	})
}

// decide does what an Action wants done before the reply, and gives the reply.
func (c *conn) decide(act Action, usual string) (string, error) {
	if act.isZero() {
		return usual, nil
	}
	if err := c.flush(); err != nil {
		return "", err
	}
	if err := c.pause(act); err != nil {
		return "", err
	}
	switch act.do {
	case reply:
		return act.text, nil
	case hangUp:
		return "", errEnd
	case hang:
		_ = c.nc.SetReadDeadline(time.Time{})
		_, _ = io.Copy(io.Discard, c.br)
		return "", errEnd
	case endless:
		for {
			if _, err := io.WriteString(c.nc, act.text); err != nil {
				return "", err
			}
		}
	default:
		return usual, nil
	}
}

func (c *conn) pause(act Action) error {
	var timer <-chan time.Time
	if act.delay > 0 {
		timer = time.After(act.delay)
	}
	if act.wait == nil && timer == nil {
		return nil
	}
	select {
	case <-act.wait:
		return nil
	case <-timer:
		return nil
	case <-c.srv.done:
		return errEnd
	}
}

// write writes a reply with its line end, and what an Action adds.
func (c *conn) write(text string, act Action) error {
	_, _ = c.bw.WriteString(text)
	if !act.raw {
		_, _ = c.bw.WriteString("\r\n")
	}
	if _, err := c.bw.WriteString(act.inject); err != nil {
		return err // of any of the writes
	}
	if act.thenClose || strings.HasPrefix(text, "421") && act.isZero() {
		return errEnd
	}
	return nil
}

// codeOf is the code of a reply's last line; 0 where there is none.
func codeOf(text string) int {
	text = strings.TrimRight(text, "\r\n")
	last := text[strings.LastIndexByte(text, '\n')+1:]
	code, err := strconv.Atoi(last[:min(3, len(last))])
	if err != nil {
		return 0
	}
	return code
}

func (c *conn) startTLS() error {
	tc := tls.Server(c.nc, c.srv.tlsConfig())
	if err := tc.Handshake(); err != nil {
		c.srv.count(func(s *Stats) { s.TLSFailures++ })
		return err
	}
	c.srv.count(func(s *Stats) { s.TLS++ })
	c.nc, c.tls = tc, true
	c.br.Reset(flushingReader{c})
	c.bw.Reset(tc)
	return nil
}

// begin opens a transaction, reset ends one.
func (c *conn) begin(from, params string) {
	c.tx = transaction{open: true, from: from, params: params}
	c.srv.count(func(s *Stats) { s.Transactions++ })
}

func (c *conn) reset() {
	if c.tx.open {
		c.srv.count(func(s *Stats) { s.Transactions-- })
	}
	c.tx = transaction{}
}
