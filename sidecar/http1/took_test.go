package http1_test

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
)

// TestServiceTime: x-envoy-upstream-service-time begins with the first end of the request, as in Envoy, and is not there where the answer did not wait for it.
func TestServiceTime(t *testing.T) {
	const post, pause = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", 200 * time.Millisecond
	const upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	answer := func(status string) string { return "HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n" }
	for name, c := range map[string]struct {
		sends   []string // with pauses between
		body    int64
		answers []string      // of one try each
		waits   time.Duration // before each of them
		told    bool
		least   time.Duration
	}{
		"no body":               {[]string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, 0, []string{answer("200 OK")}, pause, true, pause},
		"a body at once":        {[]string{post + "abc"}, 3, []string{answer("200 OK")}, pause, true, pause},
		"a slow body":           {[]string{post + "a", "b", "c"}, 3, []string{answer("200 OK")}, 0, true, 0},
		"a slow body, retried":  {[]string{post + "a", "b", "c"}, 3, []string{answer("503 No"), answer("200 OK")}, pause, true, 2 * pause},
		"an early answer":       {[]string{post + "a", "b"}, 1, []string{answer("403 No")}, 0, false, 0},
		"an early answer again": {[]string{post + "a", "b", "c"}, 1, []string{answer("503 No"), answer("403 No")}, 0, false, 0},
		"an upgrade":            {[]string{upgrade}, 0, []string{"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"}, 0, false, 0},
		"a refused upgrade":     {[]string{upgrade}, 0, []string{answer("403 No")}, 0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answers := make(chan string, len(c.answers))
			for _, a := range c.answers {
				answers <- a
			}
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				for readHead(r) != "" {
					_, _ = io.CopyN(io.Discard, r, c.body)
					time.Sleep(c.waits)
					_, _ = io.WriteString(nc, <-answers)
				}
			})
			rs := to("c")
			rs[0].Retry = &route.Retry{On: route.OnGatewayError, Attempts: 1, Base: time.Millisecond}
			p := proxy(t, rs, map[string][]string{"c": {b}})
			nc, r := p.dial()
			begun := time.Now()
			for i, piece := range c.sends {
				if i > 0 {
					time.Sleep(pause)
				}
				_, _ = io.WriteString(nc, piece)
			}
			head := readHead(r)
			most := time.Since(begun) - time.Duration(len(c.sends)-1)*pause
			_, value, told := strings.Cut(head, "x-envoy-upstream-service-time: ")
			if head == "" || told != c.told {
				t.Fatalf("got\n%s", head)
			}
			value, _, _ = strings.Cut(value, "\r\n")
			if n, err := strconv.Atoi(value); told && (err != nil || n > int(most.Milliseconds()) || n < int(c.least.Milliseconds())) {
				t.Errorf("%q, at least %v and at most %v are right", value, c.least, most)
			}
		})
	}
}
