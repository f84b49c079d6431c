package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// GRPC makes unary calls over HTTP/2 with prior knowledge: a new one on each stream as soon as the last one is answered.
type GRPC struct {
	Address     string
	Authority   string
	Connections int
	Streams     int // at once on each connection
	For         time.Duration
}

// message is a gRPC message of 64 bytes, with its prefix.
var message = append([]byte{0, 0, 0, 0, 64}, body...)

// window is more than is ever sent before it is renewed.
const window = 1 << 30

// Run calls until the time is over.
func (g GRPC) Run(ctx context.Context) Seen {
	until := time.Now().Add(g.For)
	return all(ctx, g.Connections, func(ctx context.Context, _ int) (s Seen) {
		nc, err := net.DialTimeout("tcp", g.Address, patience)
		if err != nil {
			s.fail(err)
			return s
		}
		defer nc.Close()
		_ = nc.SetDeadline(until.Add(patience))
		c := newCaller(nc, g.Authority)
		if err := c.run(ctx, g.Streams, until); err != nil {
			s.fail(err)
		}
		s.Done = c.done
		return s
	})
}

// peer is one end of an HTTP/2 connection. It reads no header block: what it is told is known.
type peer struct {
	r       *bufio.Reader
	w       *bufio.Writer
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	taken   uint32 // bytes of the connection's window
}

func newPeer(nc net.Conn) *peer {
	p := &peer{r: bufio.NewReaderSize(nc, 64<<10), w: bufio.NewWriterSize(nc, 64<<10)}
	p.framer, p.encoder = http2.NewFramer(p.w, p.r), hpack.NewEncoder(&p.block)
	p.framer.SetReuseFrames()
	return p
}

func (p *peer) open() error {
	settings := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: window}, {ID: http2.SettingMaxConcurrentStreams, Val: 1000}}
	if err := p.framer.WriteSettings(settings...); err != nil {
		return err
	}
	return p.framer.WriteWindowUpdate(0, window)
}

func (p *peer) headers(id uint32, end bool, fields ...hpack.HeaderField) error {
	p.block.Reset()
	for _, f := range fields {
		if err := p.encoder.WriteField(f); err != nil {
			return err
		}
	}
	return p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndStream: end, EndHeaders: true})
}

// next returns the next frame that is about a stream, and answers the others. What was written is sent before it would wait.
func (p *peer) next() (http2.Frame, error) {
	for {
		if p.r.Buffered() == 0 {
			if err := p.w.Flush(); err != nil {
				return nil, err
			}
		}
		f, err := p.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				if most, told := f.Value(http2.SettingHeaderTableSize); told { // nginx has no table
					p.encoder.SetMaxDynamicTableSizeLimit(most)
				}
				err = p.framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				err = p.framer.WritePing(true, f.Data)
			}
		case *http2.DataFrame:
			return f, p.renew(uint32(f.Length))
		case *http2.HeadersFrame, *http2.RSTStreamFrame:
			return f, nil
		case *http2.GoAwayFrame:
			return nil, fmt.Errorf("told to go away: %v", f.ErrCode)
		}
		if err != nil {
			return nil, err
		}
	}
}

// renew gives the connection's window back when half of it is taken.
func (p *peer) renew(n uint32) error {
	if p.taken += n; p.taken < window/2 {
		return nil
	}
	n, p.taken = p.taken, 0
	return p.framer.WriteWindowUpdate(0, n)
}

type caller struct {
	*peer
	authority string
	stream    uint32 // the next stream
	calls     int    // streams
	got       map[uint32]int
	done      int
}

func newCaller(nc net.Conn, authority string) *caller {
	return &caller{peer: newPeer(nc), authority: authority, stream: 1, got: map[uint32]int{}}
}

func (c *caller) run(ctx context.Context, streams int, until time.Time) error {
	if _, err := c.w.WriteString(http2.ClientPreface); err != nil {
		return err
	}
	if err := c.peer.open(); err != nil {
		return err
	}
	for range streams {
		if err := c.call(); err != nil {
			return err
		}
	}
	for c.calls > 0 {
		f, err := c.next()
		if err != nil {
			return err
		}
		ended, err := c.take(f)
		if err != nil {
			return err
		}
		if !ended {
			continue
		}
		c.calls, c.done = c.calls-1, c.done+1
		if time.Now().Before(until) && ctx.Err() == nil {
			if err := c.call(); err != nil {
				return err
			}
		}
	}
	return nil
}

// call sends a request on a new stream.
func (c *caller) call() error {
	field := func(name, value string) hpack.HeaderField { return hpack.HeaderField{Name: name, Value: value} }
	id := c.stream
	c.stream, c.calls = c.stream+2, c.calls+1
	err := c.headers(id, false, field(":method", "POST"), field(":scheme", "http"), field(":path", "/bench.Echo/Unary"), field(":authority", c.authority),
		field("content-type", "application/grpc"), field("te", "trailers"), field("user-agent", "bench"), field("grpc-accept-encoding", "identity"))
	if err != nil {
		return err
	}
	return c.framer.WriteData(id, true, message)
}

// take reads a frame of an answer and says whether the call has ended well.
func (c *caller) take(f http2.Frame) (ended bool, err error) {
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.RSTStreamFrame:
		return false, fmt.Errorf("reset: %v", f.ErrCode)
	case *http2.DataFrame:
		c.got[id] += len(f.Data())
		ended = f.StreamEnded()
	case *http2.HeadersFrame:
		ended = f.StreamEnded()
	}
	if !ended {
		return false, nil
	}
	if c.got[id] != len(message) {
		return false, fmt.Errorf("answered with %d bytes", c.got[id])
	}
	delete(c.got, id)
	return true, nil
}

var errPreface = errors.New("no HTTP/2")

// serveGRPC answers every call with the same message.
func serveGRPC(nc net.Conn) {
	p := newPeer(nc)
	_ = p.serve() // it ends with the connection
}

func (p *peer) serve() error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(p.r, preface); err != nil {
		return err
	}
	if string(preface) != http2.ClientPreface {
		return errPreface
	}
	if err := p.open(); err != nil {
		return err
	}
	for {
		f, err := p.next()
		if err != nil {
			return err
		}
		data, ok := f.(*http2.DataFrame)
		if !ok || !data.StreamEnded() {
			continue
		}
		if err := p.reply(data.StreamID); err != nil {
			return err
		}
	}
}

func (p *peer) reply(id uint32) error {
	if err := p.headers(id, false, hpack.HeaderField{Name: ":status", Value: "200"}, hpack.HeaderField{Name: "content-type", Value: "application/grpc"}); err != nil {
		return err
	}
	if err := p.framer.WriteData(id, false, message); err != nil {
		return err
	}
	return p.headers(id, true, hpack.HeaderField{Name: "grpc-status", Value: "0"}, hpack.HeaderField{Name: "grpc-message", Value: ""})
}
