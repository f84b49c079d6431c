package http1_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
)

// lasts is how long a client may take to send the rest of its request, so that its answer is not lost; less what a busy machine needs.
const lasts = 900 * time.Millisecond

// TestEarlyAnswersArrive: a client that sends all of its request before it reads has the answer that came before, however much it sends.
func TestEarlyAnswersArrive(t *testing.T) {
	stop := make(chan bool)
	defer close(stop)
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
		<-stop
	})
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	match := func(path, cluster string) route.RouteConfig {
		return route.RouteConfig{Match: route.Match{Path: path}, Clusters: []route.Weighted{{Cluster: cluster}}}
	}
	clusters := map[string][]string{"c": {b}, "dead": {dead.Addr().String()}}
	s := newSecure(t)
	plain := proxy(t, []route.RouteConfig{match("/up", "c"), match("/dead", "dead")}, clusters)
	secret := proxy(t, []route.RouteConfig{match("/up", "c")}, clusters, func(p *mesh) { p.cfg.Listeners[0].Chains[0].TLS = s })
	for name, c := range map[string]struct {
		path   string
		pieces int // of 64 KiB
		pause  time.Duration
		tls    bool
		want   string
	}{
		"no route":                  {path: "/", pieces: 64, want: "404"},
		"no route, slowly":          {path: "/", pieces: 30, pause: 20 * time.Millisecond, want: "404"},
		"the application's":         {path: "/up", pieces: 64, want: "413"},
		"the application's, slowly": {path: "/up", pieces: 30, pause: 20 * time.Millisecond, want: "413"},
		"the application's, in TLS": {path: "/up", pieces: 64, tls: true, want: "413"},
		"no application":            {path: "/dead", pieces: 64, want: "503"},
	} {
		t.Run(name, func(t *testing.T) {
			p := plain
			if c.tls {
				p = secret
			}
			send := func() (took time.Duration, err error) {
				nc, _ := p.dial()
				if c.tls {
					nc = tls.Client(nc, s.cfg)
				}
				piece, start := letters(64<<10), time.Now()
				_, _ = fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", c.path, c.pieces*len(piece))
				for i := 0; i < c.pieces && err == nil; i++ {
					time.Sleep(c.pause)
					_, err = io.WriteString(nc, piece)
				}
				took = time.Since(start)
				if got := readHead(bufio.NewReader(nc)); err == nil && !strings.HasPrefix(got, "HTTP/1.1 "+c.want+" ") {
					err = fmt.Errorf("got %q", got)
				}
				return took, err
			}
			took, err := send()
			for tries := 0; err != nil && took > lasts && tries < 10; tries++ {
				took, err = send()
			}
			if err != nil {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
}

// TestFloodsEnd: whoever never ends its request is read from for a while, and for no longer.
func TestFloodsEnd(t *testing.T) {
	for _, full := range []bool{false, true} {
		p := proxy(t, nil, nil)
		p.full.Store(full)
		nc, _ := p.dial()
		_, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
		for piece := letters(64 << 10); err == nil; {
			_, err = fmt.Fprintf(nc, "%x\r\n%s\r\n", len(piece), piece)
		}
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Errorf("memory is full: %v: the connection stays", full)
		}
	}
}
