package http2_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// TestOneConnectionCarriesWhatItsPeerTakes: requests that began to wait before the upstream had said how many it takes do not wait for others to end, and
// where there may be no other connection, one carries all.
func TestOneConnectionCarriesWhatItsPeerTakes(t *testing.T) {
	const asked = 300
	begun, stop := make(chan bool, asked), make(chan bool)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- true
		<-stop
	}))
	up.Config.Protocols, up.Config.HTTP2 = protocols(true), &http.HTTP2Config{MaxConcurrentStreams: 1000}
	up.Start()
	defer up.Close()
	m := build(t, up.Listener.Addr().String(), options{h2Up: true, h2Down: true, cluster: func(c *upstream.Config) { c.Limits.Connections = 1 }})
	c := client(t, true)
	defer close(stop)
	for range asked {
		go func() {
			if resp, err := c.Do(newRequest(t, "GET", "http://"+m.addr, nil)); err == nil {
				resp.Body.Close()
			}
		}()
	}
	for n := range asked {
		select {
		case <-begun:
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d have begun", n, asked)
		}
	}
}
