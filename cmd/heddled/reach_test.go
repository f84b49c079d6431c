package main

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// TestReadsWaitForTheAPIServer holds that what reads waits until somebody listens, as long as its context lasts, and that what writes is told at once.
func TestReadsWaitForTheAPIServer(t *testing.T) {
	address := ports.Address(t)
	ask := func(ctx context.Context, method string) error {
		r, err := http.NewRequestWithContext(ctx, method, "http://"+address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := reaching{&http.Transport{}}.RoundTrip(r)
		if err == nil {
			err = response.Body.Close()
		}
		return err
	}
	if err := ask(t.Context(), http.MethodPut); err == nil {
		t.Error("nobody listens, and a write succeeded")
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if err := ask(ctx, http.MethodGet); err == nil {
		t.Error("nobody listens, and a read succeeded")
	}
	answered := make(chan error, 1)
	go func() { answered <- ask(t.Context(), http.MethodGet) }()
	select {
	case err := <-answered:
		t.Fatalf("a read does not wait: %v", err)
	case <-time.After(2 * redial):
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	defer server.Close()
	go func() { _ = server.Serve(l) }()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
