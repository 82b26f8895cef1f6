// Package audit checks an audit trail with nothing but what was exported of
// it: that the chains are unbroken, that the roots' signatures hold and cover
// the chains, and that the deliveries are what the records say. It makes the
// roots, and the digest of a message from its octets, too.
//
// It imports package campaign, which defines the chains and their records, and
// the standard library. docs/audit.md describes all of it for whoever would
// rather write their own.
package audit
