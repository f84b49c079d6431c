package http2

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// keptAlive opens a connection that asks its peer every ten seconds and waits three for an answer. react is told of each frame that the
// peer gets.
func keptAlive(t *testing.T, react func(*http2.Framer, http2.Frame)) exchange.Transport {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	fr := http2.NewFramer(theirs, theirs)
	go func() {
		_, _ = io.ReadFull(theirs, make([]byte, len(http2.ClientPreface)))
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			react(fr, f)
		}
	}()
	tr, err := NewCodec(CodecOptions{}).Transport(ours, &exchange.TransportInfo{Keepalive: exchange.Keepalive{Interval: 10 * time.Second, Timeout: 3 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// TestKeepaliveAsks: an idle connection is asked at each interval, with up to 15 % more, and lives while answers come.
func TestKeepaliveAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		tr := keptAlive(t, func(fr *http2.Framer, f http2.Frame) {
			if p, ok := f.(*http2.PingFrame); ok && !p.IsAck() {
				asked++
				_ = fr.WritePing(true, p.Data)
			}
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if !tr.Usable() {
			t.Error("the connection was given up")
		}
		if asked < 52 || asked > 60 {
			t.Errorf("asked %d times in ten minutes", asked)
		}
	})
}

// TestKeepaliveGivesUp: a peer that says nothing is given up in time, whether its connection is idle or not.
func TestKeepaliveGivesUp(t *testing.T) {
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			tr := keptAlive(t, func(*http2.Framer, http2.Frame) {})
			if busy {
				st, err := tr.Open()
				if err != nil {
					t.Fatal(err)
				}
				var h exchange.Head
				h.Method, h.Path = exchange.View("GET"), exchange.View("/")
				if err := st.WriteHead(&h, true); err != nil {
					t.Fatal(err)
				}
				if _, err := st.ReadHead(&h); err != exchange.ErrReset {
					t.Errorf("the stream ended with %v", err)
				}
				st.Close()
			}
			for tr.Usable() && time.Since(begun) < time.Minute {
				time.Sleep(100 * time.Millisecond)
			}
			if d := time.Since(begun); d < 13*time.Second || d > 14600*time.Millisecond {
				t.Errorf("given up after %s", d)
			}
		})
	}
}

// TestKeepaliveTakesFramesForAnAnswer: while other frames come, the answer may be behind them; an answer to another PING is none.
func TestKeepaliveTakesFramesForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		tr := keptAlive(t, func(fr *http2.Framer, f http2.Frame) {
			if p, ok := f.(*http2.PingFrame); ok && !p.IsAck() {
				time.Sleep(2 * time.Second)
				_ = fr.WritePing(true, [8]byte{1})
				time.Sleep(2 * time.Second)
				_ = fr.WritePing(true, [8]byte{2})
			}
		})
		for tr.Usable() && time.Since(begun) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		// Asked at 10 to 11.5 s, it hears something at 2 s and 4 s, looks at 3 s and 6 s, and gives up at 9 s.
		if d := time.Since(begun); d < 19*time.Second || d > 20600*time.Millisecond {
			t.Errorf("given up after %s", d)
		}
	})
}

// TestServersAreNotAsked: servers of gRPC end a connection on which they are asked oftener than every five minutes. Streams live on it for as long as they
// like, whether nothing moves on them or only the client speaks.
func TestServersAreNotAsked(t *testing.T) {
	for name, every := range map[string]time.Duration{"a silent stream": 2 * time.Hour, "an upload": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
					_ = s.SendHeader(metadata.MD{})
					<-s.Context().Done()
					return nil
				}))
				go func() { _ = server.Serve(&only{conn: theirs, done: make(chan struct{})}) }()
				defer server.Stop()
				tr, err := NewCodec(CodecOptions{}).Transport(ours, &exchange.TransportInfo{})
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				st, err := tr.Open()
				if err != nil {
					t.Fatal(err)
				}
				defer st.Close()
				h := exchange.Head{Method: exchange.View("POST"), Scheme: exchange.View("http"), Path: exchange.View("/a.B/C"), Authority: exchange.View("a")}
				h.Add("content-type", "application/grpc")
				if err := st.WriteHead(&h, false); err != nil {
					t.Fatal(err)
				}
				for begun := time.Now(); time.Since(begun) < time.Hour; time.Sleep(every) {
					if err := st.WriteBody([]byte{0, 0, 0, 0, 1, 'x'}, false); err != nil {
						t.Fatalf("after %v: %v", time.Since(begun), err)
					}
					if err := st.Flush(); err != nil {
						t.Fatalf("after %v: %v", time.Since(begun), err)
					}
				}
				if _, err := st.ReadHead(new(exchange.Head)); err != nil || !tr.Usable() {
					t.Errorf("the stream has ended: %v; the connection is usable: %v", err, tr.Usable())
				}
			})
		})
	}
}

// only listens for one connection, which is there.
type only struct {
	conn net.Conn
	done chan struct{}
}

func (o *only) Accept() (net.Conn, error) {
	if c := o.conn; c != nil {
		o.conn = nil
		return c, nil
	}
	<-o.done
	return nil, net.ErrClosed
}

func (o *only) Close() error {
	close(o.done)
	return nil
}

func (o *only) Addr() net.Addr { return &net.TCPAddr{} }
