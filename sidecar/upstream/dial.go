package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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

// dial makes a pooled connection, which the caller uses first.
func (p *pool) dial(x *exchange.Exchange, deadline time.Time) (*link, exchange.Outcome) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	gone := x.Done()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-gone:
			cancel()
		case <-stop:
		}
	}()
	if !deadline.IsZero() {
		var expire context.CancelFunc // cancel belongs to the goroutine above
		ctx, expire = context.WithDeadline(ctx, deadline)
		defer expire()
	}
	p.host.used.Store(time.Now().UnixNano())
	p.host.cluster.busy.Store(true)
	o := exchange.Panicked // unless connect returns
	var l *link
	defer func() { p.dialled(l, o, x.Upstream.Failure) }()
	made, err := p.connect(ctx, x.Conn)
	if o = exchange.OK; err != nil {
		o = failed(x, err, deadline)
		return nil, o
	}
	l = made
	p.mu.Lock()
	p.use(l)
	if age := p.host.cluster.config().MaxDuration; age > 0 {
		l.age = time.AfterFunc(age, func() { p.expire(l) })
	}
	p.mu.Unlock()
	return l, o
}

// dialled ends what take began. Those who waited for a shared connection get the place, or the failure, that it came to;
// where only the dialler gave up, they try for themselves.
func (p *pool) dialled(l *link, o exchange.Outcome, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	if l == nil {
		p.total--
		p.host.cluster.connections.Add(-1)
	} else if !p.full(l) && !p.retired {
		l.listed = true
		p.free = append(p.free, l)
	}
	shared := p.proto == exchange.HTTP2 && (o == exchange.ConnectFailure || o == exchange.ConnectTimeout)
	for len(p.waiters) > 0 {
		if shared {
			p.wake(turn{o, why})
		} else {
			p.wake(turn{})
		}
	}
}

// failed says how a dial ended.
func failed(x *exchange.Exchange, err error, deadline time.Time) exchange.Outcome {
	x.Upstream.Failure = err.Error()
	switch {
	case x.Canceled():
		return exchange.ClientGone
	case !deadline.IsZero() && !time.Now().Before(deadline):
		return exchange.Timeout
	}
	return dialOutcome(err)
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
	t, err := p.host.transport(ctx, f, p.poolKey, client)
	return &link{t: t, ep: f.ep}, err
}

// transport makes a transport on a connection of its own. client, which may be nil, is whom a PROXY header names.
func (h *Host) transport(ctx context.Context, f *face, k poolKey, client *exchange.Connection) (exchange.Transport, error) {
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
	t, err := codec(conn, &exchange.TransportInfo{Local: sock.AddrPort(conn.LocalAddr()), Security: sec, Keepalive: cfg.Ping,
		MaxHead: cfg.Limits.MaxHead, MaxHeaders: cfg.Limits.MaxHeaders})
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
	network, address := "tcp", f.ep.Address.String()
	if f.ep.Path != "" {
		network, address = "unix", f.ep.Path
	}
	from := cfg.source(f.ep)
	// KeepAlive -1: where the cluster wants none there is none
	d := net.Dialer{LocalAddr: from, KeepAlive: -1, KeepAliveConfig: cfg.Keepalive, Control: sock.Dialling(h.cluster.owner.opts.Mark, from)}
	conn, err := d.DialContext(ctx, network, address)
	if h.noted(err); err == nil {
		if err = f.proxy.send(conn, client); err != nil {
			return nil, nil, errors.Join(err, conn.Close())
		}
	}
	if err == nil && k.proto == exchange.HTTP1 {
		conn, err = socket(conn)
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

// socket is the connection as codecs want it.
func socket(conn net.Conn) (net.Conn, error) {
	raw, ok := conn.(sock.Socket)
	if !ok {
		return conn, nil
	}
	s, err := sock.New(raw)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

// source returns the local address to dial from, nil for any.
func (c *Config) source(ep *exchange.Endpoint) net.Addr {
	from, to := c.Source, ep.Address.Addr()
	if to.Is6() && !to.Is4In6() {
		from = c.Source6
	}
	if !from.IsValid() || ep.Path != "" {
		return nil
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
}
