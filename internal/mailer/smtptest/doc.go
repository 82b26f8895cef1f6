// Package smtptest is a scripted SMTP relay for tests, for the local demo and
// for trials of what Postern does when a relay misbehaves. It speaks SMTP
// (RFC 5321) line by line on a real socket, with STARTTLS or implicit TLS,
// AUTH, pipelined input (RFC 2920) and the usual extensions; a Hook makes it
// answer whatever a script wants at any stage; and its Ledger is the ground
// truth of which messages it has taken.
//
// It is strict where strictness finds faults: only CRLF.CRLF ends a message,
// a message with a bare LF is refused as a relay that is safe from smuggling
// does, and everything that a careful client never sends is counted in
// Violations.
package smtptest
