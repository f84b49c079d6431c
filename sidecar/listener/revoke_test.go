package listener

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
)

// rule is an L4 filter.
type rule func(c *exchange.Connection) exchange.Outcome

func (r rule) Connection(c *exchange.Connection) exchange.Outcome { return r(c) }

func allow(*exchange.Connection) exchange.Outcome  { return exchange.OK }
func refuse(*exchange.Connection) exchange.Outcome { return exchange.Denied }

// waits is a Server that says hello and holds the connection until it ends.
type waits struct{}

func (waits) Serve(sess *Session) {
	defer sess.Conn.Close()
	_, _ = io.WriteString(sess.Conn, "hello")
	_, _ = io.Copy(io.Discard, sess.Conn)
}

// guarded is a listener with an L4 policy, for TLS where secure says how.
func guarded(via exchange.Via, secure config.ServerTLS, policy rule) *config.Listener {
	chain := &config.FilterChain{Name: "tls", Match: config.Match{Transport: "tls"}, TLS: secure, Network: []filter.Network{policy}, TCP: &config.TCP{}}
	if secure == nil {
		chain.Name, chain.Match.Transport = "plain", "raw_buffer"
	}
	l := bound("l", chain)
	via.Listener = "l"
	l.Via, l.Inspect = &via, config.Inspect{TLS: true}
	return l
}

// hears reads hello from c, or the connection's end.
func hears(t *testing.T, c net.Conn) bool {
	t.Helper()
	p := make([]byte, 5)
	n, err := io.ReadFull(c, p)
	if err != nil && n > 0 || err == nil && string(p) != "hello" {
		t.Fatalf("got %q %v", p[:n], err)
	}
	if err != nil {
		t.Log(err)
	}
	return err == nil
}

// recorded waits for what the recorder was told of a connection.
func (b *bench) recorded(want exchange.Outcome) {
	b.t.Helper()
	select {
	case o := <-b.q.refused:
		if o != want {
			b.t.Errorf("recorded as %s", o.Details())
		}
	case <-time.After(20 * time.Second):
		b.t.Error("not recorded")
	}
}

// same is the address of a listener that a swap must not rebind.
func (b *bench) same(l *config.Listener) *config.Listener {
	l.Binds = b.store.Load().Listener(l.Name).Binds
	return l
}

// TestSilentClientIsJudgedByWhatIsInForce: a client that waits to speak until its permission is gone does not get in.
func TestSilentClientIsJudgedByWhatIsInForce(t *testing.T) {
	inbound := exchange.Via{Direction: exchange.Inbound}
	secure := newServer(t)
	for _, denied := range []bool{false, true} {
		b := start(t, Servers{TCP: waits{}}, guarded(inbound, secure, allow))
		c := b.dial("l")
		time.Sleep(50 * time.Millisecond)
		if denied {
			b.swap(b.same(guarded(inbound, secure, refuse)))
		}
		conn := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		if got := hears(t, conn); got == denied {
			t.Errorf("denied meanwhile: %v, let in: %v", denied, got)
		}
	}
}

// TestRevokedWhileItIsLetIn: a configuration that is put in force between the filters' judgement and the end of admission is not missed.
func TestRevokedWhileItIsLetIn(t *testing.T) {
	inbound := exchange.Via{Direction: exchange.Inbound}
	var b *bench
	var swapped atomic.Bool
	b = start(t, Servers{TCP: waits{}}, guarded(inbound, nil, func(*exchange.Connection) exchange.Outcome {
		if b != nil && swapped.CompareAndSwap(false, true) {
			b.swap(b.same(guarded(inbound, nil, refuse)))
		}
		return exchange.OK
	}))
	c := b.dial("l")
	_, _ = io.WriteString(c, "something that is no TLS")
	if hears(t, c) {
		t.Error("let in")
	}
	b.recorded(exchange.Revoked)
}

// demanding is a server that wants to know who its clients are.
type demanding struct{ *server }

func (demanding) Accepts(s *exchange.Security) bool { return s.Mutual }

