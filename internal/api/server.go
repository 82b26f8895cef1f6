package api

import (
	"net/http"
	"time"
)

// NewServer makes an HTTP server with time-outs against slow headers and slow
// bodies. The caller listens, serves and shuts down.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		// Headers and body: 40 MiB at 6 Mbit/s. API Gateway itself waits 29 s.
		ReadTimeout: time.Minute,
		// From the end of the headers to the end of the answer.
		WriteTimeout: 2 * time.Minute,
		// Below the 350 s after which a network load balancer forgets an idle
		// connection without telling.
		IdleTimeout: 2 * time.Minute,
		// API Gateway passes about 8 KB.
		MaxHeaderBytes: 16 << 10,
	}
}
