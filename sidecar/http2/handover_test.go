package http2_test

import (
	"bytes"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/heddle-mesh/heddle/sidecar/route"
)

// TestStreamsAgainBeforeTheyEnd: a call whose client waits for an answer before it says more is made again where its server refuses it, leaves, or says that
// it is unavailable.
func TestStreamsAgainBeforeTheyEnd(t *testing.T) {
	for name, first := range map[string]func(w *http2.Framer, stream uint32){
		"refused":          func(w *http2.Framer, stream uint32) { _ = w.WriteRSTStream(stream, http2.ErrCodeRefusedStream) },
		"the server goes":  func(w *http2.Framer, _ uint32) { _ = w.WriteGoAway(0, http2.ErrCodeNo, nil) },
		"reset":            func(w *http2.Framer, stream uint32) { _ = w.WriteRSTStream(stream, http2.ErrCodeInternal) },
		"unavailable":      func(w *http2.Framer, stream uint32) { head(w, stream, true, ":status", "200", "grpc-status", "14") },
		"unavailable late": func(w *http2.Framer, stream uint32) { head(w, stream, false, ":status", "503") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			up := framed(t, echo(&tries, first))
			m := build(t, up, options{h2Down: true, h2Up: true, route: func(r *route.RouteConfig) {
				r.Retry = &route.Retry{On: route.OnReset | route.OnRefusedStream | route.OnGRPCUnavailable | route.OnGatewayError, Attempts: 1, Base: time.Millisecond}
			}})
			body, write := io.Pipe()
			go func() { _, _ = io.WriteString(write, "first ") }()
			var p http.Protocols
			p.SetUnencryptedHTTP2(true)
			tr := &http.Transport{Protocols: &p}
			t.Cleanup(tr.CloseIdleConnections)
			req := newRequest(t, "POST", "http://"+m.addr, body)
			req.Header.Set("content-type", "application/grpc")
			time.AfterFunc(20*time.Second, func() { _ = body.CloseWithError(io.ErrClosedPipe) })
			resp, err := tr.RoundTrip(req)
			if err != nil || resp.StatusCode != 200 || resp.Header.Get("grpc-status") != "" {
				t.Fatalf("got %v, %v", resp, err)
			}
			_, _ = io.WriteString(write, "second")
			_ = write.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "first second" || tries.Load() != 2 {
				t.Errorf("got %q, %v in %d tries", got, err, tries.Load())
			}
			_ = resp.Body.Close()
		})
	}
}

// echo ends the first call of all as first says, once something of it has come, and echoes the others.
func echo(tries *atomic.Int32, first func(*http2.Framer, uint32)) func(*http2.Framer, http2.Frame) {
	var failed atomic.Uint32
	return func(w *http2.Framer, f http2.Frame) {
		switch f := f.(type) {
		case *http2.HeadersFrame:
			if tries.Add(1) == 1 {
				failed.Store(f.StreamID)
				return
			}
			failed.CompareAndSwap(f.StreamID, 0) // on another connection
			head(w, f.StreamID, false, ":status", "200", "content-type", "application/grpc")
		case *http2.DataFrame:
			if f.StreamID == failed.Load() {
				time.Sleep(20 * time.Millisecond) // the proxy waits for the client
				first(w, f.StreamID)
				return
			}
			_ = w.WriteData(f.StreamID, f.StreamEnded(), f.Data())
		}
	}
}

// head writes a response's head.
func head(w *http2.Framer, stream uint32, end bool, fields ...string) {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: end})
}
