package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/client"
)

// runToken runs `server token` and gives what it printed.
func runToken(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	code = run(append([]string{"token"}, args...), func(string) string { return "" }, &out, &complaints)
	return code, out.String(), complaints.String()
}

func TestTokenCommand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.jsonl")
	code, token, stderr := runToken(t, "-name", "reports", "-scopes", "contacts:read,campaigns:read", "-expires", "720h", "-file", path)
	if code != exitOK || !strings.HasPrefix(token, "postern_") || strings.Count(token, "\n") != 1 {
		t.Fatalf("exit %d, %q, %q", code, token, stderr)
	}
	stored, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(stored)+stderr, token[21:60]) || !strings.Contains(string(stored), token[8:20]) {
		t.Errorf("stored %s, said %q, %v", stored, stderr, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// Without a file: the token, and the line that is to be stored.
	code, out, stderr := runToken(t, "-name", "all", "-scopes", "admin", "-expires", "0")
	lines := strings.Split(out, "\n")
	if code != exitOK || len(lines) != 3 || !strings.HasPrefix(lines[1], `{"id":"`+lines[0][8:20]+`"`) || strings.Contains(lines[1], "expires") || strings.Contains(stderr, "postern_") {
		t.Errorf("exit %d, %q, %q", code, out, stderr)
	}
	for name, args := range map[string][]string{
		"no scopes":     {"-name", "x"},
		"unknown scope": {"-name", "x", "-scopes", "root"},
		"a rest":        {"-name", "x", "-scopes", "admin", "rest"},
		"unknown flag":  {"-nmae", "x"},
	} {
		if code, out, _ := runToken(t, args...); code != exitUsage || out != "" {
			t.Errorf("%s: exit %d, %q", name, code, out)
		}
	}
	if code, out, stderr := runToken(t, "-scopes", "admin", "-name", " "); code != exitFailed || out != "" || !strings.Contains(stderr, "name") {
		t.Errorf("no name: exit %d, %q, %q", code, out, stderr)
	}
	for want, args := range map[string][]string{
		"needed: -name, -scopes;": nil,
		"needed: -name;":          {"-scopes", "admin"},
		"needed: -scopes;":        {"-name", "x"},
	} {
		if code, out, stderr := runToken(t, args...); code != exitUsage || out != "" || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d, %q, %q; want %q", args, code, out, stderr, want)
		}
	}
	if code, _, stderr := runToken(t, "-h"); code != exitOK || !strings.Contains(stderr, "campaigns:send") {
		t.Errorf("help: exit %d, %q", code, stderr)
	}
}

// TestTokenOfAServer makes a token, calls a server with it, and takes it back,
// all while the server runs.
func TestTokenOfAServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens.jsonl")
	makes := func(scopes string) string {
		code, token, stderr := runToken(t, "-name", "of a test", "-scopes", scopes, "-file", path)
		if code != exitOK {
			t.Fatal(stderr)
		}
		return strings.TrimSpace(token)
	}
	first := makes("contacts:write")
	p := startProcess(t, map[string]string{
		"STORE": "embedded", "DATA_DIR": filepath.Join(dir, "data"), "AUTH": "token", "API_TOKENS_FILE": path,
	})
	as := func(token string) int {
		c := client.Client{Base: p.Base, Token: token}
		err := c.Import(t.Context(), []client.Contact{{"email": "ana@example.org"}})
		if answer, ok := errors.AsType[*client.Error](err); ok {
			return answer.Status
		}
		if err != nil {
			t.Fatal(err)
		}
		return http.StatusOK
	}
	becomes := func(token string, want int) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for as(token) != want {
			if time.Now().After(deadline) {
				t.Fatalf("never %d: %s", want, p.log)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	for token, want := range map[string]int{first: 200, "": 401, first + "0": 401} {
		if got := as(token); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	second := makes("contacts:write")
	becomes(second, http.StatusOK)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rest []string
	for line := range strings.Lines(string(whole)) {
		if !strings.Contains(line, first[8:20]) {
			rest = append(rest, line)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Join(rest, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	becomes(first, http.StatusUnauthorized)
	becomes(second, http.StatusOK)
	if err := os.WriteFile(path, nil, 0o600); err != nil { // a slip, not a revocation
		t.Fatal(err)
	}
	var ready struct{ Warnings []string }
	deadline := time.Now().Add(patience)
	for len(ready.Warnings) == 0 {
		if err := p.Call(t.Context(), "GET", "readyz", nil, &ready); err != nil || time.Now().After(deadline) {
			t.Fatalf("no warning: %v, %s", err, p.log)
		}
		time.Sleep(50 * time.Millisecond)
	}
	becomes(second, http.StatusOK)
	// The warning is there before the log's line is, which comes over a pipe.
	for !strings.Contains(p.log.String(), "API_TOKENS_FILE") && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	log := p.log.String()
	for _, token := range []string{first, second} {
		if strings.Contains(log, token[20:]) {
			t.Errorf("the log has a token: %s", log)
		}
	}
	if !strings.Contains(log, "API_TOKENS_FILE") {
		t.Errorf("the log has no fault: %s", log)
	}
}
