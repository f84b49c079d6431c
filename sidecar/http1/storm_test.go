package http1_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
)

// moody answers in every way that a bad day has: at once, late, in pieces, before the body has come, malformed, not at
// all.
func moody(c net.Conn, r *bufio.Reader) {
	for {
		head := readHead(r)
		if head == "" {
			return
		}
		var body string
		if strings.Contains(head, "content-length: ") && rand.IntN(3) > 0 {
			var n int
			fmt.Sscan(between(head, "content-length: ", "\r\n"), &n)
			buf := make([]byte, n)
			if _, err := io.ReadFull(r, buf); err != nil {
				return
			}
			body = string(buf)
		} else if strings.Contains(head, "chunked") {
			return
		}
		id := between(head, "x-id: ", "\r\n")
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Id: %s\r\nContent-Length: %d\r\n\r\n%s", id, len(body), body)
		switch rand.IntN(12) {
		case 0:
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		case 1:
			return
		case 2:
			_, _ = io.WriteString(c, answer[:rand.IntN(len(answer))])
			return
		case 3:
			answer = "HTTP/1.1 oops\r\n\r\n"
		case 4:
			answer = fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Id: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", id, len(body)+1, body+"!")
		case 5:
			answer = fmt.Sprintf("HTTP/1.1 503 No\r\nX-Id: %s\r\nContent-Length: 0\r\n\r\n", id)
		}
		for len(answer) > 0 {
			n := 1 + rand.IntN(len(answer))
			if _, err := io.WriteString(c, answer[:n]); err != nil {
				return
			}
			answer = answer[n:]
		}
	}
}

// caprice sends a request in pieces, perhaps goes away in the middle, and reads an answer that must be its own.
func caprice(t *testing.T, c net.Conn, r *bufio.Reader, id string) bool {
	body := strings.Repeat("b", rand.IntN(20_000))
	request := fmt.Sprintf("POST /%s HTTP/1.1\r\nHost: a\r\nX-Id: %s\r\nContent-Length: %d\r\n\r\n%s", id, id, len(body), body)
	switch rand.IntN(4) {
	case 0:
		request = fmt.Sprintf("GET /%s HTTP/1.1\r\nHost: a\r\nX-Id: %s\r\n\r\n", id, id)
	case 1:
		request = fmt.Sprintf("POST /%s HTTP/1.1\r\nHost: a\r\nX-Id: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", id, id, len(body)+1, body+"!")
	}
	go func() {
		for p := []byte(request); len(p) > 0; {
			n := 1 + rand.IntN(len(p))
			if _, err := c.Write(p[:n]); err != nil {
				return
			}
			if p = p[n:]; rand.IntN(40) == 0 {
				c.Close()
			}
		}
	}()
	head := readHead(r)
	if head == "" {
		return false
	}
	if got := between(head, "x-id: ", "\r\n"); strings.Contains(head, "x-id: ") && got != id {
		t.Errorf("asked as %s, answered for %s", id, got)
		return false
	}
	switch {
	case strings.Contains(head, "chunked"):
		for {
			line, err := r.ReadString('\n')
			var n int
			if _, bad := fmt.Sscanf(line, "%x", &n); err != nil || bad != nil {
				return false
			}
			if _, err := r.Discard(n + 2); err != nil {
				return false
			}
			if n == 0 {
				break
			}
		}
	default:
		var n int
		fmt.Sscan(between(head, "content-length: ", "\r\n"), &n)
		buf := make([]byte, n)
		if _, err := io.ReadFull(r, buf); err != nil {
			return false
		}
		if strings.Contains(head, " 200 ") && len(bytes.Trim(buf, "b")) != 0 {
			t.Errorf("foreign bytes in the answer for %s", id)
		}
	}
	return !strings.Contains(head, "connection: close") && rand.IntN(20) > 0
}

// TestStorm: whatever clients and upstreams do to each other, nobody gets another's answer, nothing panics, and nothing is
// left behind.
func TestStorm(t *testing.T) {
	a, b := script(t, moody), script(t, moody)
	rs := to("c")
	rs[0].Retry = &route.Retry{On: route.OnGatewayError | route.OnReset | route.OnConnectFailure, Attempts: 2, Base: time.Millisecond, OtherHost: true, HostPicks: 5, PerTry: 40 * time.Millisecond}
	p := proxy(t, rs, map[string][]string{"c": {a, b}})
	until := time.Now().Add(1500 * time.Millisecond)
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for n := 0; time.Now().Before(until); {
				c, err := net.Dial("tcp", p.addr())
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.SetDeadline(time.Now().Add(3 * time.Second))
				r := bufio.NewReader(c)
				for again := true; again && time.Now().Before(until); n++ {
					again = caprice(t, c, r, fmt.Sprintf("w%d-%d", worker, n))
				}
				c.Close()
			}
		})
	}
	for time.Now().Before(until) {
		p.routes(rs)
		p.swap()
		time.Sleep(5 * time.Millisecond)
	}
	wg.Wait()
	c := p.reg.Current().Get("c")
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		active := p.m.Open()
		for _, h := range c.Hosts() {
			active += h.Active()
		}
		if active == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections and exchanges never ended", active)
		}
	}
	p.book.mu.Lock()
	defer p.book.mu.Unlock()
	t.Logf("%d exchanges", len(p.book.ends))
}
