package listener

import (
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/sniff"
)

// patience is how long a client on an undeclared port may be silent before the proxy goes ahead and dials: a client that
// speaks first has spoken by then.
const patience = 5 * time.Millisecond

// doubt is how long a client may leave open whether what it has begun is an HTTP request or a word of another protocol, to which it awaits an answer.
const doubt = 500 * time.Millisecond

// silence is how long a client may say nothing where the listener does not say.
const silence = time.Hour

// peeker reads the first bytes of a connection and keeps them.
type peeker struct {
	conn net.Conn
	buf  []byte
}

// firsts is memory for first bytes, between connections.
var firsts = sync.Pool{New: func() any { return new([firstSize]byte) }}

const firstSize = 2 << 10

// Memory is room for first bytes, or for what comes after them; Reuse takes it back.
func Memory() []byte { return firsts.Get().(*[firstSize]byte)[:0] }

// Reuse takes back the memory of bytes that nobody needs any more.
func Reuse(first []byte) {
	if cap(first) == firstSize {
		firsts.Put((*[firstSize]byte)(first[:firstSize]))
	}
}

// more reads once more.
func (p *peeker) more() error {
	if p.buf == nil {
		p.buf = Memory()
	}
	if cap(p.buf)-len(p.buf) < 512 {
		p.buf = append(make([]byte, 0, max(2<<10, 2*cap(p.buf))), p.buf...)
	}
	n, err := p.conn.Read(p.buf[len(p.buf):cap(p.buf)])
	p.buf = p.buf[:len(p.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// replay returns a connection that gives the peeked bytes first.
func (p *peeker) replay() net.Conn {
	if len(p.buf) == 0 {
		return p.conn
	}
	return &replayed{Conn: p.conn, first: p.buf}
}

type replayed struct {
	net.Conn
	first []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.first) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.first)
	if r.first = r.first[n:]; len(r.first) == 0 {
		r.first = nil
	}
	return n, nil
}

// NetConn lets others find the socket below.
func (r *replayed) NetConn() net.Conn { return r.Conn }

// CloseWrite ends the way out.
func (r *replayed) CloseWrite() error {
	if c, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// inspect fills in what the first bytes say, as far as the listener wants to know. silent: the client has said nothing and
// a plain TCP chain may go ahead. An outcome that is not OK: close.
func (m *Manager) inspect(s *session, l *config.Listener, p *peeker) (silent bool, o exchange.Outcome) {
	in := m.inspection(s, l, p)
	if !in.tls && !in.http {
		return false, exchange.OK
	}
	silent, o = in.run()
	_ = p.conn.SetReadDeadline(time.Time{})
	return silent, o
}

func (m *Manager) inspection(s *session, l *config.Listener, p *peeker) *inspection {
	port := s.facts.Destination.Port()
	s.facts.Transport, s.facts.Offered = "raw_buffer", nil
	return &inspection{s: s, l: l, p: p, live: m.opts.Store.Load(), begun: time.Now(),
		tls: l.Inspect.TLS && !l.Inspect.TLSOff.Has(port), http: l.Inspect.HTTP && !l.Inspect.HTTPOff.Has(port)}
}

// inspection is the reading of first bytes until the inspectors know.
type inspection struct {
	s         *session
	l         *config.Listener
	p         *peeker
	live      *config.Live
	tls, http bool
	begun     time.Time
	doubted   time.Time // since when there is doubt; zero: there is none
	waited    bool
}

func (in *inspection) run() (silent bool, o exchange.Outcome) {
	for {
		if len(in.p.buf) > 0 && in.judge() {
			return false, exchange.OK
		}
		if !in.deadline() {
			if in.l.Inspect.ContinueOnTime {
				return false, exchange.OK
			}
			return false, exchange.InspectionTimeout
		}
		in.s.idle.Store(len(in.p.buf) == 0)
		err := in.p.more()
		in.s.idle.Store(false)
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded) && len(in.p.buf) == 0:
			return false, exchange.ClientGone
		case !errors.Is(err, os.ErrDeadlineExceeded), in.resigned():
			return false, exchange.OK
		case len(in.p.buf) == 0 && !in.waited:
			if in.waited = true; in.plain() {
				return true, exchange.OK
			}
		}
	}
}

