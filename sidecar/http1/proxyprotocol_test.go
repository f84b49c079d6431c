package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// TestProxyProtocol: the server learns whose requests it gets before the first of them, once per client's connection.
func TestProxyProtocol(t *testing.T) {
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		for n := 1; readHead(r) != ""; n++ {
			body := fmt.Sprintf("%d %s", n, strings.TrimSpace(line))
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) {
		p.cfg.Clusters["c"].Sockets = []upstream.Socket{{Proxy: upstream.ProxyV1}}
	})
	for range 2 {
		c, r := p.dial()
		local, remote := c.LocalAddr().(*net.TCPAddr), c.RemoteAddr().(*net.TCPAddr)
		for n := 1; n <= 2; n++ {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			head := readHead(r)
			want := fmt.Sprintf("%d PROXY TCP4 127.0.0.1 127.0.0.1 %d %d", n, local.Port, remote.Port)
			body := make([]byte, len(want))
			if _, err := io.ReadFull(r, body); err != nil || string(body) != want {
				t.Fatalf("%v: got %s%s, want %s", err, head, body, want)
			}
		}
		c.Close()
	}
}
