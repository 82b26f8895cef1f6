package bolt

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/store"
)

func lastTrial(t *testing.T, dir string) store.Trial {
	t.Helper()
	s, trials := Examine(t.Context(), dir)
	if s != nil {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	last := trials[len(trials)-1]
	if (s != nil) != (last.Name == "read") {
		t.Errorf("a store behind %+v: %v", trials, s != nil)
	}
	return last
}

func TestExamine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "data", FileName)
	if last := lastTrial(t, filepath.Join(dir, "data")); last.Fault != "" {
		t.Errorf("no directory: %+v", last)
	}
	if _, err := os.Stat(filepath.Dir(file)); err == nil {
		t.Error("a directory was made")
	}
	s, err := Open(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	if last := lastTrial(t, filepath.Dir(file)); last.Fault != store.FaultInUse {
		t.Errorf("open: %+v", last)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(file)
	if last := lastTrial(t, filepath.Dir(file)); last.Name != "read" || last.Fault != "" {
		t.Errorf("closed: %+v", last)
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(after, before) {
		t.Error("the file was changed")
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("%v are left", left)
	}
	if err := os.WriteFile(file, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if last := lastTrial(t, filepath.Dir(file)); last.Fault != store.FaultDamaged {
		t.Errorf("no database: %+v", last)
	}
	if last := lastTrial(t, file); last.Fault != store.FaultDamaged {
		t.Errorf("no directory: %+v", last)
	}
}
