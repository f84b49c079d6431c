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
)

// hosts is how many different hosts are tried for one connection: nothing has been sent, so trying again is harmless.
const hosts = 3

// progressEvery is how often the bytes of an open connection are reported.
const progressEvery = 5 * time.Second

// Options are what a Server needs from outside.
type Options struct {
	Recorder exchange.Recorder
	Log      *slog.Logger
}

// Server relays TCP sessions.
type Server struct{ opts Options }

// NewServer returns a Server.
func NewServer(o Options) *Server { return &Server{o} }

// Serve dials the chain's cluster and relays until both sides are done.
func (s *Server) Serve(sess *listener.Session) {
	bound := sess.Binding.Current()
	if bound == nil || bound.Chain.TCP == nil {
		_ = sess.Conn.Close()
		return
	}
	c, cfg := sess.Facts, bound.Chain.TCP
	up, o := s.dial(sess, bound, cfg)
	if o != exchange.OK {
		s.refuse(sess, o)
		return
	}
	r := &relay{client: sess.Conn, up: up, idle: cfg.IdleTimeout, recorder: s.opts.Recorder, facts: c, log: s.opts.Log}
	if sess.Reconsider != nil && !r.firstWord(sess) {
		up.Release()
		return
	}
	s.opts.Recorder.Opened(c)
	defer s.finish(sess, r)
	r.run(sess.Peeked, cfg.MaxDuration)
}

// dial picks a cluster by weight and connects to one of its hosts.
func (s *Server) dial(sess *listener.Session, b *config.Bound, cfg *config.TCP) (*upstream.Conn, exchange.Outcome) {
	c := sess.Facts
	cluster := b.Live.Set.Get(pick(cfg.Clusters))
	if cluster == nil {
		return nil, exchange.NoCluster
	}
	c.Upstream.Cluster = cluster.Info()
	var tried []*upstream.Host
	last := exchange.NoHealthyUpstream
	for range hosts {
		h, o := cluster.Pick(c.Destination, tried, 5)
		if o != exchange.OK {
			return nil, o
		}
		if slices.Contains(tried, h) {
			break
		}
		tried = append(tried, h)
		c.Upstream.Endpoint = h.Endpoint()
		if loops(h.Endpoint().Address, c) {
			return nil, exchange.LoopDetected
		}
		conn, o, text := h.Connect(context.Background())
		if o == exchange.OK {
			h.Report(upstream.Good)
			c.Upstream.Security, c.Upstream.Failure, c.Upstream.Local = conn.Security, "", local(conn)
			return conn, o
		}
		if last, c.Upstream.Failure = o, text; o == exchange.Overflow {
			break
		}
		h.Report(upstream.Local)
	}
	return nil, last
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
