//go:build !unix

package main

import "errors"

// send: there are no such signals here.
func send(int, deed) error { return errors.ErrUnsupported }
