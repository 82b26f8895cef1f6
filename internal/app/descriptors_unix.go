//go:build unix

package app

import "syscall"

// descriptorLimit is how many files the process may have open. Go has raised
// the soft limit to the hard one by now.
func descriptorLimit() (limit uint64, known bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return uint64(r.Cur), true //nolint:unconvert // some systems have another type
}