// deadline bounds the next read: by patience while nothing was said, then by the listener's timeout. False: it is over.
func (in *inspection) deadline() bool {
	t, limit := time.Time{}, in.l.Inspect.Timeout
	if limit > 0 {
		if t = in.begun.Add(limit); !time.Now().Before(t) {
			return false
		}
	}
	if len(in.p.buf) == 0 && !in.waited {
		t = in.begun.Add(patience)
	}
	if end := in.doubted.Add(doubt); !in.doubted.IsZero() && (t.IsZero() || end.Before(t)) {
		t = end
	}
	return in.p.conn.SetReadDeadline(t) == nil
}

// resigned says whether there has been doubt for too long.
func (in *inspection) resigned() bool { return !in.doubted.IsZero() && time.Since(in.doubted) >= doubt }

// plain says whether a client that says nothing could be served by a plain TCP chain, as far as is known of it. One that
// L4 policy would refuse may yet prove who it is: it is waited for, not refused.
func (in *inspection) plain() bool {
	c := in.l.Choose(in.s.facts)
	if c == nil || c.TCP == nil || c.TLS != nil || in.live.ByName(c.TCP) { // whose name the client has yet to say
		return false
	}
	facts := *in.s.facts
	for _, f := range c.Network {
		if f.Connection(&facts) != exchange.OK {
			return false
		}
	}
	return true
}

// judge lets the sniffers look; true: all is known.
func (in *inspection) judge() bool {
	c, p := in.s.facts, in.p.buf
	full := len(p) >= sniff.MaxPeek
	if in.tls {
		hello, v := sniff.TLS(p)
		if v == sniff.More && !full {
			return false
		}
		in.tls = false
		if v == sniff.Yes {
			c.Transport, c.SNI, c.Offered = "tls", strings.ToLower(hello.ServerName), hello.ALPN
			return true
		}
	}
	if !in.http {
		return true
	}
	proto, v := sniff.HTTP(p)
	switch {
	case v != sniff.Doubt:
		in.doubted = time.Time{}
	case in.doubted.IsZero():
		in.doubted = time.Now()
	}
	if (v == sniff.More || v == sniff.Doubt) && !full {
		return false
	}
	if v == sniff.Yes {
		c.Offered = offered(proto)
	}
	return true
}

// offered is what a sniffed protocol is called in chain matches. Never written.
func offered(p exchange.Protocol) []string {
	switch p {
	case exchange.HTTP2:
		return []string{"h2c"}
	case exchange.HTTP10:
		return []string{"http/1.0"}
	}
	return []string{"http/1.1"}
}

// speaksHTTP2 decides between the HTTP codecs: by the ALPN, else by the first bytes. Not ok: the client has gone, or said nothing for as long
// as a client may that has a connection and no request.
func (m *Manager) speaksHTTP2(sess *Session, h *config.HTTP, p *peeker) (two, ok bool) {
	if sec := sess.Facts.Security; sec != nil {
		switch sec.ALPN {
		case "h2", "istio-h2":
			return true, true
		case "http/1.1", "http/1.0", "istio-http/1.1", "istio-http/1.0":
			return false, true
		}
	}
	wait := h.IdleTimeout
	if wait == 0 {
		wait = silence
	}
	for len(p.buf) == 0 || len(p.buf) < 4 && string(p.buf) == "PRI "[:len(p.buf)] {
		_ = p.conn.SetReadDeadline(time.Now().Add(wait)) // the codecs set their own
		sess.Idle(len(p.buf) == 0)
		err := p.more()
		sess.Idle(false)
		if err != nil {
			return false, false
		}
		wait = m.opts.Handshake
	}
	return len(p.buf) >= 4 && string(p.buf[:4]) == "PRI ", true
}
