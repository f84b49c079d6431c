// Package tcp relays bytes between a client and an upstream, both ways, with half-close. It must not look at what it
// relays, nor decide who may connect: L4 filters have judged before it dials.
package tcp

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/listener"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// hosts is how many different hosts are tried for one connection: nothing has been sent, so trying again is harmless.
const hosts = 3

// progressEvery is how often the bytes of an open connection are reported where its listener does not say.
const progressEvery = 5 * time.Second

// Options are what a Server needs from outside.
type Options struct {
	Recorder exchange.Recorder
	Log      *slog.Logger
}

// Server relays TCP sessions.
type Server struct {
	opts  Options
	paces paces
}

// NewServer returns a Server.
func NewServer(o Options) *Server {
	return &Server{opts: o, paces: paces{recorder: o.Recorder, log: o.Log}}
}

// Serve dials the chain's cluster and relays until both sides are done.
func (s *Server) Serve(sess *listener.Session) {
	bound := sess.Binding.Current()
	if bound == nil || bound.Chain.TCP == nil {
		_ = sess.Conn.Close()
		return
	}
	c, cfg := sess.Facts, bound.Chain.TCP
	var d dialled
	if sess.Reconsider == nil {
		d = s.dial(context.Background(), c, bound)
	} else {
		var mine bool
		if d, mine = s.ahead(sess, bound); !mine {
			return
		}
	}
	if c.Upstream, c.Attempts = d.up, d.attempts; d.outcome != exchange.OK {
		s.refuse(sess, d.outcome)
		return
	}
	r := &relay{client: sess.Conn, up: d.conn, idle: cfg.IdleTimeout, recorder: s.opts.Recorder, facts: c, log: s.opts.Log}
	s.opts.Recorder.Opened(c)
	defer s.finish(sess, r)
	progress := s.paces.of(c.Via)
	progress.join(r)
	defer progress.leave(r)
	r.run(sess.Peeked, d.said, cfg.MaxDuration)
}

// dialled is an upstream, or why there is none.
type dialled struct {
	conn    *far
	outcome exchange.Outcome
	up      exchange.Upstream
	said    []byte // what the upstream said before the client did

	attempts int // connections that were begun
}

// dial picks a cluster by weight and connects to one of its hosts. It only reads c.
func (s *Server) dial(ctx context.Context, c *exchange.Connection, b *config.Bound) dialled {
	cluster := b.Live.Set.Get(pick(b.Chain.TCP.Clusters))
	if cluster == nil {
		return dialled{outcome: exchange.NoCluster}
	}
	d := dialled{outcome: exchange.NoHealthyUpstream, up: exchange.Upstream{Cluster: cluster.Info()}}
	var key upstream.Key
	if b.Chain.TCP.HashSourceIP && c.Source.IsValid() {
		key = upstream.Key{Hash: route.HashAddr(c.Source.Addr()), Given: true}
	}
	if cluster.Named() {
		key.Name = b.Chain.TCP.Name(c.SNI)
	}
	var tried []*upstream.Host
	for range hosts {
		h, o := cluster.PickFor(key, c.Onward(), tried, 5)
		if o != exchange.OK {
			d.outcome = o
			return d
		}
		if slices.Contains(tried, h) {
			return d
		}
		tried = append(tried, h)
		d.up.Endpoint = h.Endpoint()
		if loops(h.Endpoint().Address, c) {
			d.outcome = exchange.LoopDetected
			return d
		}
		d.attempts++
		d.conn, d.outcome, d.up.Failure = s.reach(ctx, cluster, h, c, b.Chain.TCP.Tunnel)
		switch {
		case d.outcome == exchange.OK:
			h.Report(outlier.Good)
			d.up.Security, d.up.Local = d.conn.security, local(d.conn)
			return d
		case d.outcome == exchange.Overflow:
			d.attempts--
			return d
		case ctx.Err() != nil:
			return d
		}
		h.Report(outlier.Local)
	}
	return d
}

// loops says whether the upstream would be the socket that the connection came in by.
func loops(to netip.AddrPort, c *exchange.Connection) bool { return to.IsValid() && to == c.Local }

func local(c net.Conn) netip.AddrPort {
	if t, ok := c.LocalAddr().(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// pick chooses a cluster by weight.
func pick(ws []route.Weighted) string {
	if len(ws) == 1 {
		return ws[0].Cluster
	}
	total := uint64(0)
	for i := range ws {
		total += uint64(ws[i].Weight)
	}
	if total == 0 {
		return ""
	}
	n := rand.Uint64N(total)
	for i := range ws {
		if w := uint64(ws[i].Weight); n >= w {
			n -= w
			continue
		}
		return ws[i].Cluster
	}
	return ""
}

// refuse closes a session that has no upstream.
func (s *Server) refuse(sess *listener.Session, o exchange.Outcome) {
	c := sess.Facts
	c.Outcome, c.Flags, c.Duration = o, c.Flags|o.Flag(), time.Since(c.Start)
	s.opts.Recorder.Opened(c)
	s.opts.Recorder.Closed(c, 0, 0)
	_ = sess.Conn.Close()
}

// finish closes both sides and records the end, whatever happened.
func (s *Server) finish(sess *listener.Session, r *relay) {
	_ = r.client.Close()
	r.up.Release()
	c := r.facts
	if o := sess.Cut(); o != exchange.OK {
		r.end(o)
	}
	c.Outcome = r.outcome()
	c.Flags |= c.Outcome.Flag()
	c.Received, c.Sent, c.Duration = r.received.Load(), r.sent.Load(), time.Since(c.Start)
	received, sent := r.delta()
	s.opts.Recorder.Closed(c, received, sent)
}
