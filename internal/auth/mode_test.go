package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestModeOfTokensFile: a list that everybody may write is none, at whatever
// reading; one behind a link, as Kubernetes mounts secrets, is judged by itself.
func TestModeOfTokensFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.jsonl")
	link := filepath.Join(t.TempDir(), "mounted")
	if err := os.WriteFile(path, []byte("# none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	read := File(link)
	for mode, refused := range map[os.FileMode]bool{0o600: false, 0o644: false, 0o664: false, 0o646: true, 0o666: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := read(t.Context()); (err != nil) != refused || refused && !strings.Contains(err.Error(), "chmod") {
			t.Errorf("%o: %v", mode, err)
		}
	}
}
