//go:build unix

package mailer

import (
	"errors"
	"syscall"
)

// alive says whether an idle session can still be used, without waiting:
// relays close idle connections routinely, some with a 421 ahead. Anything
// that came unasked makes the session useless.
func (s *Session) alive() bool {
	if s.broken || s.br.Buffered() > 0 {
		return false
	}
	conn, ok := s.raw.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Control(func(fd uintptr) {
		var peek [1]byte
		_, _, err := syscall.Recvfrom(int(fd), peek[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && quiet
}
