package check

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// tardy answers a check when its deadline has passed and its end has been noticed, which takes a while.
type tardy struct {
	exchange.Stream
	noticed chan struct{}
	given   atomic.Bool // back, for others to use
	late    chan bool   // it was given back before the end was noticed
}

func newTardy() *tardy { return &tardy{noticed: make(chan struct{}), late: make(chan bool, 1)} }

func (s *tardy) notice() {
	close(s.noticed)
	time.Sleep(50 * time.Millisecond)
	s.late <- s.given.Load()
}

func (s *tardy) SetDeadline(time.Time)                {}
func (s *tardy) WriteHead(*exchange.Head, bool) error { return nil }
func (s *tardy) ReadHead(*exchange.Head) (bool, error) {
	<-s.noticed
	return false, exchange.ErrTimeout
}
func (s *tardy) Abort()         { s.notice() }
func (s *tardy) Reusable() bool { return true }
func (s *tardy) Close()         { s.given.Store(true) }

// tardyWire carries one.
type tardyWire struct {
	exchange.Transport
	s *tardy
}

func (w *tardyWire) Alive() bool  { return true }
func (w *tardyWire) Close() error { return nil }

func (w *tardyWire) Open() (exchange.Stream, error) { return w.s, nil }

// tardyConn is the same for checks that only connect: they may keep the connection.
type tardyConn struct {
	net.Conn
	s *tardy
}

func (c *tardyConn) SetDeadline(t time.Time) error {
	if t.Unix() == 1 {
		c.s.notice()
	}
	return nil
}

func (c *tardyConn) Write(p []byte) (int, error) { return len(p), nil }
func (c *tardyConn) Read(p []byte) (int, error) {
	<-c.s.noticed
	return copy(p, "pong"), nil
}
func (c *tardyConn) Close() error { return nil }

// alone is a host that is connected to already.
type alone struct{ Target }

func (alone) Face() any     { return 1 }
func (alone) Secured() bool { return false }
func (alone) Name() string  { return "c" }

// TestLateEndOfAProbe: a check that runs out of time is over before its stream is given back, whose memory serves somebody's request next.
func TestLateEndOfAProbe(t *testing.T) {
	for name, kind := range map[string]Kind{"HTTP": HTTP, "TCP": TCP} {
		t.Run(name, func(t *testing.T) {
			s := newTardy()
			p := Prober{Target: alone{}, face: 1, proto: exchange.HTTP1, t: &tardyWire{s: s}, raw: &tardyConn{s: s}}
			p.Probe(context.Background(), &Config{Kind: kind, Timeout: time.Millisecond, Reuse: true, Method: "GET", Path: "/", Receive: [][]byte{[]byte("pong")}})
			s.given.Store(true)
			if <-s.late {
				t.Error("the end of the check came after it")
			}
		})
	}
}
