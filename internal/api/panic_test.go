package api_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

// TestPanicKeepsSecrets holds that what a request brought is neither in the
// answer nor in the log when its handler panics, stack included.
func TestPanicKeepsSecrets(t *testing.T) {
	t.Parallel()
	const password, letter, file = "canary-of-the-password", "canary-of-the-letter", "canary-of-the-file"
	s := start(t)
	s.hook = func(context.Context) {
		var v any = password
		_ = v.(int) // an error of the runtime's
	}
	r := s.call(http.MethodPost, "/smtp-campaign", `{"from_email":"a@b.org","subject":"s","body":"`+letter+`",
		"smtp_username":"u","smtp_password":"`+password+`",
		"attachments":[{"filename":"a","content_type":"text/plain","content":"`+base64.StdEncoding.EncodeToString([]byte(file))+`"}]}`,
		"Authorization", "Bearer canary-of-the-token").want(http.StatusInternalServerError)
	line := s.logged(t, "/smtp-campaign")
	if line["stack"] == nil {
		t.Fatalf("log %v", line)
	}
	for where, text := range map[string]string{"answer": string(r.body), "log": s.log.String()} {
		if strings.Contains(text, "canary") || strings.Contains(text, "Y2FuYXJ5") {
			t.Errorf("a secret is in the %s: %s", where, text)
		}
	}
}
