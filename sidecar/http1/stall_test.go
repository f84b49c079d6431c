package http1_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestClientsThatPause: a client that takes nothing of its answer for a while is given up after the idle timeout of streams, and never where there is none.
func TestClientsThatPause(t *testing.T) {
	const size = 32 << 20
	piece := make([]byte, 1<<20)
	b := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		for range size / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	s := newSecure(t)
	for name, c := range map[string]struct {
		idle  time.Duration
		tls   bool
		pause time.Duration
		flags string
	}{
		"without a timeout":          {0, false, 2 * time.Second, "-"},
		"without a timeout, in TLS":  {0, true, 2 * time.Second, "-"},
		"within the timeout":         {20 * time.Second, false, time.Second, "-"},
		"beyond the timeout":         {300 * time.Millisecond, false, 3 * time.Second, "SI"},
		"beyond the timeout, in TLS": {300 * time.Millisecond, true, 3 * time.Second, "SI"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) {
				p.http.StreamIdle = c.idle
				if c.tls {
					p.cfg.Listeners[0].Chains[0].TLS = s
				}
			})
			nc, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if c.tls {
				nc = tls.Client(nc, s.cfg)
			}
			_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			_, _ = io.ReadFull(nc, make([]byte, 100<<10))
			time.Sleep(c.pause)
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			if n, err := io.Copy(io.Discard, nc); (err == nil && n > size-100<<10) != (c.flags == "-") {
				t.Errorf("%d bytes more: %v", n, err)
			}
			if r := p.book.last(t, 1); r.flags != c.flags {
				t.Errorf("got %+v", r)
			}
		})
	}
}
