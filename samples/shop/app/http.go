package main

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// serve runs an HTTP server (HTTP/1.1 and cleartext HTTP/2) until ctx ends, then lets open requests finish. It closes connections that are idle for
// IDLE_TIMEOUT, where that is set.
func serve(ctx context.Context, addr string, h http.Handler) error {
	server := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	server.IdleTimeout, _ = time.ParseDuration(env("IDLE_TIMEOUT", "0"))
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	time.Sleep(lameDuck)
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
