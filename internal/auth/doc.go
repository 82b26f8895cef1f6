// Package auth knows the API's tokens: how one is made, what is stored of it,
// and whether one that a caller presents is good.
//
// # A token
//
//	postern_5f0c4b1e9a27_3d6e...64 hexadecimal digits...
//
// The prefix lets people, logs and secret scanners recognise it; the regular
// expression is postern_[0-9a-f]{12}_[0-9a-f]{64}. The twelve digits are its id,
// which is no secret and names the token in logs and in audit trails. The rest
// are 256 random bits.
//
// # What is stored
//
// One JSON object a line, with the token's SHA-256 and not the token:
//
//	{"id":"5f0c4b1e9a27","name":"reports","hash":"sha256:...","scopes":["campaigns:read"],"created":"2026-01-02T03:04:05Z","expires":"2026-04-02T03:04:05Z"}
//
// A fast hash is enough: slow ones protect secrets that people choose and that
// can be guessed. Nobody guesses 256 random bits, however fast the hash is, and a
// slow one would let anybody keep the service busy by calling it.
//
// Empty lines, and lines that begin with #, are passed over. A token is revoked
// by taking its line away. A text without any line is no list: it is what a
// reader sees of a file that somebody is just writing. A list with no tokens in
// it says so by a comment.
//
// # Reading it again
//
// A Keeper reads the list again and again, and takes it as a whole or not at
// all: while it cannot be read, or has a fault, the tokens that were read before
// stay in force, so that a slip of an editor neither locks everybody out nor
// lets anybody in.
package auth
