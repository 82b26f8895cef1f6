//go:build !unix

package main

// forbidCoreDumps: there are none.
func forbidCoreDumps() error { return nil }
