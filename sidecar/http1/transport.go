package http1

import (
	"cmp"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/sock"
)

// transport is one upstream connection; it carries one exchange at a time.
type transport struct {
	nc     net.Conn
	sock   *sock.Conn // nil where it is no TCP connection of ours
	info   *exchange.TransportInfo
	src    source
	sink   sink
	stream stream
	closed atomic.Bool
	busy   bool
	served bool // it has carried an exchange: nothing is left over from a handshake
	drains bool
}

// NewTransport is an upstream.Codec.
func NewTransport(nc net.Conn, info *exchange.TransportInfo) (exchange.Transport, error) {
	t := &transport{nc: nc, sock: sock.Of(nc), info: info}
	t.src.init(nc, nil)
	t.sink.nc = nc
	t.stream.t = t
	t.stream.body.src = &t.src
	return t, nil
}

// bottom finds the socket below TLS and whatever else wraps it.
func bottom(nc net.Conn) net.Conn {
	for {
		w, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = w.NetConn()
	}
}

// cut closes a connection so that the other side sees that something was not finished, and without TLS's farewell, which
// would wait for a peer that does not read.
func cut(nc net.Conn) {
	nc = bottom(nc)
	if t, ok := nc.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
	_ = nc.Close()
}

// Open takes the connection for one exchange.
func (t *transport) Open() (exchange.Stream, error) {
	if t.busy || t.drains || t.closed.Load() {
		return nil, exchange.ErrRefused
	}
	t.busy = true
	t.stream.begin()
	return &t.stream, nil
}

// Slots is one.
func (t *transport) Slots() int { return 1 }

// Info returns the connection's facts.
func (t *transport) Info() *exchange.TransportInfo { return t.info }

// Usable says whether the idle connection may serve again. Whether the other side has closed it shows when it is asked.
func (t *transport) Usable() bool { return !t.closed.Load() && t.src.r == t.src.w }

// Alive looks whether the other side has closed, or spoken.
func (t *transport) Alive() bool { return t.Usable() && (t.sock == nil || t.sock.Quiet()) }

// Drain takes no new exchanges.
func (t *transport) Drain() { t.drains = true }

// Close closes at once. Memory goes back where no exchange is using it.
func (t *transport) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	err := t.nc.Close()
	if !t.busy {
		t.src.release()
		t.sink.done()
	}
	return err
}

// stream is the exchange on the transport.
type stream struct {
	t    *transport
	out  out
	body body

	head    bool // a request was HEAD: its answer has no body
	connect bool
	upgrade bool
	sent    bool // the request is complete
	got     bool // the response's final head was read
	last    bool // the connection ends with this exchange
	bad     bool
	duplex  bool // the request goes out while the response may come in
	looked  bool // nothing had come before the request's first byte went out
	scanned int

	mu       sync.Mutex // deadlines
	aborted  bool
	deadline bool
	trailers exchange.Head
}

func (s *stream) begin() {
	s.out = out{}
	s.body.begin(none, 0, nil)
	s.head, s.connect, s.upgrade, s.sent, s.got, s.last, s.bad, s.duplex = false, false, false, false, false, false, false, false
	s.looked = false
	s.scanned = 0
	s.trailers.Reset()
	s.mu.Lock()
	s.aborted, s.deadline = false, false
	s.mu.Unlock()
}

// SetDeadline bounds reads and writes.
func (s *stream) SetDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted || !s.deadline && t.IsZero() {
		return
	}
	s.deadline = !t.IsZero()
	_ = s.t.nc.SetDeadline(t)
}

// Abort wakes whoever reads or writes.
func (s *stream) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = true
	_ = s.t.nc.SetDeadline(time.Unix(1, 0))
}

// failed maps an error of the connection and makes it unusable.
func (s *stream) failed(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = true
	switch {
	case s.aborted:
		return exchange.ErrAborted
	case errors.Is(err, sock.ErrUnasked):
		return exchange.ErrUnsent
	}
	return ioError(err)
}

