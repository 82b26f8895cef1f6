package smtptest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxContentLine is the longest line of a message without its CRLF (RFC 5322
// 2.1.1).
const maxContentLine = 998

// command does one command. An error ends the connection.
func (c *conn) command(line string) error {
	verb, args, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	run := c.handler(verb)
	if run == nil {
		return c.say("502 5.5.1 command not understood")
	}
	c.srv.command(verb)
	return run(line, args)
}

// handler is what does a verb; nil for a verb that is not known.
func (c *conn) handler(verb string) func(line, args string) error {
	switch verb {
	case "EHLO":
		return c.ehlo
	case "HELO":
		return c.helo
	case "STARTTLS":
		return c.starttls
	case "AUTH":
		return c.auth
	case "MAIL":
		return c.mail
	case "RCPT":
		return c.rcpt
	case "DATA":
		return c.dataCommand
	case "RSET":
		return c.rset
	case "NOOP":
		return c.noop
	case "QUIT":
		return c.quit
	default:
		return nil
	}
}

func (c *conn) offers(extension string) bool {
	return slices.ContainsFunc(c.srv.cfg.Extensions, func(s string) bool {
		keyword, _, _ := strings.Cut(s, " ")
		return strings.EqualFold(keyword, extension)
	})
}

// offersAuth: with STARTTLS to be had, AUTH waits for it.
func (c *conn) offersAuth() bool {
	cfg := &c.srv.cfg
	return len(cfg.Users) > 0 && (cfg.TLS != StartTLS || c.tls || cfg.ClearAuth)
}

func (c *conn) ehlo(line, _ string) error {
	if c.srv.cfg.NoEHLO {
		return c.say("502 5.5.1 command not understood")
	}
	lines := append([]string{c.srv.cfg.Hostname}, c.srv.cfg.Extensions...)
	if c.srv.cfg.MaxSize > 0 {
		lines = append(lines, fmt.Sprintf("SIZE %d", c.srv.cfg.MaxSize))
	}
	if c.srv.cfg.TLS == StartTLS && !c.tls {
		lines = append(lines, "STARTTLS")
	}
	if c.offersAuth() {
		lines = append(lines, "AUTH "+strings.Join(c.srv.cfg.Mechanisms, " "))
	}
	for i := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		lines[i] = "250" + sep + lines[i]
	}
	return c.hello(line, strings.Join(lines, "\r\n"))
}

func (c *conn) helo(line, _ string) error { return c.hello(line, "250 "+c.srv.cfg.Hostname) }

func (c *conn) hello(line, usual string) error {
	code, err := c.answer(StageHello, line, usual)
	if code == 250 {
		c.greeted = true
		c.reset()
	}
	return err
}

