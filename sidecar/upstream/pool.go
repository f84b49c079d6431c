package upstream

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/queue"
)

// Exchanges at a time on one connection of HTTP/2: ample where another one may be had, else as many as the peer allows, or most where the cluster does
// not say, as in Envoy.
const (
	ample = 250
	most  = 1024
)

type turn = queue.Turn[*link]

// pool is the connections to one host in one protocol, under one server name, with one TLS setting.
type pool struct {
	host *Host
	face *face
	poolKey

	mu      sync.Mutex
	links   []*link // of HTTP/2: all, but for those being dialled
	free    []*link // those with a free place; the last one was used last
	total   int     // connections, those being dialled included
	dialing int
	orphans map[*attempt]struct{} // those without an owner
	waiters queue.Queue[*link]
	retired bool
}

// link is one pooled connection.
type link struct {
	t      exchange.Transport
	ep     *exchange.Endpoint // as it was dialled
	inUse  int
	served uint32
	since  time.Time // when it became idle; zero: unknown
	dead   bool
	leaves bool        // takes no new exchanges: it refused one, or is too old
	listed bool        // is in free
	age    *time.Timer // makes it leave when it is too old; nil: it may be of any age
}

// Lease is a place on a connection, with the stream that uses it. The zero Lease is empty.
type Lease struct {
	Stream exchange.Stream
	Host   *Host
	pool   *pool
	link   *link
	reused bool
}

// Reused says whether the connection had carried an exchange before: the other side may have closed it meanwhile.
func (l *Lease) Reused() bool { return l.reused }

// Endpoint returns the facts of where the connection leads: the host's, unless it has moved since.
func (l *Lease) Endpoint() *exchange.Endpoint {
	if now := l.Host.Endpoint(); now.Address == l.link.ep.Address {
		return now
	}
	return l.link.ep
}

// Info returns the connection's facts.
func (l *Lease) Info() *exchange.TransportInfo { return l.link.t.Info() }

// Close ends the stream and gives the place back at the given time; zero: some time. It is safe to call twice.
func (l *Lease) Close(now time.Time) {
	if l.Stream == nil {
		return
	}
	ok := l.Stream.Reusable()
	l.Stream.Close()
	l.Stream = nil
	l.Host.active.Add(-1)
	l.Host.cluster.requests.Add(-1) // before the place may go to one that waits
	l.pool.release(l.link, ok, now)
}

// Client is watched while its request waits for a connection. exchange.Downstream is one.
type Client interface {
	Watch()
	Unwatch()
}

// Open takes a place on a connection to h, dialling where none is free. x names the protocol, tells roughly the time by the beginning of
// its first try, ends the wait when its client (nil: there is nobody to watch) gives up, and gets the failure's text.
// The outcome is OK, Overflow, ConnectFailure, ConnectTimeout or ClientGone; past deadline (zero: none) it is Timeout.
// The exchange counts for the balancer from here on: a host that lets dialling wait must not look idle.
func (h *Host) Open(x *exchange.Exchange, client Client, deadline time.Time) (l Lease, o exchange.Outcome) {
	o = exchange.Panicked // unless open returns
	h.active.Add(1)
	defer func() {
		if o != exchange.OK {
			h.active.Add(-1)
		}
	}()
	l, o = h.open(x, client, deadline)
	return l, o
}

func (h *Host) open(x *exchange.Exchange, client Client, deadline time.Time) (Lease, exchange.Outcome) {
	f, cfg := h.face.Load(), h.cluster.config()
	k := poolKey{proto: cfg.wire(x.Protocol)}
	if f.tls != nil && cfg.HostSNI {
		k.name = hostOf(x.Request.Authority)
	}
	if f.proxy != NoProxyHeader {
		k.client = clientOf(x.Conn)
	}
	p := h.pool(f, k)
	for {
		l, begun, wait := p.take(x.UpstreamStart, false)
		if l == nil {
			var o exchange.Outcome
			if l, begun, o = p.queue(x, client, begun, wait, deadline); o != exchange.OK {
				return Lease{}, o
			}
		}
		if !h.cluster.admit() {
			p.unused(l)
			return Lease{}, exchange.Overflow
		}
		p.mu.Lock()
		reused := l.served > 1 // others may be taking places too
		p.mu.Unlock()
		s, err := l.t.Open()
		if err != nil {
			h.cluster.requests.Add(-1)
			p.refused(l)
			if begun != nil { // refused at once: no use in asking again
				return Lease{}, exchange.ConnectFailure
			}
			continue
		}
		return Lease{Stream: s, Host: h, pool: p, link: l, reused: reused}, exchange.OK
	}
}

