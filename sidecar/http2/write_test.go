package http2

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// stuck is a connection whose writes arrive and do not return until they are told how many bytes the socket has taken.
type stuck struct {
	net.Conn
	took chan int

	mu  sync.Mutex
	all []byte // what arrived
}

func (s *stuck) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.all = append(s.all, p...)
	s.mu.Unlock()
	n, more := <-s.took
	if !more {
		return len(p), nil
	}
	if n < 0 {
		n += len(p)
	}
	return n, os.ErrDeadlineExceeded
}

// streams returns the streams of which frames have arrived.
func (s *stuck) streams(t *testing.T) map[uint32]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := map[uint32]bool{}
	fr := http2.NewFramer(nil, bytes.NewReader(s.all[len(preface):]))
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return got
		}
		got[f.Header().StreamID] = true
	}
}

// TestWriteUnderWay: a connection ends while a write is under way. What the peer may have is not "refused", which would send it again; what was
// only queued is, and must not leave any more.
func TestWriteUnderWay(t *testing.T) {
	type ends struct {
		tr     exchange.Transport
		conn   *stuck
		theirs net.Conn
	}
	reset, refused := exchange.ErrReset, exchange.ErrRefused
	for name, c := range map[string]struct {
		end  func(*testing.T, ends)
		want error
	}{
		"closed here":        {func(_ *testing.T, e ends) { e.tr.Close() }, reset},
		"drained":            {func(_ *testing.T, e ends) { e.tr.Drain(); e.tr.Close() }, reset},
		"closed there":       {func(_ *testing.T, e ends) { e.theirs.Close() }, reset},
		"the peer is silent": {func(*testing.T, ends) { time.Sleep(4 * tick) }, reset},
		"the peer breaks the rules": {func(t *testing.T, e ends) {
			if err := http2.NewFramer(e.theirs, nil).WritePing(false, [8]byte{}); err != nil {
				t.Fatal(err)
			}
			if _, err := e.theirs.Write(appendData(nil, 0, []byte("x"), false)); err != nil {
				t.Fatal(err)
			}
		}, reset},
		"the write fails late":     {func(_ *testing.T, e ends) { e.conn.took <- -1 }, reset},
		"the write fails at once":  {func(_ *testing.T, e ends) { e.conn.took <- 0 }, refused},
		"the write fails too soon": {func(_ *testing.T, e ends) { e.conn.took <- len(preface) + 9 }, refused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				conn := &stuck{Conn: ours, took: make(chan int)}
				tr, err := NewCodec(CodecOptions{}).Transport(conn, &exchange.TransportInfo{Keepalive: exchange.Keepalive{Interval: tick, Timeout: tick}})
				if err != nil {
					t.Fatal(err)
				}
				post := func() exchange.Stream {
					st, err := tr.Open()
					if err != nil {
						t.Fatal(err)
					}
					var h exchange.Head
					h.Method, h.Path = exchange.View("POST"), exchange.View("/")
					if err := st.WriteHead(&h, true); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					return st
				}
				written, queued := post(), post()
				c.end(t, ends{tr, conn, theirs})
				synctest.Wait()
				var h exchange.Head
				if _, err := written.ReadHead(&h); err != c.want {
					t.Errorf("the request in the write: %v, want %v", err, c.want)
				}
				if _, err := queued.ReadHead(&h); err != refused {
					t.Errorf("the request behind it: %v", err)
				}
				close(conn.took)
				time.Sleep(time.Second)
				if got := conn.streams(t); !got[1] || got[3] {
					t.Errorf("frames of streams %v have left", got)
				}
				written.Close()
				queued.Close()
				tr.Close()
				theirs.Close()
			})
		})
	}
}

// sluggish reads a little at a time.
type sluggish struct {
	net.Conn
	pause time.Duration
}

func (s sluggish) Read(p []byte) (int, error) {
	time.Sleep(s.pause)
	return s.Conn.Read(p[:min(len(p), 1<<10)])
}

// socket looks like one: writes to it can be gone on with.
type socket struct{ net.Conn }

func (socket) SyscallConn() (syscall.RawConn, error) { return nil, os.ErrInvalid }
func (socket) CloseWrite() error                     { return os.ErrInvalid }

// tlsLike is broken, as TLS is, by the first write that runs into its deadline.
type tlsLike struct {
	net.Conn
	broken error
}

func (c *tlsLike) Write(p []byte) (n int, err error) {
	if c.broken != nil {
		return 0, c.broken
	}
	n, c.broken = c.Conn.Write(p)
	return n, c.broken
}

// TestSlowReaders: a client that takes a little now and then is slow, not dead.
func TestSlowReaders(t *testing.T) {
	for name, c := range map[string]struct {
		wrap  func(net.Conn) net.Conn
		pause time.Duration
	}{
		"a socket": {func(nc net.Conn) net.Conn { return socket{nc} }, 20 * time.Second},
		"TLS":      {func(nc net.Conn) net.Conn { return &tlsLike{Conn: nc} }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 200 << 10
				h := body{n: size, done: make(chan error, 1)}
				s := NewServer(ServerOptions{Handler: h, Recorder: &counted{}, Log: slog.New(slog.DiscardHandler)})
				p := pipedBy(t, &config.HTTP{StreamIdle: time.Minute}, s, nil, c.wrap, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
				defer p.nc.Close()
				p.must(t, p.WriteWindowUpdate(0, 1<<30))
				p.open(p.get(), true)
				fr, got := http2.NewFramer(nil, sluggish{p.nc, c.pause}), 0
				for end := false; !end; {
					f, err := fr.ReadFrame()
					if err != nil {
						t.Fatalf("after %d bytes: %v", got, err)
					}
					if d, ok := f.(*http2.DataFrame); ok {
						got, end = got+len(d.Data()), d.StreamEnded()
					}
				}
				if err := <-h.done; err != nil || got != size {
					t.Errorf("%d bytes, %v", got, err)
				}
			})
		})
	}
}
