//go:build !unix

package mailer

// alive says whether an idle session can still be used. Without a way to look
// at the socket, a relay's closing shows at the next MAIL, as a failure of the
// session that costs the recipient nothing.
func (s *Session) alive() bool { return !s.broken && s.br.Buffered() == 0 }
