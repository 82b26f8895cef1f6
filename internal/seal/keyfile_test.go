package seal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/seal"
)

// TestModeOfKeyFile: a key that everybody could have put there is none, one
// that everybody may read is told of.
func TestModeOfKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys, err := seal.LoadOrCreateKeys(dir)
	if err != nil || seal.Exposed(dir) != "" {
		t.Fatal(err, seal.Exposed(dir))
	}
	path := filepath.Join(dir, "encryption.key")
	for _, tt := range []struct {
		mode             os.FileMode
		refused, exposed bool
	}{{0o600, false, false}, {0o440, false, false}, {0o660, false, false}, {0o644, false, true}, {0o602, true, false}, {0o666, true, true}} {
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		got, err := seal.LoadKeys(dir)
		if refused := err != nil && strings.Contains(err.Error(), "chmod 600"); refused != tt.refused || (len(got) == len(keys)) == tt.refused {
			t.Errorf("%o: %d keys, %v", tt.mode, len(got), err)
		}
		if exposed := seal.Exposed(dir) != ""; exposed != tt.exposed {
			t.Errorf("%o: exposed %t", tt.mode, exposed)
		}
	}
	if _, err := seal.LoadKeys(t.TempDir()); !errors.Is(err, os.ErrNotExist) || seal.Exposed(t.TempDir()) != "" {
		t.Error(err)
	}
}