// queue waits for a place on a connection, which is made where an attempt was begun, and has the client watched meanwhile. All that time the request is
// pending.
func (p *pool) queue(x *exchange.Exchange, client Client, begun *attempt, wait chan turn, deadline time.Time) (*link, *attempt, exchange.Outcome) {
	if wait == nil {
		return nil, nil, exchange.Overflow
	}
	defer p.host.cluster.pending.Add(-1)
	if client != nil {
		client.Watch()
		defer client.Unwatch()
	}
	for {
		if begun != nil {
			go p.make(begun, x.Conn)
		}
		t, came := queue.Wait(x, wait, deadline)
		if !came {
			p.forget(begun, wait)
		}
		if t.Link != nil || t.Outcome != exchange.OK {
			return t.Link, begun, t.Outcome
		}
		var l *link
		if l, begun, wait = p.take(x.UpstreamStart, true); l != nil {
			return l, nil, exchange.OK
		}
	}
}

func (c *Config) wire(down exchange.Protocol) exchange.Protocol {
	if c.Protocol == UseHTTP2 || c.Protocol == UseDownstream && down == exchange.HTTP2 {
		return exchange.HTTP2
	}
	return exchange.HTTP1
}

// take finds a usable connection with a free place; else the caller has to wait, and may have begun an attempt, which it must make: either way it is
// pending, as it may be already; nothing of all that: too many are.
// now may be zero: nothing is too old then.
func (p *pool) take(now time.Time, pending bool) (l *link, begun *attempt, wait chan turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.idle()
	for n := len(p.free); n > 0; n = len(p.free) {
		l := p.free[n-1]
		if l.inUse == 0 && (!l.since.IsZero() && now.Sub(l.since) >= idle || !l.t.Usable()) {
			p.drop(l)
			continue
		}
		p.use(l)
		return l, nil, nil
	}
	dial := p.mayDial()
	if l := p.roomiest(); l != nil && !dial {
		p.use(l)
		return l, nil, nil
	}
	if !pending && !p.host.cluster.enqueue() {
		if dial {
			p.host.cluster.connections.Add(-1)
		}
		return nil, nil, nil
	}
	if wait = make(chan turn, 1); dial {
		return nil, p.begin(wait), wait
	}
	p.waiters.Join(wait)
	return nil, nil, wait
}

// roomiest finds the connection with the fewest exchanges whose peer takes one more, for where no other may be dialled; nil: there is none, or one that
// is being dialled is to be waited for.
func (p *pool) roomiest() *link {
	if p.dialing > 0 || p.retired {
		return nil
	}
	var best *link
	for _, l := range p.links {
		if !l.leaves && l.inUse < p.places(l) && !p.spent(l) && (best == nil || l.inUse < best.inUse) {
			best = l
		}
	}
	return best
}

// mayDial counts a connection against the limit (a host may always have one), and lets one dial at a time where many
// exchanges will share its connection, and nobody who could wait for one that was abandoned.
func (p *pool) mayDial() bool {
	if p.proto == exchange.HTTP2 && p.dialing > 0 || len(p.orphans) > p.waiters.Len() {
		return false
	}
	c := p.host.cluster
	if n := c.connections.Add(1); !c.config().Limits.Connections.admits(n) && p.total > 0 {
		c.connections.Add(-1)
		return false
	}
	return true
}

// use takes a place on l; p.mu is held.
func (p *pool) use(l *link) {
	l.inUse++
	l.served++
	if p.full(l) {
		p.unlist(l)
	}
}

func (p *pool) full(l *link) bool {
	return l.inUse >= min(p.places(l), ample) || p.spent(l)
}

// places is how many exchanges a connection can carry at a time.
func (p *pool) places(l *link) int {
	return max(min(l.t.Slots(), cmp.Or(int(p.host.cluster.config().Limits.Streams), most)), 1)
}

