package http1

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/forward"
	"github.com/heddle-mesh/heddle/sidecar/listener"
)

// late is a connection whose goroutine is so late to wait that it is to rest by then.
type late struct {
	net.Conn
	c *conn
}

func (l late) Read(p []byte) (int, error) {
	l.c.kick(l.c.watch.mark.Load())
	return l.Conn.Read(p)
}

// TestAnswersBeforeItRests holds that an answer which was to leave with the wait for the next request leaves, too, where there was no time to wait.
func TestAnswersBeforeItRests(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	c := NewServer(Options{}).conns.Get().(*conn)
	c.begins(visit{sess: &listener.Session{Conn: near}, patience: time.Hour / 4}, nil)
	defer c.forget()
	c.src.nc = late{c.src.nc, c}
	c.sock.Hold(false)
	if _, err := io.WriteString(c.sock, "answer"); err != nil {
		t.Fatal(err)
	}
	if err := c.fill(true); err != nil || c.rests || c.sock.Holds() {
		t.Errorf("waiting: %v; rests: %v; still held: %v", err, c.rests, c.sock.Holds())
	}
	_ = client.SetReadDeadline(time.Now().Add(30 * time.Second))
	got := make([]byte, 6)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "answer" {
		t.Errorf("got %q (%v)", got, err)
	}
	if err := c.fill(true); err != errGone || !c.rests {
		t.Errorf("afterwards: %v; rests: %v", err, c.rests)
	}
}

// TestPressedWrites: where memory is full, a client that takes nothing is given up after a minute, whatever the timeouts; where it is not, it is not.
func TestPressedWrites(t *testing.T) {
	for _, full := range []bool{false, true} {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		s := NewServer(Options{Proxy: forward.New(forward.Options{Overloaded: func() bool { return full }})})
		c := s.conns.Get().(*conn)
		c.begins(visit{sess: &listener.Session{Conn: ours}, patience: time.Hour}, nil)
		done := make(chan error)
		go func() {
			c.sink.begin()
			_ = c.sink.write([]byte("answer"))
			done <- c.sink.flush()
		}()
		for c.watch.write.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		s.sentry.now.Add(uint64(pressedStall/silence) - 100)
		time.Sleep(20 * silence)
		if c.watch.write.Load() == 0 {
			t.Fatalf("full %v: given up too early: %v", full, <-done)
		}
		s.sentry.now.Add(200)
		time.Sleep(20 * silence)
		if !full {
			_, _ = theirs.Read(make([]byte, 6))
		}
		if err := <-done; (err == exchange.ErrTimeout) != full {
			t.Errorf("full %v: %v", full, err)
		}
		c.forget()
	}
}
