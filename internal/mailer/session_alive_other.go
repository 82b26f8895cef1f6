//go:build !unix

package mailer

// Alive says whether an idle session can still be used. Without a way to look
// at the socket, a relay's closing shows at the next MAIL, as a failure of the
// session that costs the recipient nothing.
func (s *Session) Alive() bool { return !s.broken && (s.ahead != nil || s.br.Buffered() == 0) }
