package http2_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
)

// TestRemoteReset: a stream that the server resets is told from a connection that ends. The server is there and has seen the request, which is sent again
// only where the route says so.
func TestRemoteReset(t *testing.T) {
	const before, after = "upstream_reset_before_response_started{remote_reset}", "upstream_reset_after_response_started{remote_reset}"
	for name, c := range map[string]struct {
		begun    bool // the response
		retry    *route.Retry
		flags    string
		details  string
		attempts int
	}{
		"before the response":        {false, nil, "UR", before, 1},
		"in the response":            {true, nil, "UR", after, 1},
		"as often as the route says": {false, &route.Retry{On: route.OnReset, Attempts: 2, Base: time.Millisecond}, "URX,UR", before, 3},
		"only refusals":              {false, &route.Retry{On: route.OnRefusedStream, Attempts: 2, Base: time.Millisecond}, "UR", before, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var resets atomic.Bool
			m := build(t, origin(t, true, func(w http.ResponseWriter, _ *http.Request) {
				if !resets.Load() {
					return
				}
				if c.begun {
					_, _ = io.WriteString(w, "beginning")
					_ = http.NewResponseController(w).Flush()
				}
				panic(http.ErrAbortHandler)
			}), options{h2Up: true, route: func(r *route.RouteConfig) { r.Retry = c.retry }})
			do(t, client(t, false), newRequest(t, "GET", "http://"+m.addr, nil)) // now there is a connection that was used
			resets.Store(true)
			if resp, err := client(t, false).Do(newRequest(t, "GET", "http://"+m.addr, nil)); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if e := m.log.wait(t, 2); e.flags != c.flags || e.text != c.details || e.attempts != c.attempts {
				t.Errorf("recorded %+v", e)
			}
		})
	}
}
