package forward

import (
	"strconv"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// respond relays a response whose head stands; end: it has no body.
func (r *run) respond(end bool) exchange.Outcome {
	x, s := r.x, r.lease.Stream
	x.GRPCStatus = grpcStatus(&x.Response)
	r.dress()
	r.started, x.Stall = true, r.rests()
	if upgraded(x) {
		return r.tunnel(s)
	}
	if r.perTry > 0 || r.tryIdle > 0 {
		r.bind(s, time.Time{})
	}
	if err := r.d.WriteHead(end); err != nil {
		return r.unwritten(err)
	}
	if end {
		return r.complete()
	}
	return r.relay(s)
}

// upgraded says whether the upstream has accepted an upgrade.
func upgraded(x *exchange.Exchange) bool {
	return x.Upgrade != nil && (x.Response.Status == 101 || x.Upgrade.Is("CONNECT") && x.Response.Status/100 == 2)
}

// relay carries the body and the trailers to the client.
func (r *run) relay(s exchange.Stream) exchange.Outcome {
	x := r.x
	for end := false; !end; {
		if !s.Buffered() {
			if err := r.d.Flush(); err != nil {
				return r.unwritten(err)
			}
			if most := r.stall(); most > 0 {
				r.bind(s, time.Now().Add(most))
			}
			r.idler.heard()
		}
		var piece exchange.View
		var err error
		piece, end, err = r.read(s)
		if err != nil {
			return r.broken(err)
		}
		x.Sent += int64(len(piece))
		if end {
			s.ReadTrailers(&r.trailers)
			if r.pump.tunnels {
				r.parted()
			}
		}
		trailers := end && len(r.trailers.Fields) > 0
		if err := r.d.WriteBody(piece, end && !trailers); err != nil {
			return r.unwritten(err)
		}
		if trailers {
			if code := grpcStatus(&r.trailers); code >= 0 {
				x.GRPCStatus = code
			}
			if err := r.d.WriteTrailers(&r.trailers); err != nil {
				return r.unwritten(err)
			}
		}
	}
	return r.complete()
}

// leastRest is how long a client may take nothing of a response, however little time its request has.
const leastRest = time.Minute

// rests is how long the client may take nothing of the response: what bounds the stream bounds this, too. 0: any time.
func (r *run) rests() time.Duration {
	most := r.idle()
	for _, bound := range [...]time.Duration{r.timeout, r.most} {
		if longer := max(bound, leastRest); bound > 0 && (most == 0 || longer < most) {
			most = longer
		}
	}
	return most
}

// unwritten is the outcome of a response that the client does not take.
func (r *run) unwritten(err error) exchange.Outcome {
	switch {
	case err != exchange.ErrTimeout:
		return exchange.ClientGone
	case !r.deadline.IsZero() && !time.Now().Before(r.deadline):
		return exchange.Timeout
	case r.p.refuses():
		return exchange.Overloaded
	}
	return exchange.IdleTimeout
}

// stall is how long the next piece of the response may take; 0: any time.
func (r *run) stall() time.Duration {
	most, own := r.patience()
	if own && r.pump.sent() {
		return most
	}
	if r.idler.counts() { // what the client says counts, too
		return 0
	}
	return r.idle()
}

// bind ends the stream at t, zero: at no time, or at the request's deadline, which the pump may find out any moment.
func (r *run) bind(s exchange.Stream, t time.Time) {
	p := &r.pump
	p.mu.Lock()
	defer p.mu.Unlock()
	r.deadline = p.learn(r.deadline)
	p.bound = r.sooner(t)
	s.SetDeadline(r.ending(p.bound))
}

// read waits for a piece of the response. The client is watched meanwhile, once its request is complete.
func (r *run) read(s exchange.Stream) (exchange.View, bool, error) {
	if s.Buffered() {
		return s.ReadBody()
	}
	p := &r.pump
	if !p.began {
		r.d.Watch()
		defer r.d.Unwatch()
		return s.ReadBody()
	}
	p.mu.Lock()
	p.waits = true
	p.watch()
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.leave()
		r.deadline = p.learn(r.deadline)
	}()
	return s.ReadBody()
}