// WriteHead writes request line and fields.
func (s *stream) WriteHead(h *exchange.Head, end bool) error {
	w := &s.t.sink
	s.head, s.connect = h.Method.Is("HEAD"), h.Method.Is("CONNECT")
	up := h.Get("upgrade")
	s.upgrade = up != nil || s.connect
	declared, ok := s.out.begin(h, end, false)
	if !ok || !oneWord(h.Method) || !oneWord(h.Authority) || !oneWord(h.Path) || !h.HasTarget() {
		return exchange.ErrUnfit
	}
	w.begin()
	w.buf = append(append(w.buf, h.Method...), ' ')
	if s.connect {
		w.buf = append(w.buf, h.Authority...)
	} else {
		w.buf = append(w.buf, h.Path...)
	}
	w.buf = append(w.buf, " HTTP/1.1\r\nhost: "...)
	w.buf = append(append(w.buf, h.Authority...), "\r\n"...)
	w.fields(h, true)
	switch {
	case s.out.mode == chunked:
		w.buf = append(w.buf, "transfer-encoding: chunked\r\n"...)
	case end && !declared && expectsBody(h.Method):
		w.buf = append(w.buf, "content-length: 0\r\n"...)
	}
	if up != nil {
		w.buf = append(w.buf, "connection: upgrade\r\n"...)
	}
	w.buf = append(w.buf, "\r\n"...)
	if end {
		return s.finish()
	}
	return nil
}

