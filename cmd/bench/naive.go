package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/smtp"
	"strings"

	mail "github.com/xhit/go-simple-mail/v2"

	"postern/internal/campaign"
)

// overNetSMTP is the loop that users of net/smtp write who have thought about
// it: connections that are kept, and a message composed once into which names
// are put.
func (m *mailing) overNetSMTP(context.Context) (int, error) {
	message, err := composed(m.letter)
	if err != nil {
		return 0, err
	}
	return m.eachConnection(func() (int, error) {
		c, err := smtp.Dial(m.Addr)
		if err != nil {
			return 0, err
		}
		defer func() { _ = c.Close() }()
		if m.TLS {
			if err := c.StartTLS(m.tlsConfig()); err != nil {
				return 0, err
			}
		}
		sent := 0
		for {
			r, more := m.take()
			if !more {
				return sent, c.Quit()
			}
			personal := bytes.ReplaceAll(bytes.ReplaceAll(message, []byte(marker), []byte(r.Values[0])), []byte(markerAddress), []byte(r.Address))
			if err := overClient(c, r.Address, personal); err != nil {
				return sent, err
			}
			sent++
		}
	})
}

func (m *mailing) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: m.host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}
}

func overClient(c *smtp.Client, to string, message []byte) error {
	if err := c.Mail(sender); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(message); err != nil {
		return err
	}
	return w.Close()
}

// overSimpleMail is the loop of go-simple-mail's own documentation for many
// mails over kept connections: each message is composed by the library.
func (m *mailing) overSimpleMail(context.Context) (int, error) {
	html := letterHTML()
	return m.eachConnection(func() (int, error) {
		server := mail.NewSMTPClient()
		server.Host, server.Port, server.KeepAlive = m.host, m.port, true
		if m.TLS {
			server.Encryption, server.TLSConfig = mail.EncryptionSTARTTLS, m.tlsConfig()
		}
		client, err := server.Connect()
		if err != nil {
			return 0, err
		}
		sent := 0
		for {
			r, more := m.take()
			if !more {
				return sent, client.Quit()
			}
			if err := m.simpleMail(r, html).Send(client); err != nil {
				return sent, err
			}
			sent++
		}
	})
}

func (m *mailing) simpleMail(r *campaign.Recipient, html string) *mail.Email {
	personal := strings.NewReplacer("{{first_name}}", r.Values[0], "{{last_name}}", r.Values[1])
	email := mail.NewMSG().SetFrom("The News <" + sender + ">").AddTo(r.Address).SetSubject(personal.Replace(subject))
	email.SetBody(mail.TextHTML, personal.Replace(html))
	email.AddAlternative(mail.TextPlain, "Dear "+r.Values[0]+",\n\n"+strings.Repeat("The works at the northern bank go on, and the bridge stays open to all traffic meanwhile.\n", 7))
	if len(m.attachment) > 0 {
		email.Attach(&mail.File{Name: "plan.bin", MimeType: "application/octet-stream", Data: m.attachment})
	}
	return email
}
