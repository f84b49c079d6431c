package http2

import (
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/http2/h2spec"
)

// TestClientConforms runs h2spec's cases for clients against an upstream connection: its server sees a request and breaks the rules.
func TestClientConforms(t *testing.T) {
	h2spec.Client(t, func(t *testing.T, address string) {
		tr, err := to(t, address)()
		if err != nil {
			t.Fatal(err)
		}
		if s, err := tr.Open(); err == nil {
			ask(t, s)
		}
	})
}

// ask sends a request, and reads what comes in another goroutine. The stream stays until the test ends: frames on one that is gone are let pass.
func ask(t *testing.T, s exchange.Stream) {
	var request exchange.Head
	request.Method, request.Scheme = request.Intern("GET"), request.Intern("http")
	request.Authority, request.Path = request.Intern("a"), request.Intern("/")
	_ = s.WriteHead(&request, true)
	go func() {
		defer s.Close()
		var response exchange.Head
		end, err := s.ReadHead(&response)
		for !end && err == nil {
			_, end, err = s.ReadBody()
		}
		<-t.Context().Done()
	}()
}
