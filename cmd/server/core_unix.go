//go:build unix

package main

import "syscall"

// forbidCoreDumps keeps the process's memory, which has keys and passwords in
// it, from being written to a file when the process crashes (which Go has the
// system do only with GOTRACEBACK=crash). The trace that Go prints has no
// contents of strings and slices.
func forbidCoreDumps() error {
	return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}
