package tcp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/http1"
	"github.com/heddle-mesh/heddle/sidecar/http2"
	"github.com/heddle-mesh/heddle/sidecar/listener"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/tcp"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/hashing"
)

// book is a recorder that keeps ends of connections.
type book struct {
	mu     sync.Mutex
	closed []exchange.Connection
	opened int
	panics int
}

func (b *book) Begin(*exchange.Exchange)                    {}
func (b *book) End(*exchange.Exchange)                      {}
func (b *book) Opened(*exchange.Connection)                 { b.mu.Lock(); b.opened++; b.mu.Unlock() }
func (b *book) Progress(*exchange.Connection, int64, int64) {}
func (b *book) Refused(*exchange.Connection)                {}
func (b *book) Malformed(string)                            {}
func (b *book) Panicked()                                   { b.mu.Lock(); b.panics++; b.mu.Unlock() }
func (b *book) Closed(c *exchange.Connection, _, _ int64) {
	b.mu.Lock()
	b.closed = append(b.closed, *c)
	b.mu.Unlock()
}

func (b *book) last(t *testing.T, n int) exchange.Connection {
	t.Helper()
	for range 200 {
		b.mu.Lock()
		if len(b.closed) >= n {
			defer b.mu.Unlock()
			return b.closed[n-1]
		}
		b.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("connection %d never ended", n)
	return exchange.Connection{}
}

// marker is a Server that says its name and closes.
type marker string

func (m marker) Serve(s *listener.Session) {
	_, _ = io.WriteString(s.Conn, string(m)+" saw "+string(s.Peeked))
	_ = s.Conn.Close()
}

// bed is a listener under test.
type bed struct {
	store *config.Store
	m     *listener.Manager
	book  *book
	cfg   config.Config
	l     *config.Listener
}

func start(t *testing.T, chains []*config.FilterChain, clusters map[string][]string, change func(*bed)) *bed {
	t.Helper()
	log, records := slog.New(slog.DiscardHandler), &book{}
	reg := upstream.NewRegistry(upstream.Options{HTTP1: http1.NewTransport, HTTP2: http2.NewCodec(http2.CodecOptions{Recorder: records, Log: log}).Transport,
		Resolver: here{}, Reachable: func(netip.Addr) bool { return true }})
	b := &bed{store: config.NewStore(reg), book: records}
	b.m = listener.New(listener.Options{Store: b.store, Recorder: b.book, Log: log, Servers: listener.Servers{
		TCP: tcp.NewServer(tcp.Options{Recorder: b.book, Log: log}), HTTP1: marker("http1"), HTTP2: marker("http2"),
	}})
	b.l = &config.Listener{Name: "l", Binds: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		Via: &exchange.Via{Listener: "l", Direction: exchange.Inbound}, Chains: chains}
	b.cfg = config.Config{Listeners: []*config.Listener{b.l}, Clusters: map[string]*upstream.Config{}}
	for name, addrs := range clusters {
		c := &upstream.Config{Info: exchange.ClusterInfo{Name: name}, Discovery: upstream.Static, ConnectTimeout: time.Second}
		for _, a := range addrs {
			c.Endpoints = append(c.Endpoints, &exchange.Endpoint{Address: netip.MustParseAddrPort(a), Weight: 1})
		}
		b.cfg.Clusters[name] = c
	}
	if change != nil {
		change(b)
	}
	b.swap(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		b.m.Shutdown(ctx)
		if b.book.panics != 0 {
			t.Errorf("%d recovered panics", b.book.panics)
		}
	})
	return b
}

func (b *bed) swap(t *testing.T) {
	t.Helper()
	c := b.cfg
	b.store.Swap(&c)
	if err := b.m.Sync(); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", b.m.Addr("l").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	return c.(*net.TCPConn)
}

func server(t *testing.T, serve func(*net.TCPConn)) (addr string, accepted *atomic.Int32) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	accepted = &atomic.Int32{}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			go func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			}()
		}
	}()
	return ln.Addr().String(), accepted
}

func plain(cluster string) []*config.FilterChain {
	return []*config.FilterChain{{TCP: &config.TCP{Clusters: []route.Weighted{{Cluster: cluster}}}}}
}

func TestHalfClose(t *testing.T) {
	addr, _ := server(t, func(c *net.TCPConn) {
		data, _ := io.ReadAll(c) // answers only after the client has ended
		_, _ = c.Write(bytes.ToUpper(data))
	})
	b := start(t, plain("c"), map[string][]string{"c": {addr}}, nil)
	c := b.dial(t)
	sent := bytes.Repeat([]byte("abcdefgh"), 1<<18)
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, bytes.ToUpper(sent)) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if r := b.book.last(t, 1); r.Received != 2<<20 || r.Sent != 2<<20 || r.Outcome != exchange.OK || r.Upstream.Cluster.Name != "c" {
		t.Errorf("got %+v", r)
	}
}

