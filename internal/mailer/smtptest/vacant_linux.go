package smtptest

import (
	"fmt"
	"net/netip"
	"syscall"
)

// Vacant gives an address on this machine at which nobody listens, so that
// connections to it are refused. Until release nobody is given its port by
// chance. Who asks for the very address may listen there, such as a Server by
// Config.Addr, as often as it likes. The error is that of the system.
func Vacant() (addr string, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("reserve a port: %w", err)
	}
	port, err := bindAnywhere(fd)
	if err != nil {
		_ = syscall.Close(fd)
		return "", nil, fmt.Errorf("reserve a port: %w", err)
	}
	return netip.AddrPortFrom(loopback, port).String(), func() { _ = syscall.Close(fd) }, nil
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// bindAnywhere has a socket bound, and not listen, as net's listeners are
// (SO_REUSEADDR), which therefore are let in beside it.
func bindAnywhere(fd int) (port uint16, err error) {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: loopback.As4()}); err != nil {
		return 0, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	bound, is := name.(*syscall.SockaddrInet4)
	if !is {
		return 0, fmt.Errorf("the socket is bound to %v", name)
	}
	return uint16(bound.Port), nil
}
