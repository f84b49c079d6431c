package http2

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

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