func TestRefusals(t *testing.T) {
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	dead := ln.Addr().String()
	ln.Close()
	for name, c := range map[string]struct {
		cluster  string
		want     exchange.Outcome
		flags    string
		attempts int
	}{
		"no cluster": {"nope", exchange.NoCluster, "NC", 0}, "no endpoint": {"empty", exchange.NoHealthyUpstream, "UH", 0}, "refused": {"dead", exchange.ConnectFailure, "UF", 1},
	} {
		b := start(t, plain(c.cluster), map[string][]string{"empty": nil, "dead": {dead}}, nil)
		if got, _ := io.ReadAll(b.dial(t)); len(got) != 0 {
			t.Errorf("%s: got %q", name, got)
		}
		if r := b.book.last(t, 1); r.Outcome != c.want || r.Flags.String() != c.flags || r.Attempts != c.attempts {
			t.Errorf("%s: got %v %v after %d attempts", name, r.Outcome, r.Flags, r.Attempts)
		}
	}
}

// TestOtherHosts: where a host cannot be connected to, up to two others are tried; which ones is chance.
func TestOtherHosts(t *testing.T) {
	const clients = 40
	good, _ := server(t, func(c *net.TCPConn) { _, _ = c.Write([]byte("x")) })
	for dead, want := range map[int][2]int{2: {0, 15}, 9: {12, 39}} { // of one try, 27 and 36 would fail
		hosts := []string{good}
		for i := range dead {
			hosts = append(hosts, fmt.Sprintf("127.0.0.%d:1", 100+i))
		}
		b := start(t, plain("c"), map[string][]string{"c": hosts}, nil)
		failed := 0
		for n := range clients {
			c := b.dial(t)
			_, _ = io.ReadAll(c)
			c.Close()
			r := b.book.last(t, n+1)
			if r.Outcome == exchange.ConnectFailure {
				failed++
			} else if r.Outcome != exchange.OK {
				t.Errorf("%d dead hosts: %v", dead, r.Outcome)
			}
			if r.Attempts < 1 || r.Attempts > 3 || r.Outcome != exchange.OK && r.Attempts == 1 {
				t.Errorf("%d dead hosts: %v after %d attempts", dead, r.Outcome, r.Attempts)
			}
		}
		if failed < want[0] || failed > want[1] {
			t.Errorf("%d dead hosts: %d of %d connections failed, want %v", dead, failed, clients, want)
		}
	}
}

