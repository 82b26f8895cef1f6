package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"postern/internal/store"
)

// Examine tries what the store in dir needs, and makes nothing. It gives the
// store, open for reading only, where there is one that can be opened; nil
// where there is none yet, or the last trial has a fault. The caller closes it.
func Examine(ctx context.Context, dir string) (*Store, []store.Trial) {
	trials := []store.Trial{tried("data directory", func() (string, store.Fault) { return examineDirectory(dir) })}
	if trials[0].Fault != "" {
		return nil, trials
	}
	if !Exists(dir) {
		return nil, append(trials, store.Trial{Name: "file", Detail: "there is no store yet; the first start makes it"})
	}
	var s *Store
	trials = append(trials, tried("file", func() (detail string, fault store.Fault) {
		s, detail, fault = openReadOnly(ctx, filepath.Join(dir, FileName))
		return detail, fault
	}))
	if s == nil {
		return nil, trials
	}
	return s, append(trials, tried("read", func() (string, store.Fault) {
		if _, err := s.Signal(ctx); err != nil {
			return err.Error(), store.FaultDamaged
		}
		return "one small value", ""
	}))
}

func tried(name string, try func() (string, store.Fault)) store.Trial {
	began := time.Now()
	detail, fault := try()
	return store.Trial{Name: name, Took: time.Since(began), Detail: detail, Fault: fault}
}

// examineDirectory finds out whether files can be made in dir, by making one
// that is gone at once.
func examineDirectory(dir string) (string, store.Fault) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return dir + " is not there yet; the first start makes it", ""
	case err != nil:
		return err.Error(), store.FaultDenied
	case !info.IsDir():
		return dir + " is no directory", store.FaultDamaged
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return fmt.Sprintf("%s cannot be written by user %d: %s", dir, os.Getuid(), err), store.FaultDenied
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return err.Error(), store.FaultDenied
	}
	return dir + " can be written", ""
}

func openReadOnly(ctx context.Context, path string) (*Store, string, store.Fault) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockPatience, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, path + " is open in another process", store.FaultInUse
	case errors.Is(err, os.ErrPermission):
		return nil, err.Error(), store.FaultDenied
	case err != nil:
		return nil, openError(err, path).Error(), store.FaultDamaged
	}
	m := newMetrics(nil, path)
	s := &Store{db: db, path: path, metrics: m, commits: startCommitter(db, path, m), large: make(chan struct{}, 1)}
	if err := s.examineFormat(ctx); err != nil {
		return nil, errors.Join(err, s.Close()).Error(), store.FaultDamaged
	}
	return s, fmt.Sprintf("%s has format %s and all its buckets", path, format), ""
}

func (s *Store) examineFormat(ctx context.Context) error {
	err := s.view(ctx, func(t *tx) error {
		if t.bolt.Bucket([]byte(metaBucket)) == nil {
			return nil // Ping says so
		}
		if found := string(t.get(metaBucket, []byte(formatKey))); found != format {
			return errFormat(s.path, found)
		}
		return nil
	})
	if err != nil { // first: another format has other buckets
		return err
	}
	return s.Ping(ctx)
}
