package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/sock"
)

// Conn is a connection for TCP relaying. Close it through Release.
type Conn struct {
	net.Conn
	Security *exchange.Security
	host     *Host
}

// Release closes the connection and ends its count.
func (c *Conn) Release() {
	_ = c.Conn.Close()
	c.host.active.Add(-1)
	c.host.cluster.connections.Add(-1)
}

// Connect dials h for TCP relaying on behalf of a client. The outcome is OK, Overflow, ConnectFailure or ConnectTimeout; text says why.
func (h *Host) Connect(ctx context.Context, client *exchange.Connection) (conn *Conn, o exchange.Outcome, text string) {
	c := h.cluster
	if !take(&c.connections, c.config().Limits.Connections) {
		return nil, exchange.Overflow, ""
	}
	if !c.enqueue() {
		c.connections.Add(-1)
		return nil, exchange.Overflow, ""
	}
	defer c.pending.Add(-1)
	h.active.Add(1)
	c.busy.Store(true)
	raw, sec, err := h.dial(ctx, h.face.Load(), poolKey{proto: exchange.TCP}, client)
	if err != nil {
		h.active.Add(-1)
		c.connections.Add(-1)
		return nil, dialOutcome(err), err.Error()
	}
	return &Conn{Conn: raw, Security: sec, host: h}, exchange.OK, ""
}

// attempt is a pooled connection in the making. It goes on when who began it has given up, for whoever comes next, while the pool is in use.
type attempt struct {
	owner chan turn // of who uses it first; nil: they have given up
	ctx   context.Context
	end   context.CancelFunc
}

// begin counts an attempt; make has to follow. p.mu is held.
func (p *pool) begin(owner chan turn) *attempt {
	p.total++
	p.dialing++
	a := &attempt{owner: owner}
	a.ctx, a.end = context.WithCancel(context.Background())
	return a
}

// abandon leaves an attempt to others, if there can be any; p.mu is held.
func (p *pool) abandon(a *attempt) {
	if a.owner = nil; p.orphans == nil {
		p.orphans = map[*attempt]struct{}{}
	}
	if p.orphans[a] = struct{}{}; p.retired {
		a.end()
	}
}

// make makes a connection. client is whom a PROXY header names.
func (p *pool) make(a *attempt, client *exchange.Connection) {
	defer p.host.cluster.owner.guard()
	t := turn{Outcome: exchange.Panicked} // unless connect returns
	defer func() { p.made(a, t) }()
	p.host.used.Store(time.Now().UnixNano())
	p.host.cluster.busy.Store(true)
	l, err := p.connect(a.ctx, client)
	if t = (turn{Link: l}); err != nil {
		t = turn{Outcome: dialOutcome(err), Why: err.Error()}
	}
}

// made ends an attempt. Those who waited for a shared connection get the place, or the failure, that it came to, and so does the first who waited for
// one that was abandoned; where it was ended, and otherwise, they try for themselves.
func (p *pool) made(a *attempt, t turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	failed := t.Outcome == exchange.ConnectFailure && a.ctx.Err() == nil || t.Outcome == exchange.ConnectTimeout
	a.end()
	p.dialing--
	delete(p.orphans, a)
	if p.keep(a, t.Link); a.owner != nil {
		a.owner <- t
	} else if failed {
		p.waiters.Next(t)
	}
	if !failed || p.proto != exchange.HTTP2 {
		t = turn{}
	}
	p.waiters.All(t)
}

// keep takes in what an attempt has come to, nil: nothing. p.mu is held.
func (p *pool) keep(a *attempt, l *link) {
	if l == nil {
		p.total--
		p.host.cluster.connections.Add(-1)
		return
	}
	if p.proto == exchange.HTTP2 {
		p.links = append(p.links, l)
	}
	if a.owner != nil {
		p.use(l)
	} else if l.since = time.Now(); p.retired {
		p.drop(l)
		return
	}
	if age := p.host.cluster.config().MaxDuration; age > 0 {
		l.age = time.AfterFunc(age, func() { p.expire(l) })
	}
	if !p.full(l) && !p.retired {
		p.list(l)
	}
}

func dialOutcome(err error) exchange.Outcome {
	var ne net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
		return exchange.ConnectTimeout
	}
	return exchange.ConnectFailure
}

// connect makes a transport to where the host is now.
func (p *pool) connect(ctx context.Context, client *exchange.Connection) (*link, error) {
	f := p.host.face.Load()
	if !p.serves(f, p.poolKey) {
		f = p.face
	}
	l := &link{ep: f.ep}
	var err error
	l.t, err = p.host.transport(ctx, f, p.poolKey, client, func() { p.grown(l) })
	return l, err
}

// transport makes a transport on a connection of its own. client, which may be nil, is whom a PROXY header names; grown, too, is told of more slots.
func (h *Host) transport(ctx context.Context, f *face, k poolKey, client *exchange.Connection, grown func()) (exchange.Transport, error) {
	conn, sec, err := h.dial(ctx, f, k, client)
	if err != nil {
		return nil, err
	}
	codec := h.cluster.owner.opts.HTTP1
	if k.proto == exchange.HTTP2 {
		codec = h.cluster.owner.opts.HTTP2
	}
	if codec == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("no codec for %v", k.proto)
	}
	cfg := h.cluster.config()
	t, err := codec(conn, &exchange.TransportInfo{Protocol: k.proto, Local: sock.AddrPort(conn.LocalAddr()), Security: sec, Keepalive: cfg.Ping,
		MaxHead: cfg.Limits.MaxHead, MaxHeaders: cfg.Limits.MaxHeaders, Grown: grown})
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("starting %v: %w", k.proto, err)
	}
	return t, nil
}

// dial connects and begins as the face says, all within the cluster's connect timeout. What fails by a session of before is begun once more.
func (h *Host) dial(ctx context.Context, f *face, k poolKey, client *exchange.Connection) (net.Conn, *exchange.Security, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cluster.config().connectTimeout())
	defer cancel()
	conn, sec, err := h.begin(ctx, f, k, client)
	if errors.Is(err, exchange.ErrSession) {
		conn, sec, err = h.begin(ctx, f, k, client)
	}
	return conn, sec, err
}

// begin connects once.
func (h *Host) begin(ctx context.Context, f *face, k poolKey, client *exchange.Connection) (net.Conn, *exchange.Security, error) {
	cfg := h.cluster.config()
	network, address, from := "tcp", f.ep.Address.String(), sock.Source(cfg.Source, cfg.Source6, f.ep.Address.Addr())
	if f.ep.Path != "" {
		network, address, from = "unix", f.ep.Path, nil
	}
	// KeepAlive -1: where the cluster wants none there is none
	d := net.Dialer{LocalAddr: from, KeepAlive: -1, KeepAliveConfig: cfg.Keepalive, Control: sock.Dialling(h.cluster.owner.opts.Mark, from)}
	conn, err := d.DialContext(ctx, network, address)
	if h.noted(err); err == nil {
		if err = f.proxy.send(conn, client); err != nil {
			return nil, nil, errors.Join(err, conn.Close())
		}
	}
	if err == nil && k.proto == exchange.HTTP1 {
		conn, err = sock.Wrap(conn)
	}
	if err != nil || f.tls == nil {
		return conn, nil, err
	}
	secured, sec, err := f.tls.Handshake(ctx, conn, f.ep, k.name, k.proto)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return secured, sec, nil
}
