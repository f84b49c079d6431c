package listener

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/sniff"
)

// introduce reads, where the listener wants it, the PROXY protocol's header: who the client is for whom a proxy connects. rest is what came after
// it. An outcome that is not OK: close.
func (m *Manager) introduce(s *session, l *config.Listener) (rest []byte, o exchange.Outcome) {
	if l.Proxied == config.NotProxied {
		return nil, exchange.OK
	}
	p := &peeker{conn: s.conn}
	if limit := l.Inspect.Timeout; limit > 0 {
		if err := s.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return nil, exchange.ClientGone
		}
		defer s.conn.SetReadDeadline(time.Time{})
	}
	for {
		in, begun, v := sniff.Proxy(p.buf)
		switch {
		case v == sniff.Yes:
			introduced(s.facts, in)
			return slices.Clone(p.buf[in.Len:]), exchange.OK // the header's memory must not stay for as long as the connection
		case v == sniff.No && !begun && l.Proxied == config.MayBeProxied:
			return p.buf, exchange.OK
		case v == sniff.No:
			return nil, exchange.BadIntroduction
		}
		s.idle.Store(len(p.buf) == 0)
		err := p.more()
		s.idle.Store(false)
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, exchange.ClientGone
		case l.Inspect.ContinueOnTime:
			return p.buf, exchange.OK
		default:
			return nil, exchange.InspectionTimeout
		}
	}
}

// introduced notes for whom the proxy has connected that is at the other end. One that speaks for itself, or does not know, is the client.
func introduced(c *exchange.Connection, in sniff.Introduction) {
	if !in.Source.IsValid() {
		return
	}
	c.Proxy, c.Source, c.Destination, c.Called = c.Source, unmapped(in.Source), unmapped(in.Destination), false
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
