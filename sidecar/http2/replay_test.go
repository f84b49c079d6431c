package http2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// TestLongBodiesAgainToWhoTakesNothing: while a long body is sent again to an upstream whose window is closed, its answer is seen, and the client's
// leaving, and the limits hold.
func TestLongBodiesAgainToWhoTakesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		early, leaves bool
		timeout, try  time.Duration
		status        int
		outcome       exchange.Outcome
	}{
		"an early answer":       {early: true, status: 403, outcome: exchange.OK},
		"the request's timeout": {timeout: 2 * time.Second, status: 504, outcome: exchange.Timeout},
		"a try's timeout":       {timeout: time.Minute, try: time.Second, status: 504, outcome: exchange.TryTimeout},
		"the client has gone":   {leaves: true, outcome: exchange.ClientReset},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p http.Protocols
			p.SetUnencryptedHTTP2(true)
			var tries atomic.Int32
			ctx, leave := context.WithTimeout(t.Context(), 20*time.Second)
			defer leave()
			up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tries.Add(1) == 1 {
					_, _ = io.Copy(io.Discard, r.Body)
					w.WriteHeader(503)
					return
				}
				if c.early {
					w.WriteHeader(403)
					return
				}
				if c.leaves {
					leave()
				}
				<-r.Context().Done()
			}))
			up.Config.Protocols, up.Config.HTTP2 = &p, &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}
			up.Start()
			t.Cleanup(up.Close)
			m := build(t, up.Listener.Addr().String(), options{h2Down: true, h2Up: true, route: func(r *route.RouteConfig) {
				r.Timeout, r.Retry = c.timeout, &route.Retry{On: route.OnGatewayError, Attempts: 1, Base: time.Millisecond, PerTry: c.try}
			}})
			tr := &http.Transport{Protocols: &p}
			t.Cleanup(tr.CloseIdleConnections)
			req, err := http.NewRequestWithContext(ctx, "POST", "http://"+m.addr, bytes.NewReader(make([]byte, 1<<20)))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Client{Transport: tr}).Do(req)
			if c.leaves != errors.Is(err, context.Canceled) || !c.leaves && (err != nil || resp.StatusCode != c.status) {
				t.Fatalf("got %v, %v", resp, err)
			}
			if err == nil {
				_ = resp.Body.Close()
			}
			if e := m.log.wait(t, 1); e.outcome != c.outcome || e.attempts != 2 || e.recv != 1<<20 {
				t.Errorf("recorded %+v", e)
			}
		})
	}
}
