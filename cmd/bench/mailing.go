package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
)

// What everybody sends: an HTML letter with the recipient's name in subject
// and text, which makes a message of about 2 KB.
const (
	sender  = "news@sender.example"
	subject = "{{first_name}}, your news of the week"
	// marker and markerAddress stand for a recipient in a message that was
	// composed once.
	marker        = "FIRSTNAME"
	markerAddress = "marker@rcpt.example"
	// ring is how many different recipients there are.
	ring = 1000
)

func letterHTML() string {
	const sentence = "<p>The works at the northern bank go on, and the bridge stays open to all traffic meanwhile.</p>\n"
	return "<h1>Dear {{first_name}} {{last_name}},</h1>\n" + strings.Repeat(sentence, 7)
}

// attachmentOf makes a file that no encoding makes smaller, the same each time.
func attachmentOf(octets int) []byte {
	data := make([]byte, octets)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(data) // never fails
	return data
}

// mailing is one contender's work: a letter to many, over some connections.
type mailing struct {
	spec
	host       string
	port       int
	roots      *x509.CertPool
	letter     *mailer.Letter
	attachment []byte
	recipients []campaign.Recipient
	next       atomic.Int64
	until      time.Time
}

func newMailing(s spec) (*mailing, error) {
	m := &mailing{spec: s, attachment: attachmentOf(s.Attachment)}
	var port string
	var err error
	if m.host, port, err = net.SplitHostPort(s.Addr); err != nil {
		return nil, err
	}
	if m.port, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	if s.TLS {
		m.roots = x509.NewCertPool()
		if !m.roots.AppendCertsFromPEM(s.Authority) {
			return nil, errors.New("the relay's authority is no certificate")
		}
	}
	for i := range ring {
		m.recipients = append(m.recipients, campaign.Recipient{
			Address: fmt.Sprintf("reader%04d@rcpt.example", i), Values: []string{fmt.Sprintf("Ada%04d", i), "Byron"},
		})
	}
	m.letter, err = compile(m.attachment)
	return m, err
}

func compile(attachment []byte) (*mailer.Letter, error) {
	content := mailer.Content{
		Subject: subject, HTML: letterHTML(), From: campaign.Mailbox{Name: "The News", Address: sender}, Date: time.Unix(1e9, 0),
	}
	if len(attachment) > 0 {
		content.Attachments = []mailer.Attachment{{Filename: "plan.bin", ContentType: "application/octet-stream", Data: attachment}}
	}
	return mailer.Compile(content)
}

// composed is the whole message to somebody called marker, and its size is
// what every contender puts on the wire, nearly.
func composed(letter *mailer.Letter) ([]byte, error) {
	var m mailer.Message
	to := campaign.Recipient{Address: markerAddress, Values: []string{marker, "Byron"}}
	if err := letter.Render(&m, to, messageIDs.Of(to.Address)); err != nil {
		return nil, err
	}
	return bytes.Join(m.Segments(), nil), nil
}

// messageSize is the octets of a message with an attachment of so many.
func messageSize(attachment int) (int, error) {
	letter, err := compile(attachmentOf(attachment))
	if err != nil {
		return 0, err
	}
	message, err := composed(letter)
	return len(message), err
}

// begin starts the clock that take looks at.
func (m *mailing) begin() { m.until = time.Now().Add(m.For) }

// take gives the next recipient until the time is over, and one for each
// connection in any case, however slow the machine is.
func (m *mailing) take() (r *campaign.Recipient, ok bool) {
	n := int(m.next.Add(1))
	if n > m.Connections && !time.Now().Before(m.until) {
		return nil, false
	}
	return &m.recipients[n%ring], true
}

// messageID is what Postern makes for a recipient of a campaign.
// messageIDs are made as the engine does.
var messageIDs = mailer.NewMessageIDs(make([]byte, 32), "bench", sender)

func messageID(r *campaign.Recipient) string { return messageIDs.Of(r.Address) }

// eachConnection has as many goroutines as there are connections send until
// the time is over, and counts what they sent.
func (m *mailing) eachConnection(send func() (int, error)) (int, error) {
	m.begin()
	var (
		total  atomic.Int64
		faults = make([]error, m.Connections)
		group  sync.WaitGroup
	)
	for i := range m.Connections {
		group.Go(func() {
			n, err := send()
			total.Add(int64(n))
			faults[i] = err
		})
	}
	group.Wait()
	return int(total.Load()), errors.Join(faults...)
}

// relay is the relay as the mailer has it, and how to connect to it.
func (m *mailing) relay() (mailer.Relay, mailer.Options, error) {
	rules, err := mailer.ParseRules([]string{m.host}, []int{m.port})
	options := mailer.Options{Rules: rules, LocalName: "client.example", RootCAs: m.roots}
	return mailer.Relay{Host: m.host, Port: m.port, UseTLS: m.TLS}, options, err
}

// overSessions sends rendered messages over bare sessions: what the protocol
// costs without the lane, its gate and its budget.
func (m *mailing) overSessions(ctx context.Context) (int, error) {
	relay, options, err := m.relay()
	if err != nil {
		return 0, err
	}
	return m.eachConnection(func() (int, error) {
		s, err := mailer.Dial(ctx, relay, options)
		if err != nil {
			return 0, err
		}
		defer s.Quit()
		return m.overSession(ctx, s)
	})
}

func (m *mailing) overSession(ctx context.Context, s *mailer.Session) (sent int, err error) {
	now, ahead := &mailer.Mail{Message: &mailer.Message{}}, &mailer.Mail{Message: &mailer.Message{}}
	more, err := m.splice(now)
	for more && err == nil {
		var following bool
		if following, err = m.splice(ahead); err != nil {
			break
		}
		var next *mailer.Mail
		if following {
			next = ahead
		}
		if _, err = s.Send(ctx, now, next); err == nil {
			sent++
		}
		now, ahead, more = ahead, now, following
	}
	return sent, err
}

// splice makes the next message of the letter.
func (m *mailing) splice(mail *mailer.Mail) (more bool, err error) {
	r, ok := m.take()
	if !ok {
		return false, nil
	}
	mail.From, mail.To = sender, r.Address
	return true, m.letter.Render(mail.Message, *r, messageID(r))
}
