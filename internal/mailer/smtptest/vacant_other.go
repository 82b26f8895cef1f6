//go:build !linux

package smtptest

import (
	"fmt"
	"net"
)

// Vacant gives an address on this machine at which nobody listens, so that
// connections to it are refused. Here nothing keeps others from being given
// its port. The error is that of the system.
func Vacant() (addr string, release func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("find a port: %w", err)
	}
	return l.Addr().String(), func() {}, l.Close()
}
