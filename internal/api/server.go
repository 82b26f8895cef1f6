package api

import (
	"net/http"
	"time"
)

// NewServer makes an HTTP server with time-outs against slow headers; slow
// bodies and slow readers are New's affair (pace.go). The caller listens, serves
// and shuts down.
func NewServer(handler http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true) // the package listen says why there is no HTTP/2
	return &http.Server{
		Handler:           handler,
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		// Of a request without a body, and where nobody reads the body: as soon
		// as somebody does, each part of it has its own time. It bounds the
		// handler, too, which has as long behind a body (workTimeout).
		ReadTimeout: workTimeout,
		// From the end of the headers to the first octet of the answer. Each
		// piece that is written has its own time.
		WriteTimeout: 2 * time.Minute,
		// Below the 350 s after which a network load balancer forgets an idle
		// connection without telling.
		IdleTimeout: 2 * time.Minute,
		// API Gateway passes about 8 KB.
		MaxHeaderBytes: 16 << 10,
	}
}
