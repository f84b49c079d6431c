package http2_test

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

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

// TestResetCodes: what a server resets a stream with says whether it has begun with the request, and whether it takes it for malformed.
func TestResetCodes(t *testing.T) {
	const refused, broken, late = "upstream_reset_before_response_started{remote_refused_stream_reset}", "upstream_reset_before_response_started{protocol_error}", "upstream_reset_after_response_started{protocol_error}"
	with := func(code http2.ErrCode) func(*http2.Framer, uint32) {
		return func(w *http2.Framer, stream uint32) { _ = w.WriteRSTStream(stream, code) }
	}
	leaves := func(w *http2.Framer, _ uint32) { _ = w.WriteGoAway(0, http2.ErrCodeNo, nil) }
	begins := func(w *http2.Framer, stream uint32) {
		head(w, stream, false, ":status", "200")
		_ = w.WriteRSTStream(stream, http2.ErrCodeProtocol)
	}
	for name, c := range map[string]struct {
		ends  func(w *http2.Framer, stream uint32)
		retry route.RetryOn
		want  entry
	}{
		"canceled":                        {with(http2.ErrCodeCancel), 0, entry{status: 503, flags: "UR", text: "upstream_reset_before_response_started{remote_reset}", attempts: 1}},
		"refused":                         {with(http2.ErrCodeRefusedStream), 0, entry{status: 503, flags: "UR", text: refused, attempts: 1}},
		"refused, as often as allowed":    {with(http2.ErrCodeRefusedStream), route.OnRefusedStream, entry{status: 503, flags: "URX,UR", text: refused, attempts: 4}}, // one on a used connection is free
		"the server goes":                 {leaves, 0, entry{status: 503, flags: "UR", text: refused, attempts: 1}},
		"the server goes again and again": {leaves, route.OnRefusedStream, entry{status: 503, flags: "URX,UR", text: refused, attempts: 3}},
		"malformed":                       {with(http2.ErrCodeProtocol), 0, entry{status: 502, flags: "UPE", text: broken, attempts: 1}},
		"malformed is no refusal":         {with(http2.ErrCodeProtocol), route.OnRefusedStream | route.OnResetBeforeRequest | route.OnConnectFailure, entry{status: 502, flags: "UPE", text: broken, attempts: 1}},
		"malformed is a reset":            {with(http2.ErrCodeProtocol), route.OnReset, entry{status: 502, flags: "URX,UPE", text: broken, attempts: 3}},
		"malformed is a gateway's error":  {with(http2.ErrCodeProtocol), route.OnGatewayError, entry{status: 502, flags: "URX,UPE", text: broken, attempts: 3}},
		"malformed, in the response":      {begins, route.OnReset, entry{status: 200, flags: "UPE", text: late, attempts: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := build(t, ending(t, c.ends), options{h2Up: true, route: func(r *route.RouteConfig) {
				if c.retry != 0 {
					r.Retry = &route.Retry{On: c.retry, Attempts: 2, Base: time.Millisecond}
				}
			}})
			if resp, err := client(t, false).Do(newRequest(t, "GET", "http://"+m.addr, nil)); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if e := m.log.wait(t, 1); e.status != c.want.status || e.flags != c.want.flags || e.text != c.want.text || e.attempts != c.want.attempts {
				t.Errorf("recorded %+v", e)
			}
		})
	}
}

// ending is a server that ends every request as said, and its address.
func ending(t *testing.T, ends func(w *http2.Framer, stream uint32)) string {
	return framed(t, func(w *http2.Framer, f http2.Frame) {
		if f, ok := f.(*http2.HeadersFrame); ok {
			ends(w, f.StreamID)
		}
	})
}

// framed is a server that does with each frame but those of settings as said, and its address.
func framed(t *testing.T, does func(w *http2.Framer, f http2.Frame)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = nc.Close() })
			go frames(nc, does)
		}
	}()
	return ln.Addr().String()
}

func frames(nc net.Conn, does func(w *http2.Framer, f http2.Frame)) {
	if _, err := io.CopyN(io.Discard, nc, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	fr := http2.NewFramer(nc, nc)
	_ = fr.WriteSettings()
	for f, err := fr.ReadFrame(); err == nil; f, err = fr.ReadFrame() {
		if s, ok := f.(*http2.SettingsFrame); !ok {
			does(fr, f)
		} else if !s.IsAck() {
			_ = fr.WriteSettingsAck()
		}
	}
}