func (c *conn) starttls(line, _ string) error {
	usual := "220 2.0.0 ready for TLS"
	if c.srv.cfg.TLS != StartTLS || c.tls {
		usual = "502 5.5.1 STARTTLS is not to be had here"
	}
	if c.br.Buffered() > 0 {
		c.srv.violated(Violations{NotPipelined: 1})
	}
	code, err := c.answer(StageStartTLS, line, usual)
	if err != nil || code != 220 {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	c.greeted = false
	c.reset()
	return c.startTLS()
}

func (c *conn) mail(line, args string) error {
	path, params, ok := parsePath(args, "FROM:")
	usual := "250 2.1.0 sender OK"
	switch cfg := &c.srv.cfg; {
	case !ok:
		usual = "501 5.5.4 syntax: MAIL FROM:<address>"
	case !c.greeted || c.tx.open:
		c.srv.violated(Violations{OutOfOrder: 1})
		usual = "503 5.5.1 MAIL is out of order"
	case len(cfg.Users) > 0 && c.user == "":
		usual = "530 5.7.0 authentication required"
	case cfg.MaxMessages > 0 && c.messages >= cfg.MaxMessages:
		usual = "421 4.7.0 enough messages on this connection"
	case cfg.MaxSize > 0 && declaredSize(params) > cfg.MaxSize:
		usual = "552 5.3.4 message too large"
	}
	code, err := c.answer(StageMail, line, usual)
	if code == 250 {
		c.reset()
		c.begin(path, params)
	}
	return err
}

func (c *conn) rcpt(line, args string) error {
	path, _, ok := parsePath(args, "TO:")
	usual := "250 2.1.5 recipient OK"
	switch {
	case !ok || path == "":
		usual = "501 5.5.4 syntax: RCPT TO:<address>"
	case !c.tx.open:
		// No violation by itself: a pipelined RCPT follows a refused MAIL.
		usual = "503 5.5.1 RCPT needs MAIL first"
	}
	c.tx.to = append(c.tx.to, path)
	code, err := c.answer(StageRcpt, line, usual)
	if code/100 != 2 {
		c.tx.to = c.tx.to[:len(c.tx.to)-1]
	}
	return err
}

// parsePath reads FROM:<path> or TO:<path> and the parameters behind it.
func parsePath(args, prefix string) (path, params string, ok bool) {
	if len(args) < len(prefix) || !strings.EqualFold(args[:len(prefix)], prefix) {
		return "", "", false
	}
	rest := strings.TrimLeft(args[len(prefix):], " ")
	path, params, ok = strings.Cut(rest, ">")
	path, bracket := strings.CutPrefix(path, "<")
	return path, strings.TrimSpace(params), ok && bracket && !strings.ContainsAny(path, " <")
}

func declaredSize(params string) int64 {
	for param := range strings.FieldsSeq(params) {
		if value, ok := strings.CutPrefix(strings.ToUpper(param), "SIZE="); ok {
			n, err := strconv.ParseInt(value, 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

func (c *conn) dataCommand(line, _ string) error {
	usual := "354 end with <CRLF>.<CRLF>"
	switch {
	case !c.tx.open:
		usual = "503 5.5.1 DATA needs MAIL first"
	case len(c.tx.to) == 0:
		usual = "554 5.5.1 no valid recipients"
	}
	code, err := c.answer(StageData, line, usual)
	if err != nil || code != 354 {
		return err
	}
	if c.br.Buffered() > 0 {
		c.srv.violated(Violations{NotPipelined: 1})
	}
	if err := c.unasked(StageContent); err != nil {
		return err
	}
	if err := c.readData(); err != nil {
		return err
	}
	found := inspect(c.data)
	c.srv.violated(found)
	return c.dot(found)
}

// unasked asks the hook where no reply is due. One that comes all the same ends
// the connection.
func (c *conn) unasked(stage Stage) error {
	act := c.ask(stage, "")
	text, err := c.decide(act, "")
	if err != nil || text == "" {
		return err
	}
	return c.write(text, act.ThenClose())
}

// readData reads a message to its final dot into c.data, without
// dot-stuffing. Only CRLF.CRLF is an end.
func (c *conn) readData() error {
	c.data = c.data[:0]
	for atStart := true; ; atStart = bytes.HasSuffix(c.data, []byte("\r\n")) {
		chunk, err := c.br.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if atStart && chunk[0] == '.' {
			if string(chunk) == ".\r\n" {
				return nil
			}
			chunk = chunk[1:]
		}
		c.data = append(c.data, chunk...)
	}
}

// inspect counts what must not stand in a message on the wire.
func inspect(data []byte) Violations {
	var v Violations
	length := 0
	for i, b := range data {
		length++
		switch {
		case b == '\n':
			if i == 0 || data[i-1] != '\r' {
				v.BareLF++
			}
			if length-2 > maxContentLine {
				v.LongLines++
			}
			length = 0
		case b == '\r':
			if i+1 == len(data) || data[i+1] != '\n' {
				v.BareCR++
			}
		case b == 0:
			v.NUL++
		case b > 127:
			v.EightBit++
		}
	}
	return v
}

// dot answers the final dot: takes the message, or not.
func (c *conn) dot(found Violations) error {
	defer c.reset()
	usual := "250 2.0.0 accepted"
	switch limit := c.srv.cfg.MaxSize; {
	case found.BareLF > 0:
		usual = "550 5.5.2 bare LF in the message"
	case limit > 0 && int64(len(c.data)) > limit:
		usual = "552 5.3.4 message too large"
	case len(c.tx.to) == 0:
		usual = "554 5.5.1 no valid recipients"
	}
	act := c.ask(StageDot, "")
	text, err := c.decide(act, usual)
	if err != nil {
		return err
	}
	if codeOf(text)/100 != 2 {
		return c.write(text, act)
	}
	return c.accept(text, act)
}

// accept takes the message and says so.
func (c *conn) accept(text string, act Action) error {
	m := c.message()
	if see := c.srv.cfg.OnMessage; see != nil {
		seen := m
		seen.Data = c.data
		see(seen)
	}
	seq := c.srv.add(m)
	c.messages++
	then := c.ask(StageAccepted, "")
	text, err := c.decide(then, text)
	if err != nil {
		return err
	}
	act.thenClose = act.thenClose || then.thenClose
	act.inject += then.inject
	act.raw = act.raw || then.raw
	c.unreplied = append(c.unreplied, seq)
	if err := c.write(text, act); err != nil {
		return err
	}
	if *c.srv.hook.Load() == nil {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	return c.unasked(StageDone)
}

func (c *conn) message() Message {
	m := Message{
		Conn: c.id, From: c.tx.from, To: c.tx.to, MailParams: c.tx.params,
		SHA256: sha256.Sum256(c.data), Size: len(c.data),
		TLS: c.tls, User: c.user, Time: time.Now(),
	}
	if !c.srv.cfg.DigestOnly {
		m.Data = bytes.Clone(c.data)
	}
	return m
}

func (c *conn) rset(line, _ string) error {
	c.reset()
	_, err := c.answer(StageReset, line, "250 2.0.0 reset")
	return err
}

func (c *conn) noop(string, string) error { return c.say("250 2.0.0 OK") }

func (c *conn) quit(line, _ string) error {
	if _, err := c.answer(StageQuit, line, "221 2.0.0 bye"); err != nil {
		return err
	}
	return errEnd
}