// TestOpenConnectionsAreJudgedAgain: at inbound listeners and at edges, but not on the way out of a workload.
func TestOpenConnectionsAreJudgedAgain(t *testing.T) {
	in, edge, out := exchange.Via{Direction: exchange.Inbound}, exchange.Via{Direction: exchange.Outbound, Gateway: true}, exchange.Via{Direction: exchange.Outbound}
	secure := newServer(t)
	empty := func(via exchange.Via) *config.Listener {
		l := bound("l", &config.FilterChain{Match: config.Match{Port: 1}, TCP: &config.TCP{}})
		l.Via = &via
		return l
	}
	for name, c := range map[string]struct {
		via  exchange.Via
		next *config.Listener
		cut  bool
	}{
		"inbound, denied":                 {in, guarded(in, secure, refuse), true},
		"inbound, allowed":                {in, guarded(in, secure, allow), false},
		"inbound, no chain":               {in, empty(in), true},
		"edge, denied":                    {edge, guarded(edge, secure, refuse), true},
		"edge, allowed":                   {edge, guarded(edge, secure, allow), false},
		"edge, no chain":                  {edge, empty(edge), false},
		"edge, certificate now wanted":    {edge, guarded(edge, demanding{secure}, allow), true},
		"inbound, certificate now wanted": {in, guarded(in, demanding{secure}, allow), true},
		"outbound, denied":                {out, guarded(out, secure, refuse), false},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, Servers{TCP: waits{}}, guarded(c.via, secure, allow))
			conn := tls.Client(b.dial("l"), &tls.Config{InsecureSkipVerify: true})
			if !hears(t, conn) {
				t.Fatal("not let in")
			}
			b.swap(b.same(c.next))
			_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			_, err := conn.Read(make([]byte, 1))
			ne, timeout := err.(net.Error)
			if cut := !timeout || !ne.Timeout(); cut != c.cut {
				t.Errorf("cut: %v (%v)", cut, err)
			}
		})
	}
}

// brokenHello is a ClientHello of a protocol version that nobody speaks.
func brokenHello(t *testing.T) string {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		_ = tls.Client(ours, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}).Handshake()
	}()
	p := make([]byte, 1024)
	n, err := theirs.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	p[9], p[10] = 2, 0 // SSL 2.0
	return string(p[:n])
}

// TestRefusalsAreTold: whoever is served by no chain leaves a trace, but for clients that go without a word.
func TestRefusalsAreTold(t *testing.T) {
	l := bound("l", &config.FilterChain{Name: "tls", Match: config.Match{Transport: "tls"}, TLS: newServer(t), Handshake: 200 * time.Millisecond, TCP: &config.TCP{}})
	l.Inspect = config.Inspect{TLS: true, Timeout: 300 * time.Millisecond}
	b := start(t, Servers{TCP: says("tcp")}, l)
	for name, c := range map[string]struct {
		say  string
		want exchange.Outcome
	}{
		"no chain":      {"hello, this is no TLS\n", exchange.BlackHole},
		"bad handshake": {brokenHello(t), exchange.HandshakeFailed},
		"silence":       {"", exchange.InspectionTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			b.dial("l").Close()
			_, _ = io.WriteString(b.dial("l"), c.say)
			b.recorded(c.want)
		})
	}
}

