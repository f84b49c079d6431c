package telemetry

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Peers finds the workload behind a verified identity at an address, by the endpoint facts that the proxy holds. Nil where
// there is none: telemetry then knows the identity only.
type Peers interface {
	Workload(addr netip.Addr, identity string) *exchange.Workload
}

// knownGRPC is a grpc-status, UNKNOWN where gRPC has none of that number: what servers make up would be a series each.
func knownGRPC(code int) int {
	if code > 16 {
		return 2
	}
	return code
}

// Self is the proxy's own workload.
type Self struct {
	Workload *exchange.Workload
	Identity string // SPIFFE URI
}

// Options of a Recorder.
type Options struct {
	Peers     Peers
	MaxSeries int         // 0: 10,000
	Logs      *AccessLogs // nil: no access log
	Spans     *Spans      // nil: no tracing
}

// Recorder implements exchange.Recorder.
type Recorder struct {
	opts    Options
	all     *exchange.Metrics
	self    atomic.Pointer[Self]
	series  *store
	panics  atomic.Uint64
	refused [exchange.Outcomes]atomic.Uint64
	bad     tally
	tcp     sync.Pool // *exchange.Exchange: the form in which a connection is logged
	scratch sync.Pool // *[]byte
	bare    sync.Map  // namespace -> *exchange.Workload: what a verified identity alone says
}

// New returns a Recorder.
func New(o Options) *Recorder {
	if o.MaxSeries == 0 {
		o.MaxSeries = 10_000
	}
	r := &Recorder{opts: o, all: everything(), series: newStore(o.MaxSeries)}
	r.tcp.New = func() any { return &exchange.Exchange{} }
	r.scratch.New = func() any { return new([]byte) }
	r.self.Store(&Self{})
	return r
}

// SetSelf names the proxy's own workload from now on.
func (r *Recorder) SetSelf(s Self) { r.self.Store(&s) }

// Begin implements exchange.Recorder.
func (r *Recorder) Begin(x *exchange.Exchange) {
	if x.Conn.Via.Tracing != nil && r.opts.Spans != nil {
		r.opts.Spans.begin(x)
	}
}

// End implements exchange.Recorder.
func (r *Recorder) End(x *exchange.Exchange) {
	k := r.key(x.Conn, &x.Upstream)
	k.code, k.flags, k.protocol, k.isGRPC, k.grpc = x.Response.Status, x.Flags, x.Protocol, x.GRPC, knownGRPC(x.GRPCStatus)
	for _, g := range r.counted(x.Conn.Via).HTTP {
		k.metrics, k.removed, k.made = g.Metrics, g.Removed, ""
		if g.Set != nil {
			k.made = r.made(x, g.Set)
		}
		r.remembered(x, &k).request(Metric(g.Metrics), x)
	}
	if x.Outcome == exchange.BadRequest || x.Outcome == exchange.HeadTooLarge || x.Outcome == exchange.OldProtocol {
		r.bad.count(x.Text())
	}
	if x.Conn.Via.AccessLog != nil && r.opts.Logs != nil {
		r.opts.Logs.log(x)
	}
	if x.Trace.Sampled && x.Conn.Via.Tracing != nil && r.opts.Spans != nil {
		r.opts.Spans.end(x, r.self.Load())
	}
}

// made are the labels that a request makes. Most often they are those of the last request of its connection.
func (r *Recorder) made(x *exchange.Exchange, set exchange.LabelSetter) string {
	scratch := r.scratch.Get().(*[]byte)
	defer r.scratch.Put(scratch)
	*scratch = set.Append((*scratch)[:0], x)
	if m, ok := x.Recorded.(*memory); ok && m.key.made == string(*scratch) {
		return m.key.made
	}
	return string(*scratch)
}

// memory is the series of an exchange's last request: on one connection the next is most often the same.
type memory struct {
	key    key
	series *Series
}

// remembered returns the series of k, which x keeps from one request to the next.
func (r *Recorder) remembered(x *exchange.Exchange, k *key) *Series {
	m, ok := x.Recorded.(*memory)
	if !ok {
		m = &memory{}
		x.Recorded = m
	}
	if m.series == nil || m.key != *k {
		series, known := r.series.get(k)
		if !known { // each observation without a series of its own is counted
			return series
		}
		m.key, m.series = *k, series
	}
	return m.series
}

