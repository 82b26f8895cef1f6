//go:build unix

package mailer

import (
	"errors"
	"syscall"
)

// Alive says whether an idle session can still be used, without waiting:
// relays close idle connections routinely, some with a 421 ahead. Anything
// that came unasked makes the session useless. While an envelope is ahead,
// what has come may be the replies to it, and only the end of the connection
// counts.
func (s *Session) Alive() bool {
	if s.broken || s.ahead == nil && s.br.Buffered() > 0 {
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
	alive := false
	err = raw.Control(func(fd uintptr) {
		var peek [1]byte
		n, _, err := syscall.Recvfrom(int(fd), peek[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		alive = errors.Is(err, syscall.EAGAIN) || n > 0 && s.ahead != nil
	})
	return err == nil && alive
}
