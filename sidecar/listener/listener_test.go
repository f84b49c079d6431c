package listener

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// quiet is a recorder that counts panics, and keeps why connections were refused or closed.
type quiet struct {
	panics  chan struct{}
	refused chan exchange.Outcome
}

func (quiet) Begin(*exchange.Exchange)                    {}
func (quiet) End(*exchange.Exchange)                      {}
func (quiet) Opened(*exchange.Connection)                 {}
func (quiet) Progress(*exchange.Connection, int64, int64) {}
func (q quiet) Closed(c *exchange.Connection, _, _ int64) { q.refused <- c.Outcome }
func (q quiet) Refused(c *exchange.Connection)            { q.refused <- c.Outcome }
func (quiet) Malformed(string)                            {}
func (q quiet) Panicked()                                 { q.panics <- struct{}{} }

// says is a Server that says who it is and what it knows.
type says string

func (s says) Serve(sess *Session) {
	defer sess.Conn.Close()
	if s == "panic" {
		panic("on purpose")
	}
	sni := sess.Facts.SNI
	_, _ = io.WriteString(sess.Conn, strings.Join([]string{string(s), sess.Facts.Chain, sni, string(sess.Peeked)}, "|"))
}

type bench struct {
	t     *testing.T
	store *config.Store
	m     *Manager
	q     quiet
}

func start(t *testing.T, servers Servers, ls ...*config.Listener) *bench {
	t.Helper()
	store := config.NewStore(upstream.NewRegistry(upstream.Options{}))
	b := &bench{t, store, nil, quiet{make(chan struct{}, 1), make(chan exchange.Outcome, 100)}}
	b.m = New(Options{Store: store, Servers: servers, Recorder: b.q, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Handshake: 20 * time.Second})
	b.swap(ls...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		b.m.Shutdown(ctx)
	})
	return b
}

