package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// verify holds what the relay caught against what was to be sent, with the
// standard library's parsers: everybody once, the right name in each message,
// both attachments byte for byte.
func verify(relay *smtptest.Server, people []client.Contact) (report string, err error) {
	want := map[string]client.Contact{}
	for _, p := range people {
		want[text(p, "email")] = p
	}
	messages := relay.Messages()
	for _, m := range messages {
		person, found := want[m.To[0]]
		if !found {
			return "", fmt.Errorf("%s was mailed twice, or is nobody's address", m.To[0])
		}
		delete(want, m.To[0])
		if err := verifyMessage(m.Data, person); err != nil {
			return "", fmt.Errorf("message to %s: %w", m.To[0], err)
		}
		if !m.TLS || m.User != "demo" {
			return "", fmt.Errorf("message to %s came without TLS or password", m.To[0])
		}
	}
	if len(want) > 0 {
		return "", fmt.Errorf("%d people were not mailed", len(want))
	}
	if v := relay.Violations(); v.Total() > 0 {
		return "", fmt.Errorf("the relay saw violations of the standards: %+v", v)
	}
	return fmt.Sprintf("%d messages, each person exactly once and by the right name, both attachments byte for byte, all over TLS in %d connections",
		len(messages), relay.Stats().Opened), nil
}

func text(c client.Contact, field string) string {
	s, _ := c[field].(string)
	return s
}

func verifyMessage(raw []byte, person client.Contact) error {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	to, err := m.Header.AddressList("To")
	if err != nil {
		return err
	}
	name := strings.TrimSpace(text(person, "first_name") + " " + text(person, "last_name"))
	if len(to) != 1 || to[0].Address != text(person, "email") || to[0].Name != name {
		return fmt.Errorf("its To is %v, not %q <%s>", to, name, person["email"])
	}
	parts, err := readParts(m.Header.Get("Content-Type"), m.Body)
	if err != nil {
		return err
	}
	greeting := "Dear " + text(person, "first_name") + " " + text(person, "last_name")
	if !strings.Contains(parts["text/html"], html.EscapeString(greeting)) {
		return errors.New("the HTML does not greet the person by name")
	}
	if !strings.Contains(parts["text/plain"], strings.TrimSpace(greeting)) {
		return errors.New("the plain text does not greet the person by name")
	}
	for _, file := range []string{"leaflet.pdf", "emblem.png"} {
		original, err := letterFiles.ReadFile("letter/" + file)
		if err != nil {
			return err
		}
		if parts[file] != string(original) {
			return fmt.Errorf("%s is not what was attached", file)
		}
	}
	return nil
}

// readParts gives the decoded leaves of a message: attachments by file name,
// others by media type.
func readParts(contentType string, body io.Reader) (map[string]string, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	parts := map[string]string{}
	for r := multipart.NewReader(body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			return nil, err
		}
		if err := readPart(p, parts); err != nil {
			return nil, err
		}
	}
}

func readPart(p *multipart.Part, parts map[string]string) error {
	contentType := p.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return err
	}
	if strings.HasPrefix(media, "multipart/") {
		inner, err := readParts(contentType, p)
		maps.Copy(parts, inner)
		return err
	}
	var body io.Reader = p
	switch strings.ToLower(p.Header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(p)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, p)
	}
	content, err := io.ReadAll(body)
	if name := p.FileName(); name != "" {
		media = name
	}
	parts[media] = string(content)
	return err
}
