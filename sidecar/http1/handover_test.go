package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
)

// TestTriesBeforeTheBodyHasCome: where a try fails while the client has more to say, the next one gets what came so far at once, and then the rest.
func TestTriesBeforeTheBodyHasCome(t *testing.T) {
	const dies, busy = "", "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
	for name, c := range map[string]struct {
		answers  []string // of the tries before the last
		first    int      // bytes that come before the tries end
		attempts int
		status   string
	}{
		"nothing has come":        {[]string{dies}, 0, 3, "200"},
		"the upstream dies":       {[]string{dies}, 5_000, 3, "200"},
		"twice":                   {[]string{dies, busy}, 5_000, 3, "200"},
		"once too often":          {[]string{dies, busy, busy}, 5_000, 3, "503"},
		"it is busy":              {[]string{busy}, 5_000, 3, "200"},
		"more than is sent again": {[]string{dies, dies}, 300_000, 3, "200"},
		"busy after more":         {[]string{busy, busy}, 300_000, 3, "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, n, again := letters(c.first+100_000), atomic.Int32{}, make(chan struct{})
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				try := int(n.Add(1))
				readHead(r)
				if got := chunks(t, r, c.first); got != body[:c.first] {
					t.Errorf("try %d: %d bytes, or others", try, len(got))
				}
				if try <= len(c.answers) {
					time.Sleep(20 * time.Millisecond) // the proxy waits for the client
					_, _ = io.WriteString(nc, c.answers[try-1])
					if c.answers[try-1] == dies {
						_ = nc.(*net.TCPConn).SetLinger(0)
					}
					return
				}
				close(again)
				if got := chunks(t, r, len(body)-c.first); got != body[c.first:] {
					t.Errorf("the rest: %d bytes, or others", len(got))
				}
				if end := readHead(r); !strings.Contains(end, "x-tail: 1") {
					t.Errorf("ended with %q", end)
				}
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
			})
			rs := to("c")
			rs[0].Timeout, rs[0].Retry = 20*time.Second, &route.Retry{On: route.OnReset | route.OnGatewayError, Attempts: 2, Base: time.Millisecond}
			p := proxy(t, rs, map[string][]string{"c": {b}})
			nc, r := p.dial()
			_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Tail\r\n\r\n")
			piece(nc, body[:c.first])
			if c.status == "200" {
				select {
				case <-again:
				case <-time.After(15 * time.Second):
					t.Fatal("the last try was not made")
				}
				piece(nc, body[c.first:])
				_, _ = io.WriteString(nc, "0\r\nX-Tail: 1\r\n\r\n")
			}
			if got := readHead(r); !strings.HasPrefix(got, "HTTP/1.1 "+c.status) {
				t.Errorf("got\n%s", got)
			}
			if got := p.book.last(t, 1); c.status == "200" && got.received != int64(len(body)) || got.attempts != min(len(c.answers)+1, c.attempts) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestParkedUploadsEnd: a client that leaves between two tries, and limits that pass then, end the request.
func TestParkedUploadsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		leaves, says bool // says: it sends more before
		arrival      time.Duration
		want, flags  string
	}{
		"the client leaves":               {leaves: true, flags: "DC"},
		"it leaves after more":            {leaves: true, says: true, flags: "DC"},
		"what is whole came not in time":  {arrival: time.Second, want: "HTTP/1.1 408 "},
		"nor though the client said more": {says: true, arrival: time.Second, want: "HTTP/1.1 408 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, died := atomic.Int32{}, make(chan struct{})
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				chunks(t, r, 1000)
				if n.Add(1) == 1 {
					close(died)
				}
				_ = nc.(*net.TCPConn).SetLinger(0)
			})
			rs := to("c")
			rs[0].Retry = &route.Retry{On: route.OnReset, Attempts: 1, Base: 10 * time.Hour, Max: 10 * time.Hour}
			p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) { p.http.RequestTimeout = c.arrival })
			nc, r := p.dial()
			_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
			piece(nc, letters(1000))
			<-died
			time.Sleep(50 * time.Millisecond)
			if c.says {
				piece(nc, letters(1000))
			}
			if c.leaves {
				_ = nc.Close()
			} else if got := readHead(r); !strings.HasPrefix(got, c.want) {
				t.Errorf("got\n%s", got)
			}
			if got := p.book.last(t, 1); got.attempts != 1 || c.flags != "" && got.flags != c.flags {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestEarlyAnswersKnowNoOlderDeadline: an answer to what is not whole yet is not late because the one before on that connection would be.
func TestEarlyAnswersKnowNoOlderDeadline(t *testing.T) {
	n := atomic.Int32{}
	b := script(t, func(nc net.Conn, r *bufio.Reader) {
		for readHead(r) != "" {
			if n.Add(1) == 1 {
				chunks(t, r, 1000)
				readHead(r)
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
				continue
			}
			_, _ = io.WriteString(nc, "HTTP/1.1 413 Long\r\nContent-Length: 0\r\n\r\n")
		}
	})
	rs := to("c")
	rs[0].Timeout = 500 * time.Millisecond
	p := proxy(t, rs, map[string][]string{"c": {b}})
	nc, r := p.dial()
	const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	_, _ = io.WriteString(nc, head)
	time.Sleep(20 * time.Millisecond)
	piece(nc, letters(1000))
	time.Sleep(20 * time.Millisecond)
	_, _ = io.WriteString(nc, "0\r\n\r\n")
	if got := readHead(r); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Fatalf("got\n%s", got)
	}
	_, _ = io.CopyN(io.Discard, r, 2)
	time.Sleep(time.Second)
	_, _ = io.WriteString(nc, head)
	if got := readHead(r); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
		t.Errorf("got\n%s", got)
	}
}

// piece writes a chunk.
func piece(w io.Writer, s string) {
	if s != "" {
		_, _ = fmt.Fprintf(w, "%x\r\n%s\r\n", len(s), s)
	}
}

// chunks reads n bytes of chunks.
func chunks(t *testing.T, r *bufio.Reader, n int) string {
	var b strings.Builder
	for b.Len() < n {
		var size int
		if _, err := fmt.Fscanf(r, "%x\r\n", &size); err != nil {
			t.Errorf("after %d bytes: %v", b.Len(), err)
			break
		}
		if size == 0 {
			break
		}
		if _, err := io.CopyN(&b, r, int64(size)); err != nil {
			t.Errorf("after %d bytes: %v", b.Len(), err)
			break
		}
		_, _ = r.Discard(2)
	}
	return b.String()
}
