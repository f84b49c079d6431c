package http2

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/http2/block"
	"github.com/heddle-mesh/heddle/sidecar/listener"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// relay is the least that a Handler can be: it forwards to one upstream, without filters, retries or telemetry.
type relay struct {
	dial  func() (exchange.Transport, error)
	local exchange.Outcome // answer this instead
	still bool             // the server's clock stands, so that no allowance refills
	book  complaints       // what the server has told of its clients
	stays chan struct{}    // after which the handler does not end until this is closed

	mu        sync.Mutex
	transport exchange.Transport
	ended     []exchange.Outcome
}

func (r *relay) pick() (exchange.Stream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range 3 {
		if r.transport != nil {
			if st, err := r.transport.Open(); err == nil {
				return st, nil
			}
		}
		t, err := r.dial()
		if err != nil {
			return nil, err
		}
		r.transport = t
	}
	return nil, exchange.ErrRefused
}

func (r *relay) Refuse(x *exchange.Exchange, d exchange.Downstream, _ *config.Bound, o exchange.Outcome) {
	x.Fail(o)
	x.Response.Status = o.Status()
	_ = d.WriteHead(true)
	r.record(x)
}

func (r *relay) record(x *exchange.Exchange) {
	r.mu.Lock()
	r.ended = append(r.ended, x.Outcome)
	r.mu.Unlock()
}

func (r *relay) Serve(x *exchange.Exchange, d exchange.Downstream, b *config.Bound) {
	x.GRPC = block.IsGRPC(&x.Request)
	if r.local != exchange.OK {
		r.Refuse(x, d, b, r.local)
		if r.stays != nil {
			<-r.stays
		}
		return
	}
	st, err := r.pick()
	if err != nil {
		r.Refuse(x, d, b, exchange.ConnectFailure)
		return
	}
	defer st.Close()
	defer x.Detach()
	if !x.Attach(st) {
		x.Fail(exchange.ClientGone)
		d.Abort()
		r.record(x)
		return
	}
	var pump sync.WaitGroup
	defer pump.Wait()
	p, whole := d.BodyBuffered()
	if err := st.WriteHead(&x.Request, whole && len(p) == 0); err == nil && whole && len(p) > 0 {
		_ = st.WriteBody(p, true)
	}
	if !whole {
		_ = st.Flush()
		pump.Go(func() { r.upload(x, d, st) })
	}
	if !r.download(x, d, st) {
		if x.Outcome == exchange.OK {
			x.Fail(exchange.UpstreamAborted)
		}
		if x.Canceled() {
			x.Outcome = exchange.ClientGone
		}
		st.Abort()
		d.Abort()
	}
	d.StopBody()
	r.record(x)
}

func (r *relay) upload(x *exchange.Exchange, d exchange.Downstream, st exchange.Stream) {
	for {
		p, end, err := d.ReadBody()
		if err != nil {
			return
		}
		trailers := end && len(x.Trailers.Fields) > 0
		if err := st.WriteBody(p, end && !trailers); err != nil {
			return
		}
		if trailers {
			_ = st.WriteTrailers(&x.Trailers)
		}
		if end {
			return
		}
		_ = st.Flush()
	}
}

func (r *relay) download(x *exchange.Exchange, d exchange.Downstream, st exchange.Stream) bool {
	for {
		end, err := st.ReadHead(&x.Response)
		if err != nil {
			x.Response.Reset()
			x.Response.Status = 503
			x.Fail(exchange.UpstreamReset)
			return d.WriteHead(true) == nil
		}
		if x.Response.Status < 200 {
			_ = d.WriteInterim(&x.Response)
			continue
		}
		if err := d.WriteHead(end); err != nil {
			return false
		}
		if end {
			return true
		}
		break
	}
	for {
		if !st.Buffered() {
			_ = d.Flush()
		}
		p, end, err := st.ReadBody()
		if err != nil {
			return false
		}
		if !end {
			if d.WriteBody(p, false) != nil {
				return false
			}
			continue
		}
		var t exchange.Head
		st.ReadTrailers(&t)
		if len(t.Fields) == 0 {
			return d.WriteBody(p, true) == nil
		}
		return d.WriteBody(p, false) == nil && d.WriteTrailers(&t) == nil
	}
}

// complaints is a recorder of what is malformed.
type complaints struct {
	exchange.Recorder
	mu  sync.Mutex
	all []string
}

func (c *complaints) Panicked() { c.Malformed("panic") }
func (c *complaints) Malformed(reason string) {
	c.mu.Lock()
	c.all = append(c.all, reason)
	c.mu.Unlock()
}

// wait returns the complaints once there are any.
func (c *complaints) wait() []string {
	for range 3000 {
		c.mu.Lock()
		all := slices.Clone(c.all)
		c.mu.Unlock()
		if len(all) > 0 {
			return all
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// of returns how often there was that complaint.
func (c *complaints) of(reason string) (n int) {
	for _, r := range c.wait() {
		if r == reason {
			n++
		}
	}
	return n
}

// bench is a Server on a loopback listener.
type bench struct {
	server *Server
	relay  *relay
	addr   string
	up     string // the upstream's address, where web made it
	drain  *listener.Drain
	http   *config.HTTP
	done   sync.WaitGroup
}

func serve(t testing.TB, r *relay, adjust func(*config.HTTP)) *bench {
	t.Helper()
	h := &config.HTTP{}
	if adjust != nil {
		adjust(h)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	b := &bench{
		relay: r, drain: listener.NewDrain(), http: h,
		server: NewServer(ServerOptions{Handler: r, Log: log, Recorder: &r.book}),
	}
	if now := time.Now(); r.still {
		b.server.clock = func() time.Time { return now }
	}
	store := config.NewStore(upstream.NewRegistry(upstream.Options{}))
	store.Swap(&config.Config{Listeners: []*config.Listener{{Name: "test", Default: &config.FilterChain{HTTP: h}}}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	b.done.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { nc.Close() })
			b.done.Go(func() { b.server.Serve(session(store, nc, b.drain)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		b.done.Wait()
	})
	return b
}

func session(store *config.Store, nc net.Conn, drain *listener.Drain) *listener.Session {
	facts := &exchange.Connection{
		Start:  time.Now(),
		Source: netip.MustParseAddrPort("127.0.0.1:1"), Local: netip.MustParseAddrPort("127.0.0.1:2"),
		Via: &exchange.Via{Listener: "test", Direction: exchange.Inbound},
	}
	s := &listener.Session{Conn: nc, Facts: facts, Binding: config.NewBinding(store, "test", facts), Drain: drain}
	if most := s.Binding.Current().Chain.HTTP.MaxConnection; most > 0 {
		s.Ends = facts.Start.Add(most)
	}
	return s
}

// to returns a dialler of transports to addr.
func to(t testing.TB, addr string) func() (exchange.Transport, error) {
	return by(t, addr, exchange.TransportInfo{})
}

// by is to with what is known of the transports.
func by(t testing.TB, addr string, info exchange.TransportInfo) func() (exchange.Transport, error) {
	codec := NewCodec(CodecOptions{})
	return func() (exchange.Transport, error) {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, err
		}
		tr, err := codec.Transport(nc, &info)
		if err == nil {
			t.Cleanup(func() { tr.Close() })
		}
		return tr, err
	}
}

func (r *relay) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ended)
}