// grown has those who wait try again: the peer allows more exchanges on l.
func (p *pool) grown(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.inUse == 0 || l.dead || l.leaves || p.retired { // unused: it is being dialled, or has places anyway
		return
	}
	if !p.full(l) {
		p.list(l)
	}
	p.waiters.All(turn{})
}

// spent says whether the connection has served as many requests as it may.
func (p *pool) spent(l *link) bool {
	m := p.host.cluster.config().Limits.RequestsPerConnection
	return m != 0 && l.served >= m
}

func (p *pool) unlist(l *link) {
	if !l.listed {
		return
	}
	l.listed = false
	if n := len(p.free) - 1; p.free[n] == l {
		p.free[n] = nil
		p.free = p.free[:n]
		return
	}
	i := slices.Index(p.free, l)
	p.free = slices.Delete(p.free, i, i+1)
}

// drop closes a connection for good; p.mu is held.
func (p *pool) drop(l *link) {
	p.unlist(l)
	if l.dead {
		return
	}
	l.dead = true
	p.links = slices.DeleteFunc(p.links, func(other *link) bool { return other == l })
	if l.age != nil {
		l.age.Stop()
	}
	p.total--
	p.host.cluster.connections.Add(-1)
	_ = l.t.Close()
	p.waiters.Next(turn{})
}

// release gives a place back. ok: the connection can be used again.
func (p *pool) release(l *link, ok bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.inUse--
	shared := p.proto == exchange.HTTP2
	switch {
	case l.dead:
	case l.leaves:
		if l.inUse == 0 {
			p.drop(l)
		}
	case !shared && (!ok || p.retired || p.spent(l)), shared && l.inUse == 0 && (p.retired || p.spent(l) || !l.t.Usable()):
		p.drop(l)
	case p.retired || p.spent(l):
		p.unlist(l)
	case !p.full(l):
		if l.inUse == 0 {
			l.since = now
		}
		p.list(l)
	default:
		p.waiters.Next(turn{}) // it may be the roomiest
	}
}

// unused gives a place back that nothing was done with.
func (p *pool) unused(l *link) {
	p.mu.Lock()
	l.served--
	p.mu.Unlock()
	p.release(l, true, time.Time{})
}

// refused takes a connection that refused an exchange out of use.
func (p *pool) refused(l *link) {
	p.mu.Lock()
	l.leaves = true
	p.unlist(l)
	p.mu.Unlock()
	p.release(l, false, time.Time{})
}

// expire takes a connection out of use that is too old. Exchanges in flight go on.
func (p *pool) expire(l *link) {
	defer p.host.cluster.owner.guard()
	p.mu.Lock()
	defer p.mu.Unlock()
	l.leaves = true
	p.unlist(l)
	if l.inUse == 0 {
		p.drop(l)
	}
}

func (p *pool) list(l *link) {
	if !l.listed {
		l.listed = true
		p.free = append(p.free, l)
	}
	p.waiters.Next(turn{})
}

// forget leaves the queue, or the attempt that was begun; a turn that came meanwhile goes to the next.
func (p *pool) forget(begun *attempt, place chan turn) {
	p.mu.Lock()
	var t turn
	select {
	case t = <-place:
		p.waiters.Next(turn{})
	default:
		if begun != nil {
			p.abandon(begun)
		} else {
			p.waiters.Leave(place)
		}
	}
	p.mu.Unlock()
	if t.Link != nil {
		p.unused(t.Link)
	}
}

func (p *pool) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	for a := range p.orphans {
		a.end()
	}
	for _, l := range slices.Clone(p.free) {
		if l.inUse == 0 {
			p.drop(l)
			continue
		}
		p.unlist(l)
		l.t.Drain()
	}
}

// idle is how long a connection may be unused.
func (p *pool) idle() time.Duration {
	idle := p.host.cluster.config().idle()
	if p.client != "" {
		idle = min(idle, proxiedIdle)
	}
	return idle
}

// sweep closes what idled too long or was closed by the other side; it returns how many connections are left.
func (p *pool) sweep(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.idle()
	for _, l := range slices.Clone(p.free) {
		if l.inUse > 0 {
			continue
		}
		if l.since.IsZero() {
			l.since = now // since the last sweep at most: exact enough
		}
		if now.Sub(l.since) >= idle || !l.t.Alive() {
			p.drop(l)
		}
	}
	return p.total
}