func TestIdleTimeout(t *testing.T) {
	addr, _ := server(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	chains := plain("c")
	chains[0].TCP.IdleTimeout = 300 * time.Millisecond
	b := start(t, chains, map[string][]string{"c": {addr}}, nil)
	c := b.dial(t)
	for range 4 { // one way moving keeps the other open
		time.Sleep(120 * time.Millisecond)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(begin) > time.Second {
		t.Errorf("got %v after %v", err, time.Since(begin))
	}
	if r := b.book.last(t, 1); r.Outcome != exchange.SessionIdle || r.Flags != 0 {
		t.Errorf("got %v %s", r.Outcome, r.Flags)
	}
}

// sniffed is an undeclared port: HTTP if it looks so, else TCP.
func sniffed(cluster string) []*config.FilterChain {
	return []*config.FilterChain{
		{Name: "http", Match: config.Match{Transport: "raw_buffer", ALPN: []string{"http/1.1", "h2c"}}, HTTP: &config.HTTP{}},
		{Name: "tcp", Match: config.Match{Transport: "raw_buffer"}, TCP: plain(cluster)[0].TCP},
	}
}

func inspect(b *bed) { b.l.Inspect = config.Inspect{TLS: true, HTTP: true} }

func TestUndeclaredPort(t *testing.T) {
	banner, _ := server(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "220 ready\n")
		_, _ = io.Copy(c, c)
	})
	b := start(t, sniffed("c"), map[string][]string{"c": {banner}}, inspect)
	t.Run("the server speaks first", func(t *testing.T) {
		c := b.dial(t)
		got := make([]byte, 10)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "220 ready\n" {
			t.Fatalf("got %q %v", got, err)
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n") // too late to be HTTP
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "GET / HTTP" {
			t.Fatalf("got %q %v", got, err)
		}
	})
	silent, dialled := server(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	b = start(t, sniffed("c"), map[string][]string{"c": {silent}}, inspect)
	for name, c := range map[string]struct{ say, want string }{
		"HTTP":  {"GET / HTTP/1.1\r\n\r\n", "http1 saw GET / HTTP/1.1\r\n\r\n"},
		"HTTP2": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2 saw PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		"TCP":   {"hello", "hello"},
	} {
		for _, wait := range []time.Duration{0, 100 * time.Millisecond} {
			t.Run(name+" after "+wait.String(), func(t *testing.T) {
				conn := b.dial(t)
				time.Sleep(wait)
				_, _ = io.WriteString(conn, c.say)
				_ = conn.CloseWrite()
				if got, err := io.ReadAll(conn); err != nil || string(got) != c.want {
					t.Errorf("got %q %v, want %q", got, err, c.want)
				}
			})
		}
	}
	if n := dialled.Load(); n < 4 { // twice TCP, and ahead for two silent clients
		t.Errorf("dialled %d times", n)
	}
}

// gate is an L4 filter that can be shut.
type gate struct{ shut atomic.Bool }

func (g *gate) Connection(c *exchange.Connection) exchange.Outcome {
	if g.shut.Load() {
		c.Details = "shut"
		return exchange.Denied
	}
	return exchange.OK
}

func TestL4Filters(t *testing.T) {
	addr, dialled := server(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	g, chains := &gate{}, plain("c")
	chains[0].Network = []filter.Network{g}
	b := start(t, chains, map[string][]string{"c": {addr}}, nil)
	g.shut.Store(true)
	if got, _ := io.ReadAll(b.dial(t)); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if r := b.book.last(t, 1); r.Outcome != exchange.Denied || r.Details != "shut" || dialled.Load() != 0 {
		t.Errorf("got %+v after %d dials", r, dialled.Load())
	}
	g.shut.Store(false)
	c, one := b.dial(t), make([]byte, 1)
	_, _ = c.Write([]byte("x"))
	if _, err := c.Read(one); err != nil {
		t.Fatal(err)
	}
	b.swap(t)
	_, _ = c.Write([]byte("y"))
	if _, err := c.Read(one); err != nil {
		t.Fatalf("a swap that changes nothing cut a connection: %v", err)
	}
	g.shut.Store(true)
	b.swap(t)
	if _, err := c.Read(one); err == nil {
		t.Error("a revoked connection goes on")
	}
	if r := b.book.last(t, 2); r.Outcome != exchange.Revoked {
		t.Errorf("got %v", r.Outcome)
	}
}

func TestCapturePortRefusesOthers(t *testing.T) {
	addr, dialled := server(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	host := notLoopback(t)
	b := start(t, plain("c"), map[string][]string{"c": {addr}}, func(b *bed) {
		b.l.Capture, b.l.RestoreDst = true, true
		b.l.Binds = []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), 0)}
	})
	port := b.m.Addr("l").(*net.TCPAddr).Port
	c, err := net.DialTCP("tcp", &net.TCPAddr{IP: host}, &net.TCPAddr{IP: host, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.Write([]byte("x"))
	if got, _ := io.ReadAll(c); len(got) != 0 || dialled.Load() != 0 {
		t.Errorf("got %q after %d dials", got, dialled.Load())
	}
}

func notLoopback(t *testing.T) net.IP {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP
		}
	}
	t.Skip("no address but loopback")
	return nil
}

func TestWeights(t *testing.T) {
	one, n1 := server(t, func(*net.TCPConn) {})
	two, n2 := server(t, func(*net.TCPConn) {})
	chains := plain("a")
	chains[0].TCP.Clusters = []route.Weighted{{Cluster: "a", Weight: 80}, {Cluster: "b", Weight: 20}}
	b := start(t, chains, map[string][]string{"a": {one}, "b": {two}}, nil)
	for range 200 {
		_, _ = io.ReadAll(b.dial(t))
	}
	if n2.Load() < 15 || n2.Load() > 70 || n1.Load()+n2.Load() != 200 {
		t.Errorf("80/20 of 200 is %d/%d", n1.Load(), n2.Load())
	}
}

// TestLongestDuration: a connection ends when it has lasted as long as it may, however busy it is.
func TestLongestDuration(t *testing.T) {
	addr, _ := server(t, func(c *net.TCPConn) {
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	chains := plain("c")
	chains[0].TCP.MaxDuration = 200 * time.Millisecond
	b := start(t, chains, map[string][]string{"c": {addr}}, nil)
	begun := time.Now()
	n, _ := io.Copy(io.Discard, b.dial(t))
	if d := time.Since(begun); n < 2 || d < 150*time.Millisecond || d > 2*time.Second {
		t.Errorf("%d bytes in %s", n, d)
	}
	if r := b.book.last(t, 1); r.Outcome != exchange.SessionDuration || r.Flags.String() != "DT" {
		t.Errorf("got %v %s", r.Outcome, r.Flags)
	}
}

// TestStickyBySource: connections from one address go to one server, others spread.
func TestStickyBySource(t *testing.T) {
	var servers []string
	var counts []*atomic.Int32
	for range 2 {
		addr, n := server(t, func(c *net.TCPConn) { _, _ = c.Write([]byte("x")) })
		servers, counts = append(servers, addr), append(counts, n)
	}
	chains := plain("c")
	chains[0].TCP.HashSourceIP = true
	b := start(t, chains, map[string][]string{"c": servers}, func(b *bed) {
		b.cfg.Clusters["c"].Balancer, b.cfg.Clusters["c"].Hashing = upstream.Maglev, hashing.Sizes{Size: 1009}
	})
	for host := 1; host <= 20; host++ {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(host))}}
		before := make([]int32, len(counts))
		for i, n := range counts {
			before[i] = n.Load()
		}
		for range 3 {
			c, err := from.Dial("tcp", b.m.Addr("l").String())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.ReadAll(c)
			c.Close()
		}
		for i, n := range counts {
			if more := n.Load() - before[i]; more != 0 && more != 3 {
				t.Errorf("127.0.0.%d: %d of 3 connections went to server %d", host, more, i)
			}
		}
	}
	for i, n := range counts {
		if n.Load() == 0 || n.Load() == 60 {
			t.Errorf("server %d had %d of 60 connections", i, n.Load())
		}
	}
}