// oneWord says whether v fits into a request line: whoever wrote it, it must not end there and begin another.
func oneWord(v exchange.View) bool {
	for _, c := range v {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func expectsBody(m exchange.View) bool { return m.Is("POST") || m.Is("PUT") || m.Is("PATCH") }

// small is what sock holds for certain, with what TLS adds to it: a request of no more leaves with the wait for its answer.
const small = 3 << 10

// look looks, before the first byte of a request leaves that is not small, whether a connection that has served before is as it was left: what
// the other side says unasked is no answer to this request.
func (s *stream) look() error {
	t := s.t
	if s.looked || s.duplex {
		return nil
	}
	if t.served && t.sock != nil && !t.sock.Silent(t.nc) {
		s.bad = true
		return exchange.ErrUnsent
	}
	s.looked = true
	return nil
}

// finish ends the request. A small one that was written in one go leaves with the wait for its answer.
func (s *stream) finish() error {
	s.sent = true
	if s.duplex || s.t.sock == nil {
		return s.Flush()
	}
	if len(s.t.sink.buf) > small {
		if err := s.look(); err != nil {
			return err
		}
	}
	s.t.sock.Hold(s.t.served)
	return s.flush()
}

// WriteBody writes a piece of the body, or of the tunnel.
func (s *stream) WriteBody(p []byte, end bool) error {
	w := &s.t.sink
	if s.out.mode == raw {
		return s.tunnel(p, end)
	}
	if err := s.out.account(len(p), end); err != nil {
		s.bad = true
		return err
	}
	var err error
	if len(w.buf)+len(p) > small {
		if err = s.look(); err != nil {
			return err
		}
	}
	if s.out.mode == chunked {
		if err = w.chunk(p); err == nil && end {
			w.trailers(nil)
		}
	} else {
		err = w.write(p)
	}
	switch {
	case err != nil:
		return s.failed(err)
	case end:
		return s.finish()
	}
	return nil
}

func (s *stream) tunnel(p []byte, end bool) error {
	if err := s.t.sink.write(p); err != nil {
		return s.failed(err)
	}
	if !end {
		return nil
	}
	if err := s.Flush(); err != nil {
		return err
	}
	closeWrite(s.t.nc)
	return nil
}

// closeWrite ends one direction, where the connection can.
func closeWrite(nc net.Conn) {
	if c, ok := nc.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

// WriteTrailers ends a chunked body; other framings cannot carry trailers, and end without.
func (s *stream) WriteTrailers(t *exchange.Head) error {
	if s.out.mode != chunked {
		return s.WriteBody(nil, true)
	}
	s.out.over = true
	s.t.sink.trailers(t)
	return s.finish()
}

// Flush sends what is gathered, now.
func (s *stream) Flush() error {
	if err := s.look(); err != nil {
		return err
	}
	s.duplex = true
	if err := s.flush(); err != nil {
		return err
	}
	if s.t.sock != nil && s.t.sock.Holds() {
		if err := s.t.sock.Release(); err != nil {
			return s.failed(err)
		}
	}
	return nil
}

func (s *stream) flush() error {
	if err := s.t.sink.flush(); err != nil {
		return s.failed(err)
	}
	return nil
}

// ReadHead reads the next response head.
func (s *stream) ReadHead(h *exchange.Head) (end bool, err error) {
	src, most := &s.t.src, cmp.Or(s.t.info.MaxHead, maxHead)
	src.most = most
	for {
		n, next, ok := headEnd(src.unread(), s.scanned)
		if !ok || n > most {
			s.bad = true
			return false, exchange.ErrProtocol
		}
		if n > 0 {
			return s.parse(h, src.unread()[:n])
		}
		s.scanned = next
		if len(src.unread()) > most {
			s.bad = true
			return false, exchange.ErrTooLarge
		}
		if err := src.fill(); err != nil {
			if err == io.EOF && len(src.unread()) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return false, s.failed(err)
		}
		if t := s.t; t.sock != nil && t.sock.Holds() { // TLS had more than the last answer: this is none to a request that has not left
			s.bad = true
			return false, exchange.ErrUnsent
		}
	}
}

func (s *stream) parse(h *exchange.Head, p []byte) (end bool, err error) {
	src := &s.t.src
	var f framing
	if len(p) < 14 {
		s.bad = true
		return false, exchange.ErrProtocol
	}
	if err := parseResponse(p, h, &f, cmp.Or(s.t.info.MaxHeaders, maxFields)); err != nil {
		s.bad = true
		return false, err
	}
	if f.chunked || f.length > 0 {
		if h.Status < 200 || h.Status == 204 && !s.head { // what has no body says that it has one: where the next response begins, nobody knows
			s.bad = true
			return false, exchange.ErrProtocol
		}
	}
	src.r += len(p)
	s.scanned = 0
	if h.Status < 200 && h.Status != 101 {
		return true, nil
	}
	src.keep = src.r
	s.got = true
	s.last = f.close || f.http10 && !f.keepAlive
	switch {
	case h.Status == 101 && s.upgrade && f.upgrade != nil, s.connect && h.Status/100 == 2:
		if f.upgrade != nil {
			h.AddView(exchange.View("upgrade"), f.upgrade)
		}
		h.Remove("content-length")
		s.last, s.out.mode = true, raw
		s.body.begin(raw, 0, nil)
		return false, nil
	case h.Status == 101:
		s.bad = true
		return false, exchange.ErrProtocol
	case s.head || h.Status == 204 || h.Status == 304:
		return true, nil
	case f.chunked:
		s.body.begin(chunked, 0, &s.trailers)
	case f.length >= 0:
		s.body.begin(length, f.length, nil)
	default:
		s.last = true
		s.body.begin(raw, 0, nil)
	}
	return s.body.over(), nil
}

// ReadBody reads the next piece.
func (s *stream) ReadBody() (exchange.View, bool, error) {
	framed := s.body.mode != raw
	p, end, err := s.body.read()
	if err != nil {
		if s.bad = true; framed && err == exchange.ErrReset { // its head promised more
			err = exchange.ErrProtocol
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.aborted {
			err = exchange.ErrAborted
		}
	}
	return p, end, err
}

// ReadTrailers hands over what came after a chunked body.
func (s *stream) ReadTrailers(t *exchange.Head) {
	for _, f := range s.trailers.Fields {
		t.AddView(f.Name, f.Value)
	}
}

// Buffered says whether ReadBody would return at once.
func (s *stream) Buffered() bool { return s.body.buffered() }

// Reusable says whether both messages are complete and nothing speaks against another exchange.
func (s *stream) Reusable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.bad && !s.aborted && !s.last && s.sent && s.got && s.body.over() && !s.t.closed.Load() && s.t.src.r == s.t.src.w
}

// Close gives the connection back, or closes it.
func (s *stream) Close() {
	t := s.t
	again := s.Reusable()
	broken := !s.sent || !s.got || !s.body.over()
	s.mu.Lock()
	if again && s.deadline {
		again = t.nc.SetDeadline(time.Time{}) == nil
	}
	s.deadline = false
	s.mu.Unlock()
	t.src.done()
	t.sink.done()
	t.busy, t.served = false, true
	if !again || t.drains {
		if t.closed.Swap(true) {
			t.src.release()
			return
		}
		if broken {
			cut(t.nc)
		} else {
			_ = t.nc.Close()
		}
		t.src.release()
	}
}