// key gathers who spoke to whom.
func (r *Recorder) key(c *exchange.Connection, up *exchange.Upstream) key {
	self := r.self.Load()
	k := key{via: c.Via, cluster: up.Cluster, grpc: -1}
	if c.Via.Direction == exchange.Inbound {
		k.destination = self.Workload
		if peer := c.Peer(); peer != nil {
			k.mutual, k.sourceID, k.destID = true, peer.URI, self.Identity
			if r.opts.Peers != nil {
				k.source = r.opts.Peers.Workload(c.Source.Addr().Unmap(), peer.URI)
			}
			if k.source == nil {
				k.source = r.identityOnly(peer)
			}
		}
		return k
	}
	k.source = self.Workload
	if up.Endpoint != nil {
		k.destination = up.Endpoint.Workload
	}
	if up.Security != nil && up.Security.Mutual {
		k.sourceID, k.destID = self.Identity, up.Security.Identity.URI
	}
	return k
}

// identityOnly is what a verified identity alone says of a workload: its namespace. The pointer is the same each time, since keys compare it.
func (r *Recorder) identityOnly(id *exchange.Identity) *exchange.Workload {
	if w, ok := r.bare.Load(id.Namespace); ok {
		return w.(*exchange.Workload)
	}
	w, _ := r.bare.LoadOrStore(id.Namespace, &exchange.Workload{Namespace: id.Namespace})
	return w.(*exchange.Workload)
}

// Opened implements exchange.Recorder.
func (r *Recorder) Opened(c *exchange.Connection) {
	c.OpenedFlags = c.Flags
	r.connection(c, course{opened: 1})
}

// Progress implements exchange.Recorder.
func (r *Recorder) Progress(c *exchange.Connection, received, sent int64) {
	r.connection(c, course{received: received, sent: sent})
}

// Closed implements exchange.Recorder.
func (r *Recorder) Closed(c *exchange.Connection, received, sent int64) {
	r.connection(c, course{closed: 1, received: received, sent: sent})
	r.logConnection(c)
}

func (r *Recorder) logConnection(c *exchange.Connection) {
	if c.Via.AccessLog != nil && r.opts.Logs != nil {
		r.asExchange(c, r.opts.Logs.log)
	}
}

// asExchange shows a connection in the form that requests have.
func (r *Recorder) asExchange(c *exchange.Connection, show func(*exchange.Exchange)) {
	x := r.tcp.Get().(*exchange.Exchange)
	defer r.tcp.Put(x)
	x.Reset(c)
	x.Start, x.End, x.Received, x.Sent = c.Start, c.Start.Add(c.Duration), c.Received, c.Sent
	x.Upstream, x.Attempts, x.Outcome, x.Flags, x.Details = c.Upstream, c.Attempts, c.Outcome, c.Flags, c.Details
	show(x)
}

// connection counts what is new of a TCP connection. Its flags are those with which it was opened (a refused one has some already), so that
// opened and closed meet.
func (r *Recorder) connection(c *exchange.Connection, d course) {
	k := r.key(c, &c.Upstream)
	k.flags = c.OpenedFlags
	for _, g := range r.counted(c.Via).TCP {
		k.metrics, k.removed, k.made = g.Metrics, g.Removed, ""
		if g.Set != nil {
			r.asExchange(c, func(x *exchange.Exchange) { k.made = r.made(x, g.Set) })
		}
		series, _ := r.series.get(&k)
		series.connection(Metric(g.Metrics), d)
	}
}

// counted is what a listener has counted.
func (r *Recorder) counted(via *exchange.Via) *exchange.Metrics {
	if via.Metrics != nil {
		return via.Metrics
	}
	return r.all
}

// Refused implements exchange.Recorder.
func (r *Recorder) Refused(c *exchange.Connection) {
	r.refused[c.Outcome].Add(1)
	r.logConnection(c)
}

// EachRefusal calls f with how many connections no chain has served, by reason.
func (r *Recorder) EachRefusal(f func(reason string, n uint64)) {
	for o := range r.refused {
		if n := r.refused[o].Load(); n > 0 {
			f(exchange.Outcome(o).Details(), n)
		}
	}
}

// Malformed implements exchange.Recorder.
func (r *Recorder) Malformed(reason string) { r.bad.count(reason) }

// EachMalformed calls f with how many requests, and connections of HTTP/2, were no proper ones, by what was wrong with them.
func (r *Recorder) EachMalformed(f func(reason string, n uint64)) { r.bad.each(f) }

// Panicked implements exchange.Recorder.
func (r *Recorder) Panicked() { r.panics.Add(1) }

// Panics returns how many panics were recovered.
func (r *Recorder) Panics() uint64 { return r.panics.Load() }

// Overflow returns how many observations had no series of their own.
func (r *Recorder) Overflow() uint64 { return r.series.overflow.Load() }

// Each calls f for every series.
func (r *Recorder) Each(f func(l Labels, s *Series)) { r.series.each(f) }
