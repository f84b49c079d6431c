//go:build !race || norace

package http2_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer speaks HTTP/2 by rote, without allocating, so that what is counted is the proxy's.
type peer struct {
	nc  net.Conn
	buf [64 << 10]byte
	r   int
	w   int
}

// frame reads a frame and returns its type, flags, stream and payload, which the next call overwrites.
func (p *peer) frame() (t xhttp2.FrameType, f xhttp2.Flags, id uint32, payload []byte, err error) {
	if err = p.need(9); err != nil {
		return
	}
	h := p.buf[p.r:]
	n := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	t, f, id = xhttp2.FrameType(h[3]), xhttp2.Flags(h[4]), binary.BigEndian.Uint32(h[5:])
	if err = p.need(9 + n); err != nil {
		return
	}
	payload = p.buf[p.r+9 : p.r+9+n]
	p.r += 9 + n
	return
}

func (p *peer) need(n int) error {
	for p.w-p.r < n {
		if p.r > 0 {
			p.w = copy(p.buf[:], p.buf[p.r:p.w])
			p.r = 0
		}
		m, err := p.nc.Read(p.buf[p.w:])
		if err != nil {
			return err
		}
		p.w += m
	}
	return nil
}

// message is frames whose stream is filled in later.
type message struct {
	bytes []byte
	ids   []int
}

func (m *message) add(f func(fr *xhttp2.Framer)) {
	var b bytes.Buffer
	fr := xhttp2.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	f(fr)
	m.ids = append(m.ids, len(m.bytes)+5)
	m.bytes = append(m.bytes, b.Bytes()...)
}

func (m *message) on(id uint32) []byte {
	for _, at := range m.ids {
		binary.BigEndian.PutUint32(m.bytes[at:], id)
	}
	return m.bytes
}

func block(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSize(0)
	b.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})
	}
	return bytes.TrimPrefix(b.Bytes(), []byte{0x20})
}

// backend answers every request with the shape of a unary gRPC call.
func backend(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var reply message
	reply.add(func(f *xhttp2.Framer) {
		_ = f.WriteHeaders(xhttp2.HeadersFrameParam{BlockFragment: block(":status", "200", "content-type", "application/grpc"), EndHeaders: true})
	})
	reply.add(func(f *xhttp2.Framer) { _ = f.WriteData(0, false, make([]byte, 69)) })
	reply.add(func(f *xhttp2.Framer) {
		_ = f.WriteHeaders(xhttp2.HeadersFrameParam{BlockFragment: block("grpc-status", "0", "grpc-message", ""), EndHeaders: true, EndStream: true})
	})
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go answer(nc, message{bytes.Clone(reply.bytes), reply.ids})
		}
	}()
	return l.Addr().String()
}

func answer(nc net.Conn, reply message) {
	defer nc.Close()
	p := &peer{nc: nc}
	if _, err := io.ReadFull(nc, make([]byte, len(xhttp2.ClientPreface))); err != nil {
		return
	}
	_ = xhttp2.NewFramer(nc, nil).WriteSettings()
	_ = xhttp2.NewFramer(nc, nil).WriteWindowUpdate(0, 1<<30)
	for {
		t, f, id, _, err := p.frame()
		if err != nil {
			return
		}
		if (t == xhttp2.FrameData || t == xhttp2.FrameHeaders) && f&xhttp2.FlagDataEndStream != 0 {
			if _, err := nc.Write(reply.on(id)); err != nil {
				return
			}
		}
	}
}

// caller makes unary calls, one after the other.
type caller struct {
	peer
	call message
	next uint32
}

func newCaller(t testing.TB, addr string) *caller {
	c := &caller{}
	c.connect(t, addr)
	return c
}

func (c *caller) connect(t testing.TB, addr string) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c.nc, c.next = nc, 1
	_, _ = io.WriteString(nc, xhttp2.ClientPreface)
	_ = xhttp2.NewFramer(nc, nil).WriteSettings()
	_ = xhttp2.NewFramer(nc, nil).WriteWindowUpdate(0, 1<<30)
	c.call.add(func(f *xhttp2.Framer) {
		_ = f.WriteHeaders(xhttp2.HeadersFrameParam{EndHeaders: true, BlockFragment: block(":method", "POST", ":scheme", "http", ":path", "/shop.Catalog/Get",
			":authority", "catalog:9000", "content-type", "application/grpc", "user-agent", "grpc-go/1.85.0", "te", "trailers")})
	})
	c.call.add(func(f *xhttp2.Framer) { _ = f.WriteData(0, true, make([]byte, 69)) })
}

func (c *caller) do(t testing.TB) {
	id := c.next
	c.next += 2
	if _, err := c.nc.Write(c.call.on(id)); err != nil {
		t.Fatal(err)
	}
	for {
		_, f, got, _, err := c.frame()
		if err != nil {
			t.Fatal(err)
		}
		if got == id && f&xhttp2.FlagDataEndStream != 0 {
			return
		}
	}
}

// What a unary gRPC call costs in memory, all of forward included. The rest is HPACK's: a string for each literal that
// the peer sends, and what x/net's Framer makes of each HEADERS frame.
func TestAllocationsPerCall(t *testing.T) {
	m := build(t, backend(t), options{h2Down: true, h2Up: true})
	c := newCaller(t, m.addr)
	for range 200 {
		c.do(t)
	}
	const n = 2000
	m.log.mu.Lock()
	m.log.ended = make([]entry, 0, n+1000)
	m.log.mu.Unlock()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		c.do(t)
	}
	runtime.ReadMemStats(&after)
	allocs := float64(after.Mallocs-before.Mallocs) / n
	size := float64(after.TotalAlloc-before.TotalAlloc) / n
	t.Logf("%.1f allocations, %.0f bytes per call", allocs, size)
	if allocs > 20 || size > 1500 {
		t.Errorf("%.1f allocations, %.0f bytes per call", allocs, size)
	}
}

func BenchmarkCall(b *testing.B) {
	m := build(b, backend(b), options{h2Down: true, h2Up: true})
	c := newCaller(b, m.addr)
	b.ReportAllocs()
	for b.Loop() {
		c.do(b)
	}
}

// What a client's connection holds after a call (the test's own end included): Envoy holds 37 KB.
func TestMemoryPerIdleConnection(t *testing.T) {
	m := build(t, backend(t), options{h2Down: true, h2Up: true})
	const n = 200
	var before, after runtime.MemStats
	settle := func(s *runtime.MemStats) { runtime.GC(); runtime.GC(); runtime.ReadMemStats(s) }
	newCaller(t, m.addr).do(t)
	callers := make([]*caller, n)
	for i := range callers {
		callers[i] = &caller{} // callers weigh more than what they call: they come first
	}
	settle(&before)
	for _, c := range callers {
		c.connect(t, m.addr)
		c.do(t)
	}
	settle(&after)
	each := (int(after.HeapAlloc) - int(before.HeapAlloc) + int(after.StackInuse) - int(before.StackInuse)) / n
	t.Logf("%d bytes", each)
	if each > 16<<10 {
		t.Errorf("%d bytes per idle connection", each)
	}
	runtime.KeepAlive(callers)
}
