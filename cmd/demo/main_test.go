package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	var out, faults bytes.Buffer
	code := run([]string{"-dir", dir, "-contacts", "60", "-rate", "0"}, &out, &faults)
	if code != 0 || faults.Len() > 0 {
		t.Fatalf("exit %d: %s\n%s", code, faults.String(), out.String())
	}
	if !strings.Contains(out.String(), "60 of 60 sent, 0 failed: completed") || !strings.Contains(out.String(), "Verified: 60 messages") {
		t.Errorf("it printed:\n%s", out.String())
	}
	mails, err := os.ReadDir(filepath.Join(dir, "mail"))
	if err != nil || len(mails) != 60 {
		t.Errorf("%d messages are saved, %v", len(mails), err)
	}
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	people, err := loadPeople(25)
	if err != nil {
		t.Fatal(err)
	}
	message := "To: x <" + text(people[0], "email") + ">\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
	if err := verifyMessage([]byte(message), people[0]); err == nil {
		t.Error("a message to another name and without attachments passes")
	}
}
