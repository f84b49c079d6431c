package http2_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/forward"
	"github.com/heddle-mesh/heddle/sidecar/http1"
	"github.com/heddle-mesh/heddle/sidecar/http2"
	"github.com/heddle-mesh/heddle/sidecar/listener"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// mesh is a proxy put together by hand: the real forward, route, upstream and codecs between a loopback listener and one
// cluster.
type mesh struct {
	addr  string
	drain *listener.Drain
	log   *ledger
	store *config.Store
	conf  *config.Config
	conn  atomic.Pointer[net.Conn] // the last one accepted
	why   atomic.Uint32            // it was cut
}

// cut cuts the last connection, as the listener does.
func (m *mesh) cut(o exchange.Outcome) {
	m.why.Store(uint32(o))
	(*m.conn.Load()).Close()
}

// ledger is the recorder: what ended, and how.
type ledger struct {
	mu    sync.Mutex
	ended []entry
	panic atomic.Int32
	bad   []string // reasons of Malformed
}

type entry struct {
	outcome    exchange.Outcome
	status     int
	grpc       int
	attempts   int
	flags      string
	recv, sent int64
	text       string
}

func (l *ledger) Begin(*exchange.Exchange)                    {}
func (l *ledger) Opened(*exchange.Connection)                 {}
func (l *ledger) Progress(*exchange.Connection, int64, int64) {}
func (l *ledger) Closed(*exchange.Connection, int64, int64)   {}
func (l *ledger) Refused(*exchange.Connection)                {}
func (l *ledger) Panicked()                                   { l.panic.Add(1) }
func (l *ledger) Malformed(reason string)                     { l.mu.Lock(); l.bad = append(l.bad, reason); l.mu.Unlock() }
func (l *ledger) End(x *exchange.Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, entry{x.Outcome, x.Response.Status, x.GRPCStatus, x.Attempts, x.Flags.String(), x.Received, x.Sent, x.Text()})
}

// last returns the n-th entry once it is there.
func (l *ledger) wait(t testing.TB, n int) entry {
	t.Helper()
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		if len(l.ended) >= n {
			e := l.ended[n-1]
			l.mu.Unlock()
			return e
		}
		l.mu.Unlock()
	}
	t.Fatalf("exchange %d was never recorded", n)
	return entry{}
}

// options of a mesh.
type options struct {
	h2Down, h2Up bool
	route        func(*route.RouteConfig)
	http         func(*config.HTTP)
	cluster      func(*upstream.Config)
}

func build(t testing.TB, upstreamAddr string, o options) *mesh {
	t.Helper()
	cluster := &upstream.Config{
		Info:      exchange.ClusterInfo{Name: "up"},
		Discovery: upstream.Static,
		Endpoints: []*exchange.Endpoint{{Address: netip.MustParseAddrPort(upstreamAddr), Weight: 1}},
	}
	if o.h2Up {
		cluster.Protocol = upstream.UseHTTP2
	}
	if o.cluster != nil {
		o.cluster(cluster)
	}
	rc := route.RouteConfig{Name: "all", Match: route.Match{Path: "/", PathKind: route.Prefix}, Clusters: []route.Weighted{{Cluster: "up", Weight: 1}}}
	if o.route != nil {
		o.route(&rc)
	}
	table, err := route.New(route.Config{Name: "r", VirtualHosts: []route.VirtualHostConfig{{Name: "v", Domains: []string{"*"}, Routes: []route.RouteConfig{rc}}}})
	if err != nil {
		t.Fatal(err)
	}
	h := &config.HTTP{Routes: table}
	if o.http != nil {
		o.http(h)
	}
	return start(t, h, cluster, o)
}

func start(t testing.TB, h *config.HTTP, cluster *upstream.Config, o options) *mesh {
	t.Helper()
	m := &mesh{drain: listener.NewDrain(), log: &ledger{}}
	log := slog.New(slog.DiscardHandler)
	registry := upstream.NewRegistry(upstream.Options{HTTP1: http1.NewTransport, HTTP2: http2.NewCodec(http2.CodecOptions{}).Transport})
	store := config.NewStore(registry)
	m.store, m.conf = store, &config.Config{
		Listeners: []*config.Listener{{Name: "test", Default: &config.FilterChain{HTTP: h}}},
		Clusters:  map[string]*upstream.Config{"up": cluster},
	}
	store.Swap(m.conf)
	px := forward.New(forward.Options{Recorder: m.log, Log: log})
	var server listener.Server = http1.NewServer(http1.Options{Proxy: px, Log: log})
	if o.h2Down {
		server = http2.NewServer(http2.ServerOptions{Handler: px, Recorder: m.log, Log: log})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { nc.Close() })
			done.Go(func() { server.Serve(m.session(store, nc)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		done.Wait()
		store.Swap(&config.Config{})
		if n := m.log.panic.Load(); n != 0 {
			t.Errorf("%d panics", n)
		}
	})
	return m
}

func (m *mesh) session(store *config.Store, nc net.Conn) *listener.Session {
	here, there := nc.LocalAddr().(*net.TCPAddr).AddrPort(), nc.RemoteAddr().(*net.TCPAddr).AddrPort()
	facts := &exchange.Connection{
		Start: time.Now(), Source: there, Local: here, Destination: here,
		Via: &exchange.Via{Listener: "test", Direction: exchange.Inbound},
		Cut: func() exchange.Outcome { return exchange.Outcome(m.why.Load()) },
	}
	m.conn.Store(&nc)
	return &listener.Session{Conn: nc, Facts: facts, Binding: config.NewBinding(store, "test", facts), Drain: m.drain}
}
