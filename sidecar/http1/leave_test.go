package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strings"
	"testing"
	"time"
)

// TestClientLeavesWhileTheUpstreamTakesNothing holds that a client which goes is noticed while its body is stuck, and that the upstream learns it too.
func TestClientLeavesWhileTheUpstreamTakesNothing(t *testing.T) {
	for name, framing := range map[string]string{"by length": "Content-Length: 1000000000", "chunked": "Transfer-Encoding: chunked"} {
		t.Run(name, func(t *testing.T) {
			left, rest := make(chan struct{}), make(chan error, 1)
			b := script(t, func(c net.Conn, r *bufio.Reader) {
				readHead(r)
				<-left
				_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
				_, err := io.Copy(io.Discard, r)
				rest <- err
			})
			p := proxy(t, to("c"), map[string][]string{"c": {b}})
			c, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\n"+framing+"\r\n\r\n")
			piece := []byte(fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat("x", 64<<10)))
			for err == nil { // until nobody takes any more
				_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
				_, err = c.Write(piece)
			}
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
			if r := p.book.last(t, 1); r.flags != "DC" || r.status != 0 {
				t.Errorf("got %+v", r)
			}
			close(left)
			if err := <-rest; err == nil || strings.Contains(err.Error(), "timeout") {
				t.Errorf("the upstream read %v: it was not shown that the request is not whole", err)
			}
		})
	}
}

// TestSlowUpload holds that a body arrives whole and in order, whatever is read of it ahead while the upstream takes its time; so does the next request.
func TestSlowUpload(t *testing.T) {
	const size, piece = 6 << 20, 512 << 10
	for name, chunked := range map[string]bool{"by length": false, "chunked": true} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1)
			b := script(t, func(c net.Conn, r *bufio.Reader) {
				readHead(r)
				var body strings.Builder
				var in io.Reader = r
				if chunked {
					in = httputil.NewChunkedReader(r)
				}
				for body.Len() < size {
					time.Sleep(25 * time.Millisecond) // longer than the proxy waits before it watches the client
					if _, err := io.CopyN(&body, in, piece); err != nil {
						break
					}
				}
				if chunked {
					_, _ = io.Copy(&body, in)
					readHead(r) // no trailers
				}
				got <- body.String()
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				readHead(r)
				_, _ = io.WriteString(c, "HTTP/1.1 204 OK\r\n\r\n")
			})
			p := proxy(t, to("c"), map[string][]string{"c": {b}})
			c, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var want, ask strings.Builder
			for i := range size / 16 {
				fmt.Fprintf(&want, "%016d", i)
			}
			if chunked {
				ask.WriteString("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
				for i := 0; i < size; i += piece {
					fmt.Fprintf(&ask, "%x\r\n%s\r\n", piece, want.String()[i:i+piece])
				}
				ask.WriteString("0\r\n\r\n")
			} else {
				fmt.Fprintf(&ask, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, want.String())
			}
			ask.WriteString("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
			go func() { _, _ = io.WriteString(c, ask.String()) }()
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
			r := bufio.NewReader(c)
			if head := readHead(r); !strings.Contains(head, " 200 ") {
				t.Fatalf("got %q", head)
			}
			if body := <-got; body != want.String() {
				t.Errorf("the upstream got %d bytes, or others", len(body))
			}
			if head := readHead(r); !strings.Contains(head, " 204 ") {
				t.Errorf("the next request got %q", head)
			}
		})
	}
}
