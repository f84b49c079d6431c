//go:build !race

package http1_test

import (
	"bufio"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestOverload: where no memory is left, requests are refused with a flag of their own, and served again when there is some.
func TestOverload(t *testing.T) {
	b := backend(t, echo)
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	const request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	p.full.Store(true)
	if got := p.raw(request); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.HasSuffix(got, "overloaded") {
		t.Errorf("got\n%s", got)
	}
	if r := p.book.last(t, 1); r.flags != "OM" || r.details != "overload" {
		t.Errorf("got %+v", r)
	}
	p.full.Store(false)
	if got := p.raw(request); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("got\n%s", got)
	}
}

// slowest is what the heap may have of a connection whose client, or whose upstream, takes nothing, in bytes: the buffers of both sides. Ten thousand such
// connections have two gigabytes at most; a pod that has less refuses requests before (package engine, pressure).
const slowest = 200 << 10

// TestSlowMemory bounds what slow clients have the proxy keep: those that read nothing of a long answer, and those whose long request nobody reads.
func TestSlowMemory(t *testing.T) {
	const each = 100
	answer := strings.Repeat("x", 4<<20)
	stop := make(chan bool)
	var requests, answers atomic.Int64 // bytes that the proxy, or a socket on the way to it, has taken
	b := script(t, func(nc net.Conn, r *bufio.Reader) {
		if head := readHead(r); strings.HasPrefix(head, "GET") {
			fill(nc, "HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n"+answer, &answers)
		}
		<-stop
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	defer close(stop)
	before := heap()
	for i := range 2 * each {
		nc, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if i%2 == 0 {
			if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			continue
		}
		go func() {
			fill(nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n"+answer, &requests)
		}()
	}
	full := func() bool { return min(requests.Load(), answers.Load()) >= each*leastTaken }
	last, since := int64(-1), time.Now()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if sum := requests.Load() + answers.Load(); sum != last {
			last, since = sum, time.Now()
		} else if full() && time.Since(since) > 500*time.Millisecond { // more of them would only fill further
			break
		}
	}
	if !full() {
		t.Errorf("%d bytes of requests and %d of answers were taken: the proxy has nothing to keep", requests.Load(), answers.Load())
	}
	if got := (heap() - before) / (2 * each); got > slowest || got < leastKept {
		t.Errorf("%d bytes of a slow connection, at least %d are, at most %d may be", got, leastKept, slowest)
	} else {
		t.Logf("%d bytes of a slow connection", got)
	}
}

// What there is of a slow connection at the least, bytes: taken from its sender, and kept by the proxy. With less, nothing is held up.
const (
	leastTaken = 256 << 10
	leastKept  = 16 << 10
)

// fill writes until nobody takes more, and counts.
func fill(w io.Writer, text string, taken *atomic.Int64) {
	for len(text) > 0 {
		n, err := io.WriteString(w, text[:min(len(text), 16<<10)])
		if taken.Add(int64(n)); err != nil {
			return
		}
		text = text[n:]
	}
}

// heap is how many bytes live objects and stacks have.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
