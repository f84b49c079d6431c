package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// redial is about how often an API server that cannot be reached is tried by who reads.
const redial = time.Second

// reaching has reads wait where the API server cannot be reached, and go on within about a second of its return. Informers, told that they failed, would
// wait longer each time, up to a minute: as long would the mesh not hear of what changes after an outage.
type reaching struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t reaching) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		response, err := t.next.RoundTrip(r)
		var op *net.OpError
		if r.Method != http.MethodGet || !errors.As(err, &op) || op.Op != "dial" {
			return response, err
		}
		select {
		case <-r.Context().Done():
			return nil, err
		case <-time.After(redial/2 + rand.N(redial)):
		}
	}
}
