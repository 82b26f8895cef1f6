package mailer

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// extensions are what a relay offers in its answer to EHLO.
type extensions struct {
	pipelining bool     // RFC 2920
	startTLS   bool     // RFC 3207
	smtpUTF8   bool     // RFC 6531
	size       bool     // RFC 1870
	maxSize    int64    // octets; 0 for no stated limit
	auth       []string // mechanisms of RFC 4954, in upper case
}

// parseExtensions reads the text of EHLO's reply: the relay's name on the
// first line, a keyword with its parameters on each other one.
func parseExtensions(text []byte) extensions {
	var ext extensions
	lines := bytes.Split(text, []byte("\n"))
	for _, line := range lines[1:] {
		// "AUTH=LOGIN" is how relays wrote it before RFC 2554.
		fields := strings.FieldsFunc(strings.ToUpper(string(line)), func(r rune) bool { return r == ' ' || r == '=' })
		if len(fields) > 0 {
			ext.add(fields[0], fields[1:])
		}
	}
	return ext
}

func (ext *extensions) add(keyword string, params []string) {
	switch keyword {
	case "PIPELINING":
		ext.pipelining = true
	case "STARTTLS":
		ext.startTLS = true
	case "SMTPUTF8":
		ext.smtpUTF8 = true
	case "SIZE":
		ext.size = true
		if len(params) > 0 {
			n, err := strconv.ParseInt(params[0], 10, 64)
			if err == nil && n > 0 {
				ext.maxSize = n
			}
		}
	case "AUTH":
		ext.auth = append(ext.auth, params...)
	}
}

// hello says EHLO. A relay that does not know it is told HELO where no
// extension is needed, and is of no use where TLS or AUTH is.
func (s *Session) hello(name string, needsExtensions bool) *Error {
	if name == "" {
		name = ownName(s.raw.LocalAddr())
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return s.refuse(StageHello, "the local name for EHLO must be a domain or an address literal")
	}
	r, err := s.command(StageHello, 2, "EHLO "+name)
	if err == nil {
		s.ext = parseExtensions(r.text)
		return nil
	}
	if !slices.Contains([]int{500, 502, 504}, err.Code) {
		return err
	}
	if needsExtensions {
		err.Scope, err.Temporary = ScopeCampaign, false
		return err
	}
	s.ext = extensions{}
	_, err = s.command(StageHello, 2, "HELO "+name)
	return err
}

// refuse makes an Error that stops the campaign, of something that is found
// out without a reply.
func (s *Session) refuse(stage Stage, text string) *Error {
	return &Error{Stage: stage, Scope: ScopeCampaign, Text: text}
}

// ownName is the system's host name where it is a full domain, and else the
// address literal of the connection's own end.
func ownName(local net.Addr) string {
	name, err := os.Hostname()
	if err == nil && strings.Contains(name, ".") && checkHostName(name) == nil {
		return name
	}
	return addressLiteral(local)
}

func addressLiteral(local net.Addr) string {
	end, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return "[127.0.0.1]"
	}
	addr := end.Addr().Unmap().WithZone("")
	if addr.Is4() {
		return "[" + addr.String() + "]"
	}
	return "[IPv6:" + addr.String() + "]"
}
