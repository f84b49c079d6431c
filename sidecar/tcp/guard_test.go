package tcp

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// narrow are two ends of a TCP connection for which the kernel keeps little: small segments, small buffers.
func narrow(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (failed error) {
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1000)
			if failed == nil {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<10)
			}
		})
		if err != nil {
			return err
		}
		return failed
	}}
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

// begin relays between a client and an upstream, with an idle timeout.
func begin(client, up net.Conn, idle time.Duration) (*relay, <-chan struct{}) {
	r := &relay{client: client, up: &far{Conn: up}, idle: idle, recorder: &tally{}, log: slog.New(slog.DiscardHandler)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run(nil, nil, 0)
	}()
	return r, done
}

func awaitEnd(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("the relay never ends")
	}
}

// TestSlowDestination holds that a destination which takes its time is served, be it inside one write or after the last, and that the relay counts as
// idle only once it has everything.
func TestSlowDestination(t *testing.T) {
	const idle, piece = 200 * time.Millisecond, 4 << 10
	for name, c := range map[string]struct{ size, sndbuf int }{"a write that takes long": {256 << 10, 16 << 10}, "nothing but the kernel's to do": {160 << 10, 400 << 10}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, client := sockets(t)
			up, out := narrow(t)
			_ = up.SetWriteBuffer(c.sndbuf)
			r, done := begin(client, up, idle)
			sent := bytes.Repeat([]byte("0123456789abcdef"), c.size/16)
			go func() { _, _ = in.Write(sent) }()
			_ = out.SetReadDeadline(time.Now().Add(60 * time.Second))
			got := make([]byte, c.size)
			for n := 0; n < c.size; n += piece {
				time.Sleep(20 * time.Millisecond) // this is what makes it slow
				if _, err := io.ReadFull(out, got[n:n+piece]); err != nil {
					t.Fatalf("after %d of %d bytes: %v, %v", n, c.size, err, r.outcome())
				}
			}
			if !bytes.Equal(got, sent) {
				t.Error("it got something else than what was sent")
			}
			awaitEnd(t, done)
			if r.outcome() != exchange.SessionIdle || r.received.Load() != int64(c.size) {
				t.Errorf("ended as %v, with %d bytes", r.outcome(), r.received.Load())
			}
		})
	}
}

// TestStalledDestination: whoever takes nothing for the idle time is given up, even while the other way moves.
func TestStalledDestination(t *testing.T) {
	for name, answers := range map[string]bool{"nothing else moves": false, "it goes on speaking": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, client := sockets(t)
			up, out := narrow(t)
			r, done := begin(client, up, 200*time.Millisecond)
			go func() {
				for p := make([]byte, 1<<20); ; {
					if _, err := in.Write(p); err != nil {
						return
					}
				}
			}()
			if answers {
				go func() { _, _ = io.Copy(io.Discard, in) }()
				go func() {
					for {
						if _, err := out.Write([]byte("x")); err != nil {
							return
						}
						time.Sleep(10 * time.Millisecond)
					}
				}()
			}
			awaitEnd(t, done)
			if r.outcome() != exchange.SessionIdle {
				t.Errorf("ended as %v", r.outcome())
			}
		})
	}
}