func TestShutdownCutsAtDeadline(t *testing.T) {
	addr, _ := server(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	b := start(t, plain("c"), map[string][]string{"c": {addr}}, nil)
	c, one := b.dial(t), make([]byte, 1)
	_, _ = c.Write([]byte("x"))
	_, _ = c.Read(one)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if n := b.m.Shutdown(ctx); n != 1 {
		t.Errorf("cut %d", n)
	}
	if r := b.book.last(t, 1); r.Outcome != exchange.Drained {
		t.Errorf("got %v", r.Outcome)
	}
}

// TestFailedDialAheadProvesNothing: a slow client may yet be one for another chain.
func TestFailedDialAheadProvesNothing(t *testing.T) {
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	dead := ln.Addr().String()
	ln.Close()
	b := start(t, sniffed("c"), map[string][]string{"c": {dead}}, inspect)
	for say, want := range map[string]string{"GET / HTTP/1.1\r\n\r\n": "http1 saw GET / HTTP/1.1\r\n\r\n", "hello": ""} {
		conn := b.dial(t)
		time.Sleep(60 * time.Millisecond)
		_, _ = io.WriteString(conn, say)
		_ = conn.CloseWrite()
		if got, _ := io.ReadAll(conn); string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if r := b.book.last(t, 1); r.Outcome != exchange.ConnectFailure {
		t.Errorf("got %v", r.Outcome)
	}
}

// TestPolicyWaitsForSilentClients: who has not spoken has not yet failed to prove who it is; nothing is dialled meanwhile.
func TestPolicyWaitsForSilentClients(t *testing.T) {
	addr, dialled := server(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "banner") })
	g, chains := &gate{}, sniffed("c")
	g.shut.Store(true)
	chains[1].Network = []filter.Network{g}
	b := start(t, chains, map[string][]string{"c": {addr}}, inspect)
	conn := b.dial(t)
	_ = conn.SetReadDeadline(time.Now().Add(80 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !err.(net.Error).Timeout() {
		t.Fatalf("got %d bytes, %v", n, err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
	if got, _ := io.ReadAll(conn); string(got) != "http1 saw GET / HTTP/1.1\r\n\r\n" {
		t.Errorf("got %q", got)
	}
	plainly := b.dial(t)
	_, _ = io.WriteString(plainly, "hello")
	if got, _ := io.ReadAll(plainly); len(got) != 0 || dialled.Load() != 0 {
		t.Errorf("got %q after %d dials", got, dialled.Load())
	}
}

// TestFirstWordsInPieces holds that nothing of what a silent client says at last is lost where looking at it takes more than its first piece.
func TestFirstWordsInPieces(t *testing.T) {
	addr, _ := server(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	b := start(t, plain("c"), map[string][]string{"c": {addr}}, inspect)
	for first, rest := range map[string]string{"GE": "X is no method", "\x16\x03\x01": "\x02\x00 no hello"} {
		c := b.dial(t)
		time.Sleep(50 * time.Millisecond) // it counts as silent
		for _, piece := range []string{first, rest} {
			if _, err := io.WriteString(c, piece); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond) // apart from each other
		}
		got := make([]byte, len(first+rest))
		if n, err := io.ReadFull(c, got); err != nil || string(got) != first+rest {
			t.Errorf("%q: got %q, %v", first+rest, got[:n], err)
		}
		_ = c.Close()
	}
}

// TestResetsStayResets holds that a peer which reads to the end does not take for the whole what was cut off.
func TestResetsStayResets(t *testing.T) {
	addr, _ := server(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "half of it")
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	})
	b := start(t, plain("c"), map[string][]string{"c": {addr}}, nil)
	c := b.dial(t)
	got := make([]byte, len("half of it"))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(got); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d bytes and %v, want a reset", n, err)
	}
}
