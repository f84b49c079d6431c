package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// envBrief is how many short connections TestShortConnections makes, for each side that may close them; `make test-long` says 60,000.
const envBrief = "HEDDLE_SHORT_CONNECTIONS"

// TestShortConnections holds that inbound connections of one request each, as many as HEDDLE_SHORT_CONNECTIONS says, all reach the application, one connection each
// from 127.0.0.6, whichever side closes it: no port runs out, though there are but 28,000 of them.
func TestShortConnections(t *testing.T) {
	n := 500
	if text := os.Getenv(envBrief); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", envBrief, err)
		}
	}
	for name, appCloses := range map[string]bool{"closed by the application": true, "closed by the proxy": false} {
		t.Run(name, func(t *testing.T) {
			var served, strange atomic.Int64
			app := script(t, func(nc net.Conn, r *bufio.Reader) {
				if from, _, _ := net.SplitHostPort(nc.RemoteAddr().String()); from != "127.0.0.6" {
					strange.Add(1)
				}
				served.Add(1)
				readHead(r)
				if appCloses {
					_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
					return
				}
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				_, _ = io.Copy(io.Discard, r)
			})
			p := proxy(t, to("c"), map[string][]string{"c": {app}}, func(p *mesh) {
				p.cfg.Listeners[0].Via.Direction = exchange.Inbound
				c := p.cfg.Clusters["c"]
				if c.Source = netip.MustParseAddr("127.0.0.6"); !appCloses {
					c.Limits = upstream.Limits{RequestsPerConnection: 1}
				}
			})
			p.book.silent = true
			begun := time.Now()
			failed := askBriefly(p.addr(), n)
			took := time.Since(begun)
			t.Logf("%d connections in %v, %.0f/s; %d failed", n, took.Round(time.Millisecond), float64(n)/took.Seconds(), len(failed))
			if len(failed) > 0 {
				t.Errorf("the first failures: %q", failed[:min(len(failed), 5)])
			}
			if served.Load() != int64(n) || strange.Load() != 0 {
				t.Errorf("the application has had %d connections, %d of them not from 127.0.0.6", served.Load(), strange.Load())
			}
		})
	}
}

// askBriefly makes n connections of one request each, 32 at a time, and returns what became of those that failed. The clients' own ports are of many addresses.
func askBriefly(address string, n int) (failed []string) {
	var next atomic.Int64
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				from := &net.TCPAddr{IP: net.IPv4(127, 1, 0, byte(1+i%200))}
				if err := askOnce(&net.Dialer{LocalAddr: from, Timeout: 20 * time.Second}, address); err != nil {
					mu.Lock()
					failed = append(failed, err.Error())
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return failed
}

func askOnce(d *net.Dialer, address string) error {
	nc, err := d.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	got, err := io.ReadAll(nc)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") || !strings.HasSuffix(string(got), "ok") {
		return fmt.Errorf("%v: %.200q", err, got)
	}
	return nil
}
