//go:build !linux

package main

import "os/exec"

// dieWithParent: only Linux can tie a child to its parent's life; the harness
// needs Linux's /proc in any case.
func dieWithParent(*exec.Cmd) {}