// complete ends a response that is fully written.
func (r *run) complete() exchange.Outcome {
	r.pump.stop()
	return exchange.OK
}

func (r *run) idle() time.Duration {
	if r.route.Idle != nil {
		return *r.route.Idle
	}
	return r.http.StreamIdle
}

// sooner is t or the request's deadline.
func (r *run) sooner(t time.Time) time.Time { return first(t, r.deadline) }

// ending is t or the end of the try's stream.
func (r *run) ending(t time.Time) time.Time { return first(t, r.ends) }

// ended says whether the try's stream has lasted as long as it may.
func (r *run) ended() bool { return !r.ends.IsZero() && !time.Now().Before(r.ends) }

// first is the sooner of two times, zero: never.
func first(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// broken is the outcome of a response that ends in the middle.
func (r *run) broken(err error) exchange.Outcome {
	switch {
	case r.x.Canceled() || err == exchange.ErrAborted:
		return exchange.ClientGone
	case err == exchange.ErrTimeout && r.ended():
		return exchange.UpstreamDuration
	case err == exchange.ErrTimeout && !r.deadline.IsZero() && !time.Now().Before(r.deadline):
		return exchange.Timeout
	case err == exchange.ErrTimeout:
		if _, own := r.patience(); own {
			return exchange.TryTimeout
		}
		return exchange.IdleTimeout
	}
	r.lease.Host.Report(outlier.Local)
	switch err {
	case exchange.ErrStreamReset, exchange.ErrRefused:
		return exchange.StreamAborted
	case exchange.ErrProtocol, exchange.ErrTooLarge, exchange.ErrStreamProtocol:
		return exchange.ProtocolAborted
	}
	return exchange.UpstreamAborted
}

// tunnel carries bytes both ways until one side ends.
func (r *run) tunnel(s exchange.Stream) exchange.Outcome {
	s.SetDeadline(r.ends)
	r.x.Stall = r.idle()
	if err := r.d.WriteHead(false); err != nil {
		return r.unwritten(err)
	}
	r.whole, r.timeout, r.perTry, r.tryIdle, r.deadline = false, 0, 0, 0, time.Time{}
	r.pump.tunnels = true
	defer func() { r.pump.tunnels = false }()
	r.pump.start(r, s)
	r.pump.settle(r)
	o := r.relay(s)
	r.pump.stop()
	return o
}

// parted tells which side has ended a tunnel. As in Envoy, HTTP/1 knows no end but that of the connection, which counts as cut; streams of HTTP/2 end in order.
func (r *run) parted() {
	x, o := r.x, exchange.OK
	r.pump.mu.Lock()
	byClient := r.pump.complete
	r.pump.mu.Unlock()
	switch {
	case byClient && x.Protocol != exchange.HTTP2:
		o = exchange.ClientGone
	case !byClient && r.lease.Info().Protocol != exchange.HTTP2:
		o = exchange.UpstreamAborted
	default:
		return
	}
	x.Flags |= o.Flag()
	x.Details = o.Details()
}

// dress gives the response's head what this proxy adds to it.
func (r *run) dress() {
	x := r.x
	h := &x.Response
	if refused(x) {
		h.Remove(proxyStatus) // said between proxies
	}
	if !r.http.KeepServer {
		h.Set("server", r.serverName())
	}
	if !h.Has("date") {
		h.Set("date", r.p.now(x.FirstByte))
	}
	if took, known := r.took(); known && !x.Quiet {
		h.SetView("x-envoy-upstream-service-time", h.Append(func(dst []byte) []byte { return strconv.AppendInt(dst, took.Milliseconds(), 10) }))
	}
	if r.mints {
		r.route.Mint(x)
	}
	r.route.Incoming(r.target, x)
	r.callIt()
	r.responders()
}

// took is how long the upstream, in all tries, took to answer once the client's request had ended; false: the answer came before, or the request asks for an
// upgrade and has no end.
func (r *run) took() (time.Duration, bool) {
	p, x := &r.pump, r.x
	p.mu.Lock()
	defer p.mu.Unlock()
	return x.FirstByte.Sub(p.arrived), x.Upgrade == nil && !p.arrived.IsZero() && !x.FirstByte.Before(p.arrived)
}

// callIt tells clients what the server's route calls what is done, unless they have said so; and to their own proxy, whose span takes the
// name, the answer says so no more.
func (r *run) callIt() {
	const name = exchange.DecoratorOperation
	x := r.x
	switch {
	case x.Conn.Via.Tracing == nil:
	case x.Conn.Via.Direction == exchange.Inbound:
		if x.Operation != "" && !x.Trace.Renamed {
			x.Response.Set(name, x.Operation)
		}
	case x.Response.Has(name):
		if said := x.Response.Get(name); len(said) > 0 {
			x.Operation = said.Copy()
		}
		x.Response.Remove(name)
	}
}

// responders runs the response filters, last first.
func (r *run) responders() {
	for i := len(r.http.Filters) - 1; i >= 0; i-- {
		if f, ok := r.override(&r.http.Filters[i]).(filter.Responder); ok {
			f.Response(r.x)
		}
	}
}

// answer gives the client this proxy's own response, or cuts one that has begun.
func (r *run) answer(o exchange.Outcome) {
	r.pump.stop()
	x := r.x
	if r.started || o == exchange.ClientGone || o == exchange.ClientReset || o == exchange.Drained || o == exchange.Revoked {
		r.d.Abort()
		return
	}
	own := o == exchange.LocalReply || o == exchange.FaultAbort
	if !own && o != exchange.RateLimited { // whose filter has put fields there
		x.Response.Reset()
	}
	r.started = true
	body := r.reply(o)
	r.confess(o)
	switch {
	case r.route == nil:
	case own:
		r.route.Incoming(nil, x)
	case r.target != nil: // operations hold for what this proxy says in the upstream's place
		r.route.Incoming(r.target, x)
	}
	if o == exchange.Overflow && !x.Quiet {
		x.Response.Set("x-envoy-overloaded", "true")
	}
	r.callIt()
	r.responders()
	end := len(body) == 0 || x.Request.Method.Is("HEAD")
	if err := r.d.WriteHead(end); err != nil || end {
		return
	}
	x.Sent = int64(len(body))
	_ = r.d.WriteBody(body, true)
}

// reply fills the response's head and returns the body.
func (r *run) reply(o exchange.Outcome) []byte {
	x := r.x
	h := &x.Response
	h.Status = o.Status()
	if x.Reply.Status != 0 {
		h.Status = x.Reply.Status
	}
	h.Set("server", r.serverName())
	h.Set("date", r.p.now(time.Now()))
	if x.GRPC && o != exchange.LocalReply {
		r.grpcReply(o)
		return nil
	}
	body, kind := x.Reply.Body, x.Reply.Type
	if body == nil && o != exchange.LocalReply {
		body = []byte(o.Body())
	}
	if h.Status == 204 || h.Status == 304 {
		return nil
	}
	h.SetView("content-length", h.Append(func(dst []byte) []byte { return strconv.AppendInt(dst, int64(len(body)), 10) }))
	if len(body) > 0 {
		if kind == "" {
			kind = "text/plain"
		}
		h.Set("content-type", kind)
	}
	return body
}

func (r *run) serverName() string {
	if r.http.ServerName != "" {
		return r.http.ServerName
	}
	return "envoy" // as Envoy calls itself where nobody says otherwise
}

// grpcReply is a response of trailers only.
func (r *run) grpcReply(o exchange.Outcome) {
	x := r.x
	h, code := &x.Response, o.GRPC()
	if x.Reply.GRPC != nil {
		code = *x.Reply.GRPC
	} else if x.Reply.Status != 0 {
		code = exchange.GRPCOf(x.Reply.Status)
	}
	x.GRPCStatus = code
	h.Status = 200
	h.Set("content-type", "application/grpc")
	h.Set("grpc-status", strconv.Itoa(code))
	if text := o.Body(); text != "" {
		h.Set("grpc-message", text)
	}
}

// dateText is the date header of one second.
type dateText struct {
	second int64
	text   string
}

// now returns the date header's value, formatted once per second.
func (p *Proxy) now(t time.Time) string {
	if d := p.date.Load(); d != nil && d.second == t.Unix() {
		return d.text
	}
	d := &dateText{t.Unix(), t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")}
	p.date.Store(d)
	return d.text
}
