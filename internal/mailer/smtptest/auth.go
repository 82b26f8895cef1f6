package smtptest

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

func (c *conn) auth(line, args string) error {
	mechanism, initial, _ := strings.Cut(args, " ")
	mechanism = strings.ToUpper(mechanism)
	if mechanism != "CRAM-MD5" && !c.tls && c.srv.cfg.TLS == StartTLS {
		c.srv.violated(Violations{ClearSecrets: 1})
	}
	refusal := ""
	switch {
	case !c.offersAuth() && len(c.srv.cfg.Users) > 0:
		refusal = "538 5.7.11 encryption required"
	case !c.offersAuth():
		refusal = "502 5.5.1 AUTH is not to be had here"
	case c.user != "":
		refusal = "503 5.5.1 authenticated already"
	case !slices.Contains(c.srv.cfg.Mechanisms, mechanism):
		refusal = "504 5.5.4 mechanism not offered"
	}
	act := c.ask(StageAuth, line)
	text, err := c.decide(act, refusal)
	if err != nil {
		return err
	}
	if text != "" {
		return c.write(text, act)
	}
	return c.login(mechanism, initial)
}

func (c *conn) login(mechanism, initial string) error {
	user, ok, err := c.exchange(mechanism, initial)
	if err != nil {
		return err
	}
	if !ok {
		c.srv.count(func(s *Stats) { s.AuthFailures++ })
		return c.say("535 5.7.8 credentials invalid")
	}
	c.user = user
	return c.say("235 2.7.0 authenticated")
}

func (c *conn) exchange(mechanism, initial string) (user string, ok bool, err error) {
	switch mechanism {
	case "PLAIN":
		return c.plain(initial)
	case "LOGIN":
		return c.loginMechanism(initial)
	default:
		return c.cramMD5()
	}
}

// challenge sends a 334 and reads what comes back, decoded.
func (c *conn) challenge(text string) (string, error) {
	if err := c.say("334 " + base64.StdEncoding.EncodeToString([]byte(text))); err != nil {
		return "", err
	}
	line, err := c.readLine()
	return decode(line), err
}

// decode is the text of a base64 argument; "" when it is none.
func decode(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return ""
	}
	return string(b)
}

func (c *conn) plain(initial string) (string, bool, error) {
	response := decode(initial)
	if initial == "" {
		var err error
		if response, err = c.challenge(""); err != nil {
			return "", false, err
		}
	}
	parts := strings.Split(response, "\x00")
	if len(parts) != 3 {
		return "", false, nil
	}
	return parts[1], c.knows(parts[1], parts[2]), nil
}

func (c *conn) loginMechanism(initial string) (string, bool, error) {
	user := decode(initial)
	if initial == "" {
		var err error
		if user, err = c.challenge("Username:"); err != nil {
			return "", false, err
		}
	}
	password, err := c.challenge("Password:")
	return user, c.knows(user, password), err
}

func (c *conn) cramMD5() (string, bool, error) {
	challenge := fmt.Sprintf("<%d.%d@%s>", c.id, c.messages, c.srv.cfg.Hostname)
	response, err := c.challenge(challenge)
	if err != nil {
		return "", false, err
	}
	user, digest, _ := strings.Cut(response, " ")
	password, known := c.srv.cfg.Users[user]
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(challenge))
	return user, known && digest == hex.EncodeToString(mac.Sum(nil)), nil
}

func (c *conn) knows(user, password string) bool {
	want, known := c.srv.cfg.Users[user]
	return known && want == password
}
