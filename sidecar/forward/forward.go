// Package forward takes one exchange from head to finish, whatever protocols carry it: prepare, match, filter, pick an
// upstream, forward, answer, record. http1 and http2 call it. It must not parse or write any wire format.
package forward

import (
	"cmp"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// Options are what a Proxy needs from outside.
type Options struct {
	Recorder exchange.Recorder
	Log      *slog.Logger
	// Demands asks for hosts of tables on demand. Nil: they are not known.
	Demands config.Demands
	Hold    time.Duration // at most, of such a request; 0: config.Hold
	// Overloaded says whether new requests are to be refused. Nil: they never are.
	Overloaded func() bool
}

// Proxy serves exchanges. One value serves all connections.
type Proxy struct {
	recorder exchange.Recorder
	log      *slog.Logger
	demands  config.Demands
	hold     time.Duration
	refuses  func() bool
	date     atomic.Pointer[dateText]
	mirrors  mirrors
	kept     bodies // for other tries
}

// New returns a Proxy.
func New(o Options) *Proxy {
	if o.Overloaded == nil {
		o.Overloaded = func() bool { return false }
	}
	return &Proxy{refuses: o.Overloaded, recorder: o.Recorder, log: o.Log, demands: o.Demands, hold: cmp.Or(o.Hold, config.Hold)}
}

// Overloaded says whether memory is full, and new requests are refused.
func (p *Proxy) Overloaded() bool { return p.refuses() }

// Recovered logs and counts a panic of a goroutine that a codec runs for an exchange.
func (p *Proxy) Recovered(doing string, panicked any) {
	p.log.Error("recovered from a panic while "+doing, "panic", panicked, "stack", string(debug.Stack()))
	p.recorder.Panicked()
}

// run is forward's memory for one exchange; it stays with the exchange from request to request.
type run struct {
	p      *Proxy
	x      *exchange.Exchange
	d      exchange.Downstream
	b      *config.Bound
	http   *config.HTTP
	vhost  *route.VirtualHost
	route  *route.Route
	target *route.Target

	cluster *upstream.Cluster
	last    last
	lease   upstream.Lease
	tried   []*upstream.Host
	key     upstream.Key
	retries int           // that the route's policy has asked for
	mints   bool          // the route's policies give the client a cookie
	body    exchange.View // the whole request body, where it was short
	whole   bool          // body is all of it
	started bool          // the response's head is on its way to the client
	fields  exchange.View // names of response fields for which the request is to be sent again
	single  bool          // the route's policy sends no such request again
	bridged bool          // d translates bodies
	told    bool          // x-forwarded-host has the host for which a try put its own
	// connected: a try got as far as a connection, and something may have been delivered
	connected bool
	idles     bool // the current try's deadline is the route's idle timeout

	trailers exchange.Head
	deadline time.Time
	timeout  time.Duration
	most     time.Duration // how long the exchange may last from its beginning on; 0: any time
	asked    bool          // the client has said so
	perTry   time.Duration // the current try's own timeout; 0: none
	tryIdle  time.Duration // how long the current try's upstream may be silent; 0: as the route says
	until    time.Time     // the current try's deadline; zero: none
	ends     time.Time     // when the current try's stream ends, whatever it does, as its cluster says; zero: never
	pump     pump
	idler    idler
	overdue  idler // ends a request that takes longer than a whole one may
	lasting  idler // ends a request that takes longer than it may with its response
	mirrors  []*mirror
}

// last is what the last request led to: on one connection the next most often leads to the same.
type last struct {
	host    route.Last
	set     *upstream.Set
	target  *route.Target
	cluster *upstream.Cluster
}

// of returns the cluster of a target.
func (l *last) of(target *route.Target, set *upstream.Set) *upstream.Cluster {
	if l.set != set || l.target != target {
		l.set, l.target, l.cluster = set, target, set.Get(target.Cluster)
	}
	return l.cluster
}

func (p *Proxy) begin(x *exchange.Exchange, d exchange.Downstream, b *config.Bound) *run {
	r, ok := x.Work.(*run)
	if !ok {
		r = &run{}
		x.Work = r
	}
	clear(r.tried)
	r.p, r.x, r.d, r.b, r.http = p, x, d, b, b.Chain.HTTP
	r.vhost, r.route, r.target, r.cluster, r.tried = nil, nil, nil, nil, r.tried[:0]
	r.connected, r.key, r.mints, r.bridged, r.told = false, upstream.Key{}, false, false, false
	r.body, r.whole, r.started, r.deadline, r.timeout, r.until = nil, false, false, time.Time{}, 0, time.Time{}
	r.perTry, r.tryIdle, r.retries, r.most, r.asked = 0, 0, 0, 0, false
	r.mirrors, r.fields, r.single, x.Quiet, x.Stall = nil, nil, false, r.http.Quiet, r.http.StreamIdle
	r.pump.overdue = false
	r.trailers.Reset()
	return r
}

// Serve takes x through all its phases. The codec has filled x.Conn, Protocol, Start, Upgrade and Request (all fields but
// hop-by-hop ones) and resets x afterwards. When Serve returns, the response is written, or Downstream.Abort was called,
// and End was recorded. b must not be nil, and its chain must be HTTP.
func (p *Proxy) Serve(x *exchange.Exchange, d exchange.Downstream, b *config.Bound) {
	r := p.begin(x, d, b)
	defer r.finish()
	o := r.prepare()
	if o == exchange.OK && p.refuses() {
		o = exchange.Overloaded
	}
	if o == exchange.OK {
		o = r.match()
		p.recorder.Begin(x)
		r.bound()
		if o == exchange.OK {
			o = r.filter()
		}
	}
	if o == exchange.OK {
		o = r.act()
	}
	if o == exchange.ClientGone {
		o = r.gone()
	}
	x.Fail(o)
	if o != exchange.OK {
		r.answer(o)
	}
}

// gone says why the client counts as gone: it gave up, was cut, sent what is no body, or nothing moved for too long; the last two it is told where it
// still can be.
func (r *run) gone() exchange.Outcome {
	r.pump.stop()
	switch idle, overdue, lasted := r.idler.stop(), r.overdue.stop() || r.pump.overdue, r.lasting.stop(); {
	case r.pump.bad && !r.started:
		if r.x.Protocol == exchange.HTTP2 {
			r.x.Details = "http2.violation.of.messaging.rule"
		}
		return exchange.BadRequest
	case overdue && !r.started:
		r.x.Details = "request_overall_timeout"
		return exchange.RequestTimeout
	case lasted:
		r.x.Reply.GRPC = &deadlineExceeded
		return r.late(exchange.DurationTimeout)
	case idle:
		return r.late(exchange.IdleTimeout)
	}
	return r.x.Gone()
}

// deadlineExceeded is gRPC's code. Never written.
var deadlineExceeded = 4

// late is a timeout's outcome. As in Envoy, it is 408 where the client is waited for.
func (r *run) late(o exchange.Outcome) exchange.Outcome {
	if r.x.RequestEnd.IsZero() {
		r.x.Reply.Status = 408
	}
	return o
}

// Refuse answers a request that the codec could not make sense of (BadRequest, HeadTooLarge, RequestTimeout) and records
// it. The codec closes the connection afterwards.
func (p *Proxy) Refuse(x *exchange.Exchange, d exchange.Downstream, b *config.Bound, o exchange.Outcome) {
	r := p.begin(x, d, b)
	defer r.finish()
	p.recorder.Begin(x)
	x.Fail(o)
	r.answer(o)
}

// finish runs once per exchange, whatever happened, and alone records it.
func (r *run) finish() {
	x := r.x
	if v := recover(); v != nil {
		r.p.log.Error("recovered from a panic while serving a request", "panic", v, "stack", string(debug.Stack()))
		r.p.recorder.Panicked()
		x.Fail(exchange.Panicked)
		r.pump.stop()
		r.d.Abort()
		if r.lease.Stream != nil {
			r.lease.Stream.Abort()
		}
	}
	r.idler.stop()
	r.overdue.stop()
	r.lasting.stop()
	x.End = x.Now()
	r.p.recorder.End(x)
	x.Detach()
	r.lease.Close(x.End)
	for _, m := range r.mirrors {
		m.send()
	}
	r.pump.forget()
	r.d, r.b, r.http, r.lease = nil, nil, nil, upstream.Lease{}
}

// match finds virtual host, route and target. The target's cluster is known from here on, so that a request that a filter ends is counted
// for the service that it was meant for.
func (r *run) match() exchange.Outcome {
	x := r.x
	if r.b.Routes == nil {
		return exchange.OK
	}
	r.vhost, r.route = r.b.Routes.MatchAfter(x, &r.last.host)
	if r.vhost.Unasked() {
		if o := r.discover(); o != exchange.OK {
			return o
		}
	}
	if r.vhost != nil {
		x.VirtualHost = r.vhost.Name
	}
	if r.route == nil {
		return exchange.OK
	}
	x.RouteName, x.Operation = r.route.Name, r.route.Operation
	if r.target = r.route.Pick(random()); r.target == nil {
		return exchange.OK
	}
	if r.cluster = r.last.of(r.target, r.b.Live.Set); r.cluster != nil {
		x.Upstream.Cluster = r.cluster.Info()
	}
	return exchange.OK
}

// filter lets every filter judge; they run without a route as well, so that a refusal hides which routes exist.
func (r *run) filter() exchange.Outcome {
	for i := range r.http.Filters {
		f := r.override(&r.http.Filters[i])
		if f == nil {
			continue
		}
		o := f.Request(r.x)
		r.bridge()
		if r.x.Delay > 0 {
			d := r.x.Delay
			r.x.Delay = 0
			if !r.pause(d) {
				return exchange.ClientGone
			}
		}
		if o != exchange.OK {
			return o
		}
	}
	return exchange.OK
}

// bridge speaks with the client in the way that a filter has said.
func (r *run) bridge() {
	if r.x.Bridge != nil && !r.bridged {
		r.d, r.bridged = r.x.Bridge(r.d), true
	}
}

// pause waits while watching the client.
func (r *run) pause(d time.Duration) bool {
	c := r.client()
	c.Watch()
	defer c.Unwatch()
	return r.x.Wait(d)
}

// client is whom to watch while nothing can be sent.
func (r *run) client() upstream.Client {
	if r.pump.parks() {
		return unwatched{}
	}
	return r.d
}

func (r *run) override(n *filter.Named) filter.HTTP {
	if r.route == nil {
		return n.Filter
	}
	over := r.route.Local()
	if r.target != nil {
		over = &r.target.Overrides
	}
	if o := &over[n.Kind]; o.Set {
		return o.Filter
	}
	return n.Filter
}

// act does what the route says.
func (r *run) act() exchange.Outcome {
	x := r.x
	switch {
	case r.vhost != nil && r.vhost.RequireTLS && !r.secure():
		return r.upgradeToTLS()
	case r.route == nil && r.misdirected():
		return exchange.Misdirected
	case r.route == nil:
		return exchange.NoRoute
	case x.Upgrade != nil && !r.route.Upgrade(x.Upgrade, r.http.Upgrades):
		return exchange.UpgradeRefused
	case r.route.Direct != nil:
		d := r.route.Direct
		x.Reply = exchange.Reply{Status: d.Status, Body: d.Body, Type: d.Type}
		return exchange.LocalReply
	case r.route.Redirect != nil:
		x.Reply = exchange.Reply{Status: r.route.Location(x)}
		return exchange.LocalReply
	}
	return r.forward()
}

// misdirected says whether a host that is not known here belongs to another server of the same port.
func (r *run) misdirected() bool {
	l := r.b.Live.Listener(r.x.Conn.Via.Listener)
	return r.vhost == nil && l != nil && l.Misdirected(r.b.Chain, r.x.Conn, r.x.Request.Authority)
}

// secure says whether the client used TLS: with us, or with a proxy before us that we trust to say so.
func (r *run) secure() bool {
	if r.x.Conn.Security != nil {
		return true
	}
	return r.http.UseRemoteAddress && r.http.TrustedHops > 0 && r.x.Request.Get("x-forwarded-proto").Is("https")
}

// upgradeToTLS redirects to the same place over https.
func (r *run) upgradeToTLS() exchange.Outcome {
	x := r.x
	r.route = nil // it is the virtual host that answers
	host := x.Request.Authority
	if n := len(host); n > 3 && string(host[n-3:]) == ":80" {
		host = host[:n-3]
	}
	x.Response.SetView("location", x.Response.Append(func(dst []byte) []byte {
		dst = append(append(dst, "https://"...), host...)
		return append(dst, x.Request.Path...)
	}))
	x.Reply = exchange.Reply{Status: 301}
	return exchange.LocalReply
}
