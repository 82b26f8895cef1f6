package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"postern/internal/client"
)

// task is a server process.
type task struct {
	client.Client
	child *child
	log   string // path
	gate  *gate  // its way to DynamoDB; nil on the embedded store
	up    chan struct{}
}

// startTask starts a server. It is up when the channel is closed.
func startTask(binary, log string, env []string) (*task, error) {
	file, err := os.OpenFile(filepath.Clean(log), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	t := &task{log: log, up: make(chan struct{})}
	cmd := exec.Command(binary) //nolint:noctx // it outlives every context
	cmd.Env = env
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = writer
	t.child, err = startChild(cmd)
	_ = writer.Close()
	if err != nil {
		return nil, err
	}
	go t.follow(reader, file)
	return t, nil
}

// follow copies the log into its file, and learns from it where the API is.
func (t *task) follow(from io.ReadCloser, into *os.File) {
	defer func() { _ = from.Close(); _ = into.Close() }()
	lines := bufio.NewReader(io.TeeReader(from, into))
	for isUp := false; ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var said struct{ Message, API string }
		if !isUp && json.Unmarshal(line, &said) == nil && said.Message == "postern is up" {
			isUp, t.Base = true, "http://"+said.API
			close(t.up)
		}
	}
}

// awaitUp waits until the task serves, or says that it does not.
func (t *task) awaitUp(ctx context.Context) error {
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	select {
	case <-t.up:
		return nil
	case <-t.child.exited:
		return fmt.Errorf("the server ended by itself: %s; its log is %s", t.child.cmd.ProcessState, t.log)
	case <-timeout.C:
		return fmt.Errorf("the server does not come up; its log is %s", t.log)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isUp says whether the task serves.
func (t *task) isUp() bool {
	select {
	case <-t.child.exited:
		return false
	default:
	}
	select {
	case <-t.up:
		return true
	default:
		return false
	}
}
