package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	docker "github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"postern/internal/client"
	"postern/internal/engine"
)

const (
	// containerRate is messages a second: slow enough to be met in mid-campaign.
	containerRate = 100
	// containerWithin includes a first build, which fetches all modules.
	containerWithin = 12 * time.Minute
)

// TestContainer builds the image and runs it as docker-compose.yml does, with
// DynamoDB Local and MailHog, through a campaign, a power cut and a stop.
func TestContainer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), containerWithin)
	defer cancel()
	s := newStack(ctx, t)
	s.start(ctx, t, "dynamodb", "8000")
	mail := mailhog{address(ctx, t, s.start(ctx, t, "mailhog", "8025"), "8025")}
	service := s.services["postern"]
	service.Environment["RELAY_RATE"] = fmt.Sprint(containerRate)
	postern := s.start(ctx, t, "postern", "8080")

	s.inspect(ctx, t, postern)
	sendNames(ctx, t, client.Client{Base: address(ctx, t, postern, "8080")}, mail)
	s.cutPower(ctx, t, postern, mail)

	if err := postern.Stop(ctx, &service.StopGracePeriod); err != nil {
		t.Fatal(err)
	}
	if state, err := postern.State(ctx); err != nil || state.Running || state.ExitCode != exitOK {
		t.Errorf("after SIGTERM: %+v, %v; want exit code %d", state, err, exitOK)
	}
}

// inspect holds the image to what it is to be: one program and the
// certificates, nothing else to run, for a user who is nobody.
func (s *stack) inspect(ctx context.Context, t *testing.T, c *testcontainers.DockerContainer) {
	t.Helper()
	image, err := s.engine.ImageInspect(ctx, c.Image)
	if err != nil {
		t.Fatal(err)
	}
	config := image.Config
	if config.User != "65532:65532" {
		t.Errorf("the image runs as %q", config.User)
	}
	// There is no shell to run a command in shell form.
	if !slices.Equal(config.Entrypoint, []string{"/server"}) || len(config.Cmd) != 0 ||
		config.Healthcheck == nil || !slices.Equal(config.Healthcheck.Test, []string{"CMD", "/server", "healthcheck"}) {
		t.Errorf("the image runs %q %q, checked by %+v", config.Entrypoint, config.Cmd, config.Healthcheck)
	}
	for _, variable := range config.Env {
		if name, _, _ := strings.Cut(variable, "="); !slices.Contains([]string{"PATH", "LISTEN_ADDR", "METRICS_ADDR", "DATA_DIR"}, name) {
			t.Errorf("the image sets %s", name)
		}
	}
	if code, _, err := c.Exec(ctx, []string{"/server", "version"}); err != nil || code != exitOK {
		t.Errorf("server version in the container: exit code %d, %v", code, err)
	}
	s.inspectFiles(ctx, t, c)
}

// inspectFiles looks at what has content: Docker itself adds empty files.
func (s *stack) inspectFiles(ctx context.Context, t *testing.T, c *testcontainers.DockerContainer) {
	t.Helper()
	export, err := s.engine.ContainerExport(ctx, c.GetContainerID(), docker.ContainerExportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = export.Close() }()
	var files []string
	var data tar.Header
	for archive := tar.NewReader(export); ; {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry.Typeflag == tar.TypeReg && entry.Size > 0 {
			files = append(files, entry.Name)
		}
		if entry.Mode&0o6000 != 0 {
			t.Errorf("%s has mode %o", entry.Name, entry.Mode)
		}
		if path.Clean(entry.Name) == "data" {
			data = *entry
		}
	}
	slices.Sort(files)
	if want := []string{"etc/ssl/certs/ca-certificates.crt", "server"}; !slices.Equal(files, want) {
		t.Errorf("the image holds %q; want %q", files, want)
	}
	if data.Typeflag != tar.TypeDir || data.Uid != 65532 || data.Mode&0o777 != 0o700 {
		t.Errorf("/data belongs to %d, with mode %o", data.Uid, data.Mode)
	}
}

var namesOfTheWorld = []string{
	"Zoë", "Łukasz", "Ἀλέξανδρος", "Дмитрий", "محمد", "דוד", "李小龍", "さくら", "김철수", "अमित", "Nguyễn Thị Ánh", "O'Brien & <Sons>", "👩‍🚀",
}

