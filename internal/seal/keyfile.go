package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// keyFile is the keys' file in the data directory: base64 of a key on each
// line, the newest first; or, as it was written once, KeySize octets and
// nothing else.
const keyFile = "encryption.key"

// LoadOrCreateKeys reads the key file in dir, or makes it with a new random
// key and mode 0600. Whoever loses the file loses what was sealed with it.
func LoadOrCreateKeys(dir string) ([][]byte, error) {
	keys, err := LoadKeys(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return createKey(filepath.Join(dir, keyFile))
	}
	return keys, err
}

// LoadKeys reads the key file in dir. The error wraps fs.ErrNotExist when there
// is none, and does not contain any of the keys.
func LoadKeys(dir string) ([][]byte, error) {
	path := filepath.Join(dir, keyFile)
	content, err := os.ReadFile(path) //nolint:gosec // G304: the operator names the directory
	if err != nil {
		return nil, fmt.Errorf("read the encryption key, without which what is in the store cannot be opened: %w", err)
	}
	if others, err := othersMay(path); err != nil || others&mayWrite != 0 {
		return nil, errors.Join(err, fmt.Errorf("the encryption key %s may be written by everybody on this machine: chmod 600 it, once you know that it is the right one", path))
	}
	if len(content) == KeySize {
		return [][]byte{content}, nil
	}
	keys, err := parseKeys(content)
	if err != nil {
		return nil, fmt.Errorf("the encryption key %s: %w: put the right file back", path, err)
	}
	return keys, nil
}

// Permissions of those who are neither the file's owner nor of its group.
const (
	mayWrite fs.FileMode = 0o002
	mayRead  fs.FileMode = 0o004
)

// othersMay gives the permissions of the others. The group is left out:
// Kubernetes gives its own (fsGroup) to a volume's files, to write as well.
// Where modes are made up, on Windows, it is 0.
func othersMay(path string) (fs.FileMode, error) {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" {
		return 0, err
	}
	return info.Mode().Perm() & (mayWrite | mayRead), nil
}

// Exposed gives the path of the key file in dir where everybody on the machine
// may read it, and "" otherwise.
func Exposed(dir string) string {
	path := filepath.Join(dir, keyFile)
	if others, err := othersMay(path); err != nil || others&mayRead == 0 {
		return "" // without a file, too
	}
	return path
}

func parseKeys(content []byte) (keys [][]byte, err error) {
	for i, line := range bytes.Split(content, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		key, err := base64.StdEncoding.AppendDecode(nil, line)
		if err != nil || len(key) != KeySize {
			return nil, fmt.Errorf("line %d is not base64 of %d octets", i+1, KeySize)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key in it")
	}
	return keys, nil
}

func createKey(path string) ([][]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the encryption key: %w", err)
	}
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand aborts the program instead
	// Written aside, synced, then linked: a crash leaves a whole key or none,
	// and of two starts at once the second uses the first one's.
	tmp, err := os.CreateTemp(filepath.Dir(path), ".encryption.key-*")
	if err != nil {
		return nil, fmt.Errorf("write the encryption key: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if _, err = tmp.WriteString(base64.StdEncoding.EncodeToString(key) + "\n"); err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return nil, fmt.Errorf("write the encryption key: %w", err)
	}
	switch err = os.Link(tmp.Name(), path); {
	case errors.Is(err, fs.ErrExist):
		return LoadKeys(filepath.Dir(path))
	case err != nil:
		return nil, fmt.Errorf("write the encryption key: %w", err)
	}
	return [][]byte{key}, syncDir(filepath.Dir(path))
}

// syncDir makes the directory's new entry durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // G304: the operator names the directory
	if err != nil {
		return fmt.Errorf("sync the directory of the encryption key: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
