//go:build !linux

package dynamotest

import "os/exec"

// dieWithParent: only Linux can tie a child to its parent's life. Elsewhere a
// test process that is killed leaves the server behind.
func dieWithParent(*exec.Cmd) {}

// lock does nothing here: processes that fetch at the same time fetch twice,
// and the one whose rename comes second fails.
func lock(string) (unlock func(), err error) { return func() {}, nil }
