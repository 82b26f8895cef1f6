package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// header is the first line of a file that Append makes. It also keeps a file
// from which all tokens were taken from being empty.
const header = "# API tokens of Postern, one a line. A token is revoked by taking its line away.\n"

// Append adds a line to the list in a file, which it makes, for its owner's eyes
// only, where there is none. A reader sees the old list or the new one, whole,
// and so does everybody after a crash. Two at a time do not get in each other's
// way: the second one fails. A list with a fault is left alone.
func Append(path string, line []byte) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link stays one
	}
	beside, err := claim(path + ".new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = beside.Close() // it may be closed already
			err = errors.Join(err, os.Remove(beside.Name()))
		}
	}()
	old, mode, err := present(path)
	if err != nil {
		return err
	}
	next := slices.Concat(old, line)
	if _, err := parseList(next); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := beside.Write(next); err != nil {
		return err
	}
	if err := errors.Join(beside.Chmod(mode), beside.Sync(), beside.Close()); err != nil {
		return err
	}
	return os.Rename(beside.Name(), path)
}

// claim makes the file that will take the list's name. One at a time can have
// it.
func claim(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // G304: the operator's choice
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s is there: somebody else adds a token now, or was cut off and left it; then remove it", path)
	}
	return f, err
}

// present reads the file that is there, or gives the beginning of a new one.
func present(path string) (text []byte, mode fs.FileMode, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []byte(header), 0o600, nil
	}
	if err != nil {
		return nil, 0, err
	}
	text, err = os.ReadFile(path) //nolint:gosec // G304: the operator's choice
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	return text, info.Mode().Perm(), err
}
