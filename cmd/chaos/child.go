package main

import (
	"os/exec"
	"runtime"
)

// child is a process that this one has started.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended; cmd.ProcessState is set then
}

// startChild starts a process that dies with this one. It is started on a
// thread that lives as long as it does: Linux sends the parent-death signal
// when the thread that started the child ends.
func startChild(cmd *exec.Cmd) (*child, error) {
	dieWithParent(cmd)
	c := &child{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(c.exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in ProcessState
		}
	}()
	return c, <-started
}

func (c *child) pid() int { return c.cmd.Process.Pid }