// sendNames mails people with names from many scripts, with an attachment.
func sendNames(ctx context.Context, t *testing.T, api client.Client, mail mailhog) {
	t.Helper()
	contacts := make([]client.Contact, len(namesOfTheWorld))
	for i, name := range namesOfTheWorld {
		contacts[i] = client.Contact{"email": fmt.Sprintf("name%d@example.org", i), "first_name": name}
	}
	if err := api.Import(ctx, contacts); err != nil {
		t.Fatal(err)
	}
	file := client.Attachment{Filename: "Übersicht 概要.pdf", ContentType: "application/pdf"}
	for i := range 100_000 {
		file.Content = append(file.Content, byte(i*i>>8))
	}
	campaign := client.Campaign{
		From: "office@example.org", Subject: "Grüße, {{first_name}} – 你好", Body: "<p>Dear {{first_name}}</p>",
		Attachments: []client.Attachment{file},
	}
	id, err := api.Submit(ctx, campaign)
	if err != nil {
		t.Fatal(err)
	}
	followToEnd(ctx, t, api, id, len(contacts))
	got := mail.messages(ctx, t)
	for i, name := range namesOfTheWorld {
		email := fmt.Sprintf("name%d@example.org", i)
		if len(got[email]) != 1 {
			t.Errorf("%s has %d messages", email, len(got[email]))
			continue
		}
		message := got[email][0]
		if subject := message.GetHeader("Subject"); subject != "Grüße, "+name+" – 你好" || !strings.Contains(message.Text, name) {
			t.Errorf("%s is greeted with %q and %q", name, subject, message.Text)
		}
		if a := message.Attachments; len(a) != 1 || a[0].FileName != file.Filename || !bytes.Equal(a[0].Content, file.Content) {
			t.Errorf("%s has other attachments than were sent: %v", email, a)
		}
	}
	if len(got) != len(contacts) {
		t.Errorf("%d people were mailed; want %d", len(got), len(contacts))
	}
}

func followToEnd(ctx context.Context, t *testing.T, api client.Client, id string, n int) {
	t.Helper()
	final, err := api.Follow(ctx, id, nil)
	if err != nil {
		t.Fatalf("the campaign did not end: %v, %+v", err, final)
	}
	if final.Status != "completed" || final.Sent != n || final.Total != n {
		t.Errorf("ended as %+v; want %d sent", final, n)
	}
}

// cutPower kills the container in the middle of a campaign and starts it
// again. Its state is in DynamoDB Local, so nobody is missing; duplicates are
// bounded, and a reader can tell them by their Message-ID.
func (s *stack) cutPower(ctx context.Context, t *testing.T, postern *testcontainers.DockerContainer, mail mailhog) {
	t.Helper()
	const n, connections = 600, 10 // the preset of RELAY_MAX_CONNECTIONS
	emails, contacts := make([]string, n), make([]client.Contact, n)
	for i := range n {
		emails[i] = fmt.Sprintf("r%d@example.org", i)
		contacts[i] = client.Contact{"email": emails[i], "first_name": "R"}
	}
	api := client.Client{Base: address(ctx, t, postern, "8080")}
	if err := api.Import(ctx, contacts); err != nil {
		t.Fatal(err)
	}
	before := mail.page(ctx, t, 0, 1).Total
	id, err := api.Submit(ctx, client.Campaign{From: "office@example.org", Subject: "Hello", Body: "<p>Hello</p>", Recipients: emails})
	if err != nil {
		t.Fatal(err)
	}
	mail.awaitMessages(ctx, t, before+n/4)
	if _, err := s.engine.ContainerKill(ctx, postern.GetContainerID(), docker.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	if state, err := postern.State(ctx); err != nil || state.Running || state.ExitCode != 128+9 {
		t.Fatalf("after SIGKILL: %+v, %v", state, err)
	}
	if total := mail.page(ctx, t, 0, 1).Total - before; total >= n {
		t.Fatal("the campaign was over before the kill")
	}
	if err := postern.Start(ctx); err != nil {
		t.Fatalf("it did not become healthy again: %v", err)
	}
	followToEnd(ctx, t, client.Client{Base: address(ctx, t, postern, "8080")}, id, n)
	got, duplicates := mail.messages(ctx, t), 0
	for _, email := range emails {
		if len(got[email]) == 0 {
			t.Errorf("%s was not mailed", email)
			continue
		}
		duplicates += len(got[email]) - 1
		for _, again := range got[email][1:] {
			if first := got[email][0].GetHeader("Message-ID"); first == "" || again.GetHeader("Message-ID") != first {
				t.Errorf("%s has the same letter under two Message-IDs", email)
			}
		}
	}
	if bound := 2*connections + engine.Window; duplicates > bound {
		t.Errorf("%d duplicates; at most %d may be", duplicates, bound)
	}
	t.Logf("killed in mid-campaign: %d people, %d duplicates", n, duplicates)
}