// TestSilenceIsIdle: draining waits for nobody who has said nothing yet.
func TestSilenceIsIdle(t *testing.T) {
	inspected := bound("inspected", &config.FilterChain{Match: config.Match{Transport: "tls"}, TCP: &config.TCP{}})
	inspected.Inspect = config.Inspect{TLS: true}
	http := bound("http", &config.FilterChain{HTTP: &config.HTTP{}})
	http.Binds[0] = netip.MustParseAddrPort("127.0.0.2:0")
	b := start(t, Servers{HTTP1: says("http1"), TCP: waits{}}, inspected, http)
	conns := []net.Conn{b.dial("inspected"), b.dial("http")}
	for range 100 {
		if open, busy := b.m.Count(exchange.Inbound); open == len(conns) && busy == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	open, busy := b.m.Count(exchange.Inbound)
	t.Errorf("%d open, %d busy", open, busy)
}

// teller is an HTTP server that tells clients why they are refused.
type teller struct{ says }

func (teller) Refuse(c net.Conn, o exchange.Outcome) { _, _ = io.WriteString(c, o.Details()) }

// TestCaps: beyond a cap clients of listeners that serve plain HTTP and nothing else are told, others are closed, all are recorded.
func TestCaps(t *testing.T) {
	http, tcp := &config.FilterChain{HTTP: &config.HTTP{}}, &config.FilterChain{TCP: &config.TCP{}}
	for name, c := range map[string]struct {
		change func(*Manager)
		chain  *config.FilterChain
		other  *config.FilterChain // for everybody whom chain does not match
		want   string
	}{
		"all listeners, HTTP":               {func(m *Manager) { m.opts.MaxConnections = 1 }, http, nil, "connection_limit"},
		"one listener, HTTP":                {func(m *Manager) { m.opts.PerListener = 1 }, http, nil, "connection_limit"},
		"one listener, HTTP in both chains": {func(m *Manager) { m.opts.PerListener = 1 }, http, http, "connection_limit"},
		"one listener, TCP":                 {func(m *Manager) { m.opts.PerListener = 1 }, tcp, nil, ""},
		"one listener, HTTP and TCP":        {func(m *Manager) { m.opts.PerListener = 1 }, http, tcp, ""},
		"one listener, TCP and HTTP":        {func(m *Manager) { m.opts.PerListener = 1 }, tcp, http, ""},
		"one listener, HTTPS":               {func(m *Manager) { m.opts.PerListener = 1 }, &config.FilterChain{HTTP: &config.HTTP{}, TLS: newServer(t)}, nil, ""},
		"one listener, HTTP and HTTPS":      {func(m *Manager) { m.opts.PerListener = 1 }, http, &config.FilterChain{HTTP: &config.HTTP{}, TLS: newServer(t)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, Servers{HTTP1: teller{"http1"}, TCP: waits{}})
			c.change(b.m)
			l := bound("l", c.chain)
			l.Default = c.other
			b.swap(l)
			first := b.dial("l")
			for b.m.Open() == 0 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(20 * time.Millisecond)
			if got, _ := io.ReadAll(b.dial("l")); string(got) != c.want {
				t.Errorf("got %q", got)
			}
			b.recorded(exchange.ConnectionCap)
			first.Close()
			for b.m.Open() > 0 {
				time.Sleep(time.Millisecond)
			}
			if c.chain.TLS != nil {
				return
			}
			next := b.dial("l")
			_, _ = io.WriteString(next, "GET")
			p := make([]byte, 5)
			if _, err := io.ReadFull(next, p); err != nil {
				t.Errorf("no place though one has gone: %v", err)
			}
		})
	}
}

// TestCapsWhereChainsDiffer: what a client says decides whether it is told; one that says nothing, or nothing that a chain of plain HTTP is for, is closed.
func TestCapsWhereChainsDiffer(t *testing.T) {
	chains := []*config.FilterChain{
		{Match: config.Match{Transport: "tls"}, TLS: newServer(t), HTTP: &config.HTTP{}},
		{Match: config.Match{Transport: "raw_buffer", ALPN: []string{"http/1.0", "http/1.1", "h2c"}}, HTTP: &config.HTTP{}},
	}
	l := bound("l", chains...)
	l.Default, l.Inspect = &config.FilterChain{TCP: &config.TCP{}}, config.Inspect{TLS: true, HTTP: true}
	l.RestoreDst, l.UseOriginalDst = true, true
	for name, c := range map[string]struct{ say, want string }{
		"HTTP":    {"GET / HTTP/1.1\r\n\r\n", "connection_limit"},
		"HTTP/2":  {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
		"TLS":     {brokenHello(t), ""},
		"TCP":     {"EHLO there\r\n", ""},
		"silence": {"", ""},
	} {
		for cap, change := range map[string]func(*Manager){
			"all": func(m *Manager) { m.opts.MaxConnections = 1 }, "one": func(m *Manager) { m.opts.PerListener = 1 },
		} {
			t.Run(name+", "+cap, func(t *testing.T) {
				t.Parallel()
				b := start(t, Servers{HTTP1: teller{"http1"}, TCP: waits{}})
				change(b.m)
				b.swap(l)
				b.dial("l")
				for b.m.Open() == 0 {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(20 * time.Millisecond)
				next := b.dial("l")
				_, _ = io.WriteString(next, c.say)
				if got, err := io.ReadAll(next); string(got) != c.want {
					t.Errorf("got %q, %v", got, err)
				}
				b.recorded(exchange.ConnectionCap)
			})
		}
	}
}
