//go:build unix

package main

import "syscall"

var signals = map[deed]syscall.Signal{
	deedKill: syscall.SIGKILL, deedTermKill: syscall.SIGKILL, deedTerm: syscall.SIGTERM,
	deedStop: syscall.SIGSTOP, deedCont: syscall.SIGCONT,
}

// send sends the signal of a deed to a process.
func send(pid int, d deed) error { return syscall.Kill(pid, signals[d]) }
