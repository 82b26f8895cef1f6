package auth

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.jsonl")
	var all []string
	for i := range 3 {
		token, line := mint(t, reader(fmt.Sprint(i)))
		must(t, Append(path, line))
		all = append(all, token)
	}
	text := read(t, path)
	list, err := parseList([]byte(text))
	if err != nil || len(list) != 3 || !strings.HasPrefix(text, "# ") {
		t.Errorf("%v:\n%s", err, text)
	}
	for _, token := range all {
		if _, err := list.check(token, noon); err != nil {
			t.Error(err)
		}
	}
	wantMode(t, path, 0o600)
	if _, err := os.Stat(path + ".new"); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != want {
		t.Errorf("mode %o, want %o", info.Mode().Perm(), want)
	}
}

// TestAppendToAnOperatorsFile: a link stays a link, the mode stays, and a last
// line without its end is not glued to the next.
func TestAppendToAnOperatorsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	_, first := mint(t, reader("first"))
	_, second := mint(t, reader("second"))
	write(t, path, strings.TrimSpace(string(first)))
	must(t, os.Chmod(path, 0o640))
	must(t, os.Symlink(path, link))
	must(t, Append(link, second))
	if got := read(t, path); got != string(first)+string(second) {
		t.Errorf("file %s", got)
	}
	wantMode(t, path, 0o640)
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", info, err)
	}
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, line := mint(t, reader("one"))
	broken := filepath.Join(dir, "broken")
	write(t, broken, "{\n")
	if err := Append(broken, line); err == nil || read(t, broken) != "{\n" {
		t.Errorf("to a broken list: %v", err)
	}
	busy := filepath.Join(dir, "busy")
	write(t, busy, header)
	write(t, busy+".new", "of somebody else")
	if err := Append(busy, line); err == nil || read(t, busy) != header || read(t, busy+".new") != "of somebody else" {
		t.Errorf("while somebody else does: %v", err)
	}
	if err := Append(filepath.Join(dir, "nowhere", "file"), line); err == nil {
		t.Error("in no directory")
	}
}

// TestAppendAtOnce: of many at a time, those that succeed are all there.
func TestAppendAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.jsonl")
	var mu sync.Mutex
	var stored []string
	var running sync.WaitGroup
	for range 20 {
		token, line := mint(t, reader("one of many"))
		running.Go(func() {
			if Append(path, line) == nil {
				mu.Lock()
				defer mu.Unlock()
				stored = append(stored, token)
			}
		})
	}
	running.Wait()
	list, err := parseList([]byte(read(t, path)))
	if err != nil || len(list) != len(stored) || len(stored) == 0 {
		t.Fatalf("%d stored, %d there, %v", len(stored), len(list), err)
	}
	for _, token := range stored {
		if _, err := list.check(token, noon); err != nil {
			t.Error(err)
		}
	}
}