func (b *bench) swap(ls ...*config.Listener) {
	b.t.Helper()
	b.store.Swap(&config.Config{Listeners: ls})
	if err := b.m.Sync(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) dial(name string) net.Conn {
	b.t.Helper()
	c, err := net.Dial("tcp", b.m.Addr(name).String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func bound(name string, chains ...*config.FilterChain) *config.Listener {
	return &config.Listener{Name: name, Binds: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		Via: &exchange.Via{Listener: name, Direction: exchange.Inbound}, Chains: chains}
}

// server is a ServerTLS with a certificate of its own.
type server struct{ cfg *tls.Config }

func newServer(t *testing.T) *server {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &server{&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2", "http/1.1"}}}
}

func (s *server) Server(ctx context.Context, raw net.Conn) (net.Conn, *exchange.Security, error) {
	c := tls.Server(raw, s.cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	st := c.ConnectionState()
	return c, &exchange.Security{SNI: st.ServerName, ALPN: st.NegotiatedProtocol}, nil
}

func (s *server) Accepts(*exchange.Security) bool { return true }

// TestNoSocketsAreOpenedAnyMore: where Listen says so, new listeners are the business of another process, and no fault of this one.
func TestNoSocketsAreOpenedAnyMore(t *testing.T) {
	b := start(t, Servers{}, bound("before"))
	b.m.opts.Listen = func(network, address string) (net.Listener, error) {
		return nil, fmt.Errorf("%s %s: %w", network, address, net.ErrClosed)
	}
	late := bound("late")
	late.Binds = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:0")}
	b.swap(bound("before"), late)
	if b.m.Addr("before") == nil || b.m.Addr("late") != nil {
		t.Errorf("before listens at %v, late at %v", b.m.Addr("before"), b.m.Addr("late"))
	}
}

// deaf is a connection that hears nothing.
type deaf struct{ net.Conn }

func (deaf) Read([]byte) (int, error) { return 0, io.EOF }

func TestChainsByFirstBytes(t *testing.T) {
	secure := newServer(t)
	l := bound("l",
		&config.FilterChain{Name: "mesh", Match: config.Match{Transport: "tls", ALPN: []string{"h2", "http/1.1"}}, TLS: secure, HTTP: &config.HTTP{}},
		&config.FilterChain{Name: "sni", Match: config.Match{Transport: "tls", ServerNames: []string{"pass.example"}}, TCP: &config.TCP{}},
		&config.FilterChain{Name: "web", Match: config.Match{Transport: "raw_buffer", ALPN: []string{"http/1.1", "h2c"}}, HTTP: &config.HTTP{}},
	)
	l.Inspect = config.Inspect{TLS: true, HTTP: true}
	b := start(t, Servers{HTTP1: says("http1"), HTTP2: says("http2"), TCP: says("tcp")}, l)
	for name, c := range map[string]struct {
		tls  *tls.Config
		say  string
		want string
	}{
		"HTTP/1":              {nil, "GET / HTTP/1.1\r\n\r\n", "http1|web||GET / HTTP/1.1\r\n\r\n"},
		"HTTP/2":              {nil, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2|web||PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		"no chain":            {nil, "hello\n", ""},
		"TLS, HTTP/1 by ALPN": {&tls.Config{NextProtos: []string{"http/1.1"}, ServerName: "A.example"}, "x", "http1|mesh|a.example|"},
		"TLS, HTTP/2 by ALPN": {&tls.Config{NextProtos: []string{"h2"}}, "x", "http2|mesh||"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := b.dial("l")
			if c.tls != nil {
				c.tls.InsecureSkipVerify = true
				conn = tls.Client(conn, c.tls)
			}
			_, _ = io.WriteString(conn, c.say)
			got, _ := io.ReadAll(conn)
			if !strings.EqualFold(string(got), c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("TLS passes through by SNI", func(t *testing.T) {
		conn := b.dial("l")
		_ = tls.Client(deaf{conn}, &tls.Config{ServerName: "pass.example"}).Handshake()
		got, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(got), "tcp|sni|pass.example|\x16\x03\x01") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a handshake that never ends", func(t *testing.T) {
		b := start(t, Servers{HTTP1: says("http1")}, bound("short", &config.FilterChain{TLS: secure, Handshake: 50 * time.Millisecond, HTTP: &config.HTTP{}}))
		conn := b.dial("short")
		_, _ = conn.Write([]byte{22, 3, 1, 0})
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %d bytes, %v", n, err)
		}
	})
}

// TestDoubt: any method begins HTTP, however its line comes; but a client that has said a word and waits for the answer is not waited for.
func TestDoubt(t *testing.T) {
	l := bound("l", &config.FilterChain{Name: "web", Match: config.Match{ALPN: []string{"http/1.1"}}, HTTP: &config.HTTP{}}, &config.FilterChain{Name: "any", TCP: &config.TCP{}})
	l.Inspect = config.Inspect{TLS: true, HTTP: true}
	b := start(t, Servers{HTTP1: says("http1"), TCP: says("tcp")}, l)
	for name, c := range map[string]struct {
		say  []string
		want string
	}{
		"a method":            {[]string{"MERGE /a HTTP/1.1\r\n"}, "http1|web||MERGE /a HTTP/1.1\r\n"},
		"a method in pieces":  {[]string{"MERGE", " /a HTTP", "/1.1\r\n"}, "http1|web||MERGE /a HTTP/1.1\r\n"},
		"a token in pieces":   {[]string{"An.y", " /a HTTP/1.1\r\n"}, "http1|web||An.y /a HTTP/1.1\r\n"},
		"a word":              {[]string{"ruok"}, "tcp|any||ruok"},
		"a word and a line":   {[]string{"ruok", "\n"}, "tcp|any||ruok\n"},
		"what is no method":   {[]string{"\x00ruok"}, "tcp|any||\x00ruok"},
		"a line of no method": {[]string{"get a\r\n"}, "tcp|any||get a\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := b.dial("l")
			for _, s := range c.say {
				_, _ = io.WriteString(conn, s)
				time.Sleep(20 * time.Millisecond)
			}
			if got, _ := io.ReadAll(conn); string(got) != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// clock is a ServerTLS that tells how long a handshake may take, and makes none.
type clock chan time.Duration

func (c clock) Server(ctx context.Context, _ net.Conn) (net.Conn, *exchange.Security, error) {
	until, _ := ctx.Deadline()
	c <- time.Until(until)
	return nil, nil, errors.New("no handshake")
}

func (clock) Accepts(*exchange.Security) bool { return false }

// TestHandshakesAreBoundedByTheirChain holds that a chain's own bound counts, and that of all where it has none.
func TestHandshakesAreBoundedByTheirChain(t *testing.T) {
	for most, longer := range map[time.Duration]bool{0: false, time.Hour: true} {
		c := make(clock, 1)
		l := bound("l", &config.FilterChain{Name: "tls", TLS: c, Handshake: most, HTTP: &config.HTTP{}})
		start(t, Servers{HTTP1: says("http1")}, l).dial("l")
		if got := <-c; got > time.Minute != longer {
			t.Errorf("a chain that says %v gives a handshake %v", most, got)
		}
	}
}

func TestInspectionTimeout(t *testing.T) {
	l := bound("l", &config.FilterChain{Name: "any", HTTP: &config.HTTP{}})
	l.Inspect = config.Inspect{TLS: true, Timeout: 30 * time.Millisecond}
	b := start(t, Servers{HTTP1: says("http1")}, l)
	if got, err := io.ReadAll(b.dial("l")); len(got) != 0 || err != nil {
		t.Errorf("a silent client is closed: got %q %v", got, err)
	}
}

func TestHandOff(t *testing.T) {
	any4, any6 := netip.MustParseAddrPort("0.0.0.0:80"), netip.MustParseAddrPort("[::]:80")
	exact := netip.MustParseAddrPort("10.0.0.1:80")
	virtual := bound("virtual")
	virtual.UseOriginalDst = true
	via := &exchange.Via{}
	b := start(t, Servers{}, virtual,
		&config.Listener{Name: "any", NoBind: true, Binds: []netip.AddrPort{any4, any6}, Via: via},
		&config.Listener{Name: "exact", NoBind: true, Binds: []netip.AddrPort{exact}, Via: via},
		&config.Listener{Name: "other", Binds: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Via: via},
		&config.Listener{Name: "called", Binds: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.9:0")}, Via: &exchange.Via{Direction: exchange.Outbound}})
	for dst, want := range map[string]string{
		"10.0.0.1:80": "exact", "10.0.0.2:80": "any", "[2001:db8::1]:80": "any", "10.0.0.1:81": "virtual", "127.0.0.1:0": "virtual", "127.0.0.9:0": "called",
	} {
		s := &session{facts: &exchange.Connection{Destination: netip.MustParseAddrPort(dst), Via: virtual.Via}, listener: "virtual"}
		if got := b.m.hand(s, virtual); got.Name != want || s.listener != want {
			t.Errorf("%s: got %s, want %s", dst, got.Name, want)
		}
	}
}

// onward is a Server that says where its clients meant to go on to.
type onward struct{}

func (onward) Serve(sess *Session) {
	defer sess.Conn.Close()
	_, _ = io.WriteString(sess.Conn, sess.Facts.Onward().String())
}

// TestCalledGoesNowhereElse holds that who connects to a listener that captures nothing meant the proxy: followed, the destination would lead back to it.
func TestCalledGoesNowhereElse(t *testing.T) {
	chain := &config.FilterChain{TCP: &config.TCP{}}
	captures := bound("captures", chain)
	captures.RestoreDst, captures.Binds = true, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:0")}
	b := start(t, Servers{TCP: onward{}}, bound("called", chain), captures)
	if got, _ := io.ReadAll(b.dial("called")); string(got) != "127.0.0.1:0" {
		t.Errorf("a client of a listener leads to %q, want an address without a port", got)
	}
	if got, _ := io.ReadAll(b.dial("captures")); string(got) != b.m.Addr("captures").String() {
		t.Errorf("a captured connection leads to %q, want %s", got, b.m.Addr("captures"))
	}
}

func TestSync(t *testing.T) {
	chain := &config.FilterChain{Name: "c", TCP: &config.TCP{}}
	one, two := bound("one", chain), bound("two", chain)
	b := start(t, Servers{TCP: says("tcp")}, one)
	addr := b.m.Addr("one").String()
	one.Binds[0] = netip.MustParseAddrPort(addr)
	b.swap(two)
	if b.m.Addr("one") != nil || b.m.Addr("two") == nil {
		t.Error("sockets are not those of the configuration")
	}
	if _, err := net.DialTimeout("tcp", addr, time.Second); err == nil && b.m.Addr("two").String() != addr {
		t.Error("a listener that is gone still accepts")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	bad := bound("bad", chain)
	bad.Binds[0] = netip.MustParseAddrPort(taken.Addr().String())
	b.store.Swap(&config.Config{Listeners: []*config.Listener{bad, two}})
	if unbound := b.m.Sync(); len(unbound) != 1 || unbound[0].Listener != "bad" || !strings.HasPrefix(unbound[0].Error(), `binding listener "bad": listen tcp4 `) ||
		!errors.Is(unbound[0], syscall.EADDRINUSE) {
		t.Errorf("got %v", unbound)
	}
	if got, _ := io.ReadAll(b.dial("two")); string(got) != "tcp|c||" {
		t.Errorf("the neighbour of a listener that cannot bind: got %q", got)
	}
}

func TestPanicClosesOneConnection(t *testing.T) {
	b := start(t, Servers{TCP: says("panic")}, bound("l", &config.FilterChain{TCP: &config.TCP{}}))
	if got, _ := io.ReadAll(b.dial("l")); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	select {
	case <-b.q.panics:
	case <-time.After(time.Second):
		t.Error("the panic was not counted")
	}
	for range 100 {
		if b.m.Open() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d connections open", b.m.Open())
}

func TestConnectionCap(t *testing.T) {
	l := bound("l", &config.FilterChain{HTTP: &config.HTTP{}})
	l.MaxConnections = 2
	b := start(t, Servers{HTTP1: says("http1")}, l)
	held := []net.Conn{b.dial("l"), b.dial("l")} // silent: they stay where the codec is chosen
	for range 100 {
		if b.m.Open() == 2 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	third := b.dial("l")
	_, _ = io.WriteString(third, "GET")
	if got, _ := io.ReadAll(third); len(got) != 0 {
		t.Errorf("the third got %q", got)
	}
	held[0].Close()
	for range 100 {
		c := b.dial("l")
		_, _ = io.WriteString(c, "GET")
		if got, _ := io.ReadAll(c); len(got) != 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("no place though one has gone")
}
