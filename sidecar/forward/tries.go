package forward

import (
	"errors"
	"strconv"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// forward sends the request to the route's cluster, as often as its retry policy allows, and relays the response.
func (r *run) forward() exchange.Outcome {
	x := r.x
	if r.cluster == nil {
		x.Reply.Status = r.route.Missing
		return exchange.NoCluster
	}
	r.cluster.Begin()
	asked := x.Request.Authority // whatever it is rewritten to: names lead where the client wanted to go
	if r.cluster.Named() {
		r.key.Name = string(asked)
	}
	r.route.Outgoing(r.target, x)
	r.outgoing()
	if r.cluster.Hashes() {
		r.key.Hash, r.key.Given, r.mints = r.route.Hash(x)
	}
	r.body, r.whole = r.d.BodyBuffered()
	x.Received = int64(len(r.body))
	if !r.whole {
		r.body, x.Received = nil, 0
	}
	r.timeout = r.limit()
	r.mirror(asked)
	x.UpstreamStart = x.Now()
	if r.whole {
		x.RequestEnd, r.pump.arrived = x.UpstreamStart, x.UpstreamStart
	}
	if r.timeout > 0 && r.whole {
		r.deadline = x.UpstreamStart.Add(r.timeout)
	}
	o, end := r.tries()
	if o == exchange.UpstreamDuration {
		r.pump.stop()
		return r.late(o)
	}
	if o != exchange.OK {
		return o
	}
	return r.respond(end)
}

// outgoing readies the request's head for the upstream.
func (r *run) outgoing() {
	x := r.x
	p := r.route.Retry
	r.single = p != nil && len(p.Only) > 0 && !p.Only.Any(&x.Request)
	if p != nil && p.On&route.OnRetriableHeaders != 0 {
		r.fields = x.Request.Get(retriableNames)
		x.Request.Remove(retriableNames)
	}
	if r.leaves(x.Upstream.Cluster) {
		x.Request.RemoveIf(meshField)
	}
}

// leaves says whether requests to a cluster leave the mesh, whose own headers then stay behind.
func (r *run) leaves(c *exchange.ClusterInfo) bool { return c.External && r.http.StripMesh }

// meshField says whether a field is the mesh's own business.
func meshField(f exchange.Field) bool {
	return f.Name.HasPrefix("x-envoy-") || f.Name.Is("x-forwarded-client-cert")
}

// tries makes tries until one brings a response head that stands, or none is left.
func (r *run) tries() (o exchange.Outcome, end bool) {
	x, policy := r.x, r.route.Retry
	free := true // one more try for a pooled connection that turned out to be closed
	begun := x.UpstreamStart
	counted := false // this try is a retry, and the cluster's limit knows of it
	defer func() {
		if counted {
			r.cluster.DoneRetry()
		}
	}()
	for retries := 0; ; {
		if x.Attempts++; x.Attempts > 1 {
			begun = time.Now()
		}
		var err error
		o, end, err = r.try(policy)
		if o == exchange.ClientGone {
			return o, end
		}
		if err == exchange.ErrUnsent {
			x.Attempts--
			r.again(false)
			continue
		}
		if free && r.stale(err, begun) {
			free = false
			r.again(false)
			continue
		}
		if counted {
			counted = false
			r.cluster.DoneRetry()
		}
		if !r.retriable(policy, o, err) {
			return o, end
		}
		if retries >= policy.Attempts {
			x.Flags |= exchange.FlagRetriesExceeded
			return o, end
		}
		if counted = r.cluster.BeginRetry(); !counted {
			x.Flags |= exchange.FlagUpstreamOverflow
			return o, end
		}
		if !r.pump.halt() {
			return o, end
		}
		retries++
		r.retries = retries
		r.again(o == exchange.OK)
		wait := backoff(policy, retries)
		if !r.deadline.IsZero() {
			wait = min(wait, time.Until(r.deadline))
		}
		if !r.pause(wait) {
			return exchange.ClientGone, false
		}
		if !r.deadline.IsZero() && !time.Now().Before(r.deadline) {
			return exchange.Timeout, false
		}
	}
}

// again clears what the last try left. An answer that nobody will see is read where it is here already, so that its
// connection can be used again.
func (r *run) again(answered bool) {
	r.rewind()
	r.x.Detach()
	if s := r.lease.Stream; s != nil {
		for end := !answered; !end && s.Buffered(); {
			var err error
			if _, end, err = s.ReadBody(); err != nil {
				break
			}
		}
		if !s.Reusable() {
			s.Abort()
		}
	}
	r.lease.Close(time.Time{})
	r.x.Response.Reset()
	r.x.GRPCStatus = -1
}

// atOnce is how soon a connection fails that its server had closed before it saw the request: a way there and back.
const atOnce = 250 * time.Millisecond

// stale says whether the try failed because a pooled connection was closed under it, so that the request, which has no
// effect or may have it twice, was in all likelihood never seen. A server that took its time may have seen it, and is not asked again
// unless the route says so.
func (r *run) stale(err error, begun time.Time) bool {
	if r.lease.Stream == nil || !r.lease.Reused() {
		return false
	}
	if err == exchange.ErrRefused {
		return r.pump.halt()
	}
	return err == exchange.ErrReset && r.whole && !r.pump.began && idempotent(r.x.Request.Method) && time.Since(begun) < atOnce
}

func idempotent(m exchange.View) bool {
	switch string(m) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}

// pick chooses the host of a try: the one that the client wants to stay with, unless it has failed the request already.
func (r *run) pick(policy *route.Retry, picks int) (*upstream.Host, exchange.Outcome) {
	x := r.x
	if x.Pin.Address != "" && r.retries == 0 {
		if h := r.cluster.Pinned(x.Pin.Address); h != nil {
			return h, exchange.OK
		}
		if x.Pin.Strict {
			return nil, exchange.NoHealthyUpstream
		}
	}
	if policy != nil && policy.PriorityEvery > 0 {
		return r.cluster.PickElsewhere(r.key, x.Conn.Onward(), r.tried, policy.PriorityEvery, picks)
	}
	return r.cluster.PickFor(r.key, x.Conn.Onward(), r.tried, picks)
}

// picks is how often a host is chosen, at most, to find one that was not tried: once, and again as often as the policy says.
func picks(policy *route.Retry) int {
	if policy == nil || !policy.OtherHost {
		return 1
	}
	return 1 + max(1, policy.HostPicks)
}

// try makes one try: pick a host, take a connection, send the request, wait for the response's head.
func (r *run) try(policy *route.Retry) (exchange.Outcome, bool, error) {
	x := r.x
	h, o := r.pick(policy, picks(policy))
	if o != exchange.OK {
		return o, false, nil
	}
	if policy != nil {
		r.tried = append(r.tried, h)
	}
	x.Upstream.Endpoint = h.Endpoint()
	if r.lease, o = h.Open(x, r.client(), r.deadline); o != exchange.OK {
		if o == exchange.ConnectFailure || o == exchange.ConnectTimeout {
			h.Report(outlier.Local)
		}
		return o, false, nil
	}
	r.lease.Host.Report(outlier.Connected)
	r.limits(policy)
	info := r.lease.Info()
	x.Upstream.Endpoint = r.lease.Endpoint()
	x.Upstream.Security, x.Upstream.Failure = info.Security, ""
	x.Upstream.Local = info.Local
	if !x.Attach(r.lease.Stream) {
		return exchange.ClientGone, false, nil
	}
	if t := r.ending(r.until); !t.IsZero() {
		r.lease.Stream.SetDeadline(t)
	}
	o, end, err := r.send()
	r.connected = r.connected || err != exchange.ErrUnsent
	return o, end, err
}

// limits begins the try's own limits. As in Envoy, they know nothing of the time that connecting took.
func (r *run) limits(policy *route.Retry) {
	r.until, r.ends, r.idles = r.deadline, time.Time{}, false
	if r.perTry, r.tryIdle = 0, 0; policy != nil {
		r.perTry, r.tryIdle = policy.PerTry, policy.PerTryIdle
	}
	if r.perTry > 0 && !r.x.RequestEnd.IsZero() {
		r.until = r.sooner(time.Now().Add(r.perTry))
	}
	if most := r.lease.Host.MaxStream(); most > 0 {
		r.ends = time.Now().Add(most)
	}
}

// tellTry tells the server how long the try may take, and one of the mesh which it is.
func (r *run) tellTry() {
	x := r.x
	r.tellCall()
	if r.leaves(x.Upstream.Cluster) {
		return
	}
	if r.vhost.AttemptCount {
		x.Request.SetView("x-envoy-attempt-count", x.Request.Append(func(dst []byte) []byte {
			return strconv.AppendInt(dst, int64(x.Attempts), 10)
		}))
	}
	if left := r.left(); left != 0 && !x.Quiet {
		left := max(1, (left + time.Millisecond - 1).Milliseconds())
		x.Request.SetView("x-envoy-expected-rq-timeout-ms", x.Request.Append(func(dst []byte) []byte { return strconv.AppendInt(dst, left, 10) }))
	}
}

// left is how long the try may take, or may once the request is complete; 0: any time.
func (r *run) left() time.Duration {
	switch {
	case !r.until.IsZero():
		return max(1, time.Until(r.until))
	case r.perTry > 0 && (r.timeout == 0 || r.perTry < r.timeout):
		return r.perTry
	}
	return r.timeout
}

// send sends the request and waits for the response's head.
func (r *run) send() (exchange.Outcome, bool, error) {
	x, s := r.x, r.lease.Stream
	r.tellTry()
	if r.route.AutoHost && r.lease.Host.Endpoint().Host != "" {
		if !x.Quiet && !x.Request.Has("x-envoy-original-host") {
			x.Request.SetView("x-envoy-original-host", x.Request.Authority)
		}
		if r.route.TellHost && !r.told {
			r.told = true
			route.ForwardedHost(&x.Request)
		}
		x.Request.Authority = x.Request.Intern(r.lease.Host.Endpoint().Host)
	}
	if err := r.sendRequest(s); err != nil && !isReset(err) {
		return r.failed(err), false, err
	} // after a reset the answer may still be there to be read
	if r.whole {
		r.silence(s)
		r.d.Watch()
	}
	end, err := r.readHead(s)
	if r.whole {
		r.d.Unwatch()
	} else {
		r.pump.settle(r)
	}
	if err != nil {
		return r.failed(err), false, err
	}
	now := x.Now()
	if r.overslept(now) {
		return r.failed(exchange.ErrTimeout), false, exchange.ErrTimeout
	}
	x.FirstByte = now
	r.lease.Host.Report(result(x, r.lease.Host.Errors()))
	return exchange.OK, end, nil
}

// overslept says whether the try's deadline had passed when the response's head was read: a process that was held up finds both at once, and which
// of them the runtime tells it first is chance.
func (r *run) overslept(now time.Time) bool {
	by := first(r.until, r.deadline)
	return !by.IsZero() && now.After(by)
}

// silence bounds the wait for the response's head by the idle timeouts, where these end before the try.
func (r *run) silence(s exchange.Stream) {
	idle, own := r.patience()
	if idle == 0 {
		return
	}
	if at := r.x.Now().Add(idle); r.until.IsZero() || at.Before(r.until) {
		r.idles = !own
		s.SetDeadline(r.ending(at))
	}
}

// patience is how long the upstream may be silent once it has the whole request, and whether that is the try's own limit; 0: any time.
func (r *run) patience() (limit time.Duration, own bool) {
	idle := r.idle()
	if r.tryIdle > 0 && (idle == 0 || r.tryIdle < idle) {
		return r.tryIdle, true
	}
	return idle, false
}

func (r *run) sendRequest(s exchange.Stream) error {
	if r.x.Upgrade != nil { // what follows the head belongs to the tunnel, which begins after the answer
		if err := s.WriteHead(&r.x.Request, true); err != nil {
			return err
		}
		return s.Flush()
	}
	if !r.whole {
		if err := s.WriteHead(&r.x.Request, false); err != nil {
			return err
		}
		if r.body != nil { // kept from an earlier try
			if err := s.WriteBody(r.body, false); err != nil {
				return err
			}
		}
		err := s.Flush()
		if err == nil {
			r.pump.start(r, s)
		}
		return err
	}
	trailers := len(r.x.Trailers.Fields) > 0 // of an earlier try
	if len(r.body) == 0 && !trailers {
		return s.WriteHead(&r.x.Request, true)
	}
	if err := s.WriteHead(&r.x.Request, false); err != nil {
		return err
	}
	if !trailers {
		return s.WriteBody(r.body, true)
	}
	if len(r.body) > 0 {
		if err := s.WriteBody(r.body, false); err != nil {
			return err
		}
	}
	return s.WriteTrailers(&r.x.Trailers)
}

// readHead waits for the final head and passes interim ones on.
func (r *run) readHead(s exchange.Stream) (bool, error) {
	h := &r.x.Response
	for {
		h.Reset()
		end, err := s.ReadHead(h)
		if err != nil || h.Status >= 200 || h.Status == 101 {
			return end, err
		}
		if r.x.Protocol == exchange.HTTP10 {
			continue
		}
		if err := r.d.WriteInterim(h); err != nil {
			return false, exchange.ErrAborted
		}
	}
}

// failed turns a stream's error into an outcome and feeds outlier detection.
func (r *run) failed(err error) exchange.Outcome {
	if r.x.Canceled() || err == exchange.ErrAborted {
		return exchange.ClientGone
	}
	if err == exchange.ErrUnsent {
		return exchange.UpstreamReset
	}
	if err == exchange.ErrUnfit { // says nothing of the host
		return exchange.UpstreamProtocol
	}
	if err == exchange.ErrTimeout && r.ended() { // nor, as in Envoy, does this
		return exchange.UpstreamDuration
	}
	if err == exchange.ErrTimeout && r.idles { // nor does that the stream was idle
		return exchange.IdleTimeout
	}
	r.lease.Host.Report(outlier.Local)
	switch err {
	case exchange.ErrTimeout:
		return r.timedOut()
	case exchange.ErrProtocol, exchange.ErrTooLarge, exchange.ErrStreamProtocol:
		return exchange.UpstreamProtocol
	case exchange.ErrStreamReset:
		return exchange.StreamReset
	case exchange.ErrRefused:
		return exchange.StreamRefused
	}
	return exchange.UpstreamReset
}

// isReset says whether the peer has ended the connection, or the stream that it may have seen.
func isReset(err error) bool {
	return err == exchange.ErrReset || errors.Is(err, exchange.ErrStreamReset)
}

func (r *run) timedOut() exchange.Outcome {
	if !r.deadline.IsZero() && !time.Now().Before(r.deadline) {
		return exchange.Timeout
	}
	return exchange.TryTimeout
}
