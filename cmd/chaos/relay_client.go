package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"postern/internal/client"
)

// relayProcess is the relay as the harness sees it.
type relayProcess struct {
	port    int
	control client.Client
	child   *child
	input   io.Closer // whose end ends the relay
}

// asRelay makes this very program be the relay.
const asRelay = "POSTERN_CHAOS_RELAY"

func startRelayProcess(seed uint64) (*relayProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self) //nolint:gosec,noctx // G204: this very program; it ends with its input
	cmd.Env = append(os.Environ(), asRelay+"="+strconv.FormatUint(seed, 10))
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started, err := startChild(cmd)
	if err != nil {
		return nil, err
	}
	r := &relayProcess{child: started, input: input}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	var hello relayHello
	if err == nil {
		err = json.Unmarshal(line, &hello)
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("the relay does not start: %w", err)
	}
	r.port = hello.SMTP
	r.control = client.Client{Base: hello.Control, HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	return r, nil
}

func (r *relayProcess) close() {
	_ = r.input.Close()
	<-r.child.exited
	if r.control.HTTP != nil {
		r.control.HTTP.CloseIdleConnections()
	}
}

// ask makes a call to the relay's process.
func ask[Out any](ctx context.Context, r *relayProcess, what string, in any) (out Out, err error) {
	err = r.control.Call(ctx, http.MethodPost, what, in, &out)
	return out, err
}

func (r *relayProcess) tell(ctx context.Context, what string, in any) error {
	return r.control.Call(ctx, http.MethodPost, what, in, nil)
}

func (r *relayProcess) await(ctx context.Context, o order) (strike, error) {
	return ask[strike](ctx, r, "order", o)
}

// signal has the relay send a signal now.
func (r *relayProcess) signal(ctx context.Context, pid int, d deed) (strike, error) {
	s, err := ask[strike](ctx, r, "signal", signalled{PID: pid, Deed: d})
	if err == nil && s.PID == 0 {
		err = fmt.Errorf("task %d was gone already", pid)
	}
	return s, err
}

// settled waits until everything that a dead task had written has been read.
func (r *relayProcess) settled(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return r.tell(ctx, "settled", pid)
}

func (r *relayProcess) records(ctx context.Context, from string) ([]record, error) {
	return ask[[]record](ctx, r, "records", from)
}
