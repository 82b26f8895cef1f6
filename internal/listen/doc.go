// Package listen opens the API's listener: TLS by configuration, and a bound of
// connections that slow clients cannot use up.
//
// # TLS
//
// TLS 1.2 or later, with the cipher suites of Go's choice. Over it is spoken
// HTTP/1.1 alone, on purpose: a network load balancer passes octets on, and
// API Gateway's VPC link behind which the service stands speaks HTTP/1.1, so
// nobody would use HTTP/2; and without it a connection is one request, which
// is what the bound of connections and the time-outs count by, and the floods
// that HTTP/2 knows are nobody's concern.
//
// A certificate from files is looked at again while handshakes come in, at most
// once a second. What counts is the files' content and not their times. A new
// pair that cannot be used, whatever is wrong with it, is logged, and the one
// in use stays. A self-signed certificate lives in this process alone and is
// made anew long before it ends.
//
// # Connections
//
// See Listener.
package listen
