package sock_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/sock"
)

// pair returns a Conn and its other end.
func pair(t testing.TB) (*sock.Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	c, err := sock.New(near.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	return c, far.(*net.TCPConn)
}

// nothing fails the test if something arrives.
func nothing(t testing.TB, far net.Conn) {
	t.Helper()
	_ = far.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if n, err := far.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes arrived (%v)", n, err)
	}
	_ = far.SetReadDeadline(time.Time{})
}

func write(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if n, err := io.WriteString(c, text); err != nil || n != len(text) {
		t.Fatalf("wrote %d: %v", n, err)
	}
}

func read(t testing.TB, c net.Conn, n int) string {
	t.Helper()
	buf := make([]byte, n)
	if _, err := io.ReadFull(c, buf); err != nil {
		t.Fatal(err)
	}
	return string(buf)
}

func TestHeldWriteLeavesWithTheRead(t *testing.T) {
	c, far := pair(t)
	sent := 0
	c.Sent = func() { sent++ }
	c.Hold(false)
	write(t, c, "ques")
	write(t, c, "tion")
	if !c.Holds() {
		t.Error("nothing is held")
	}
	nothing(t, far)
	go func() {
		if read(t, far, 8) == "question" {
			write(t, far, "answer")
		}
	}()
	if got := read(t, c, 6); got != "answer" || sent != 1 || c.Holds() {
		t.Errorf("read %q, sent %d times, still holding %v", got, sent, c.Holds())
	}
	write(t, c, "at once")
	if got := read(t, far, 7); got != "at once" {
		t.Errorf("arrived: %q", got)
	}
}

func TestRelease(t *testing.T) {
	c, far := pair(t)
	c.Hold(false)
	write(t, c, "held")
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, far, 4); got != "held" || c.Holds() {
		t.Errorf("arrived: %q", got)
	}
}

func TestLongWritesAreNotHeld(t *testing.T) {
	c, far := pair(t)
	c.Hold(false)
	write(t, c, "first ")
	long := string(bytes.Repeat([]byte("x"), 5000))
	write(t, c, long)
	if got := read(t, far, 5006); got != "first "+long {
		t.Errorf("arrived: %q", got)
	}
}

// A socket that is full takes the held write later.
func TestHeldWriteThatDoesNotFit(t *testing.T) {
	c, far := pair(t)
	_ = c.NetConn().(*net.TCPConn).SetWriteBuffer(4096)
	_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	sent := 0
	for {
		n, err := c.Write(make([]byte, 1000))
		if sent += n; err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	_ = c.SetWriteDeadline(time.Time{})
	c.Hold(false)
	write(t, c, "question")
	go func() {
		time.Sleep(20 * time.Millisecond)
		if _, err := io.CopyN(io.Discard, far, int64(sent)); err != nil {
			return
		}
		if read(t, far, 8) == "question" {
			write(t, far, "answer")
		}
	}()
	if got := read(t, c, 6); got != "answer" {
		t.Errorf("read %q", got)
	}
}

// What the other side said before it closed is read, though it takes no question any more.
func TestAnswerBeforeTheQuestion(t *testing.T) {
	c, far := pair(t)
	write(t, far, "408")
	_ = far.Close()
	time.Sleep(10 * time.Millisecond)
	c.Hold(false)
	write(t, c, "question")
	if got := read(t, c, 3); got != "408" {
		t.Errorf("read %q", got)
	}
}

func TestDeadlineAndEnd(t *testing.T) {
	c, far := pair(t)
	c.Hold(false)
	write(t, c, "question")
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if got := read(t, far, 8); got != "question" {
		t.Errorf("arrived: %q", got)
	}
	_ = c.SetReadDeadline(time.Time{})
	_ = far.CloseWrite()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	_ = c.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Questions and answers in a hurry, with the answer sometimes there before the wait begins.
func TestNoAnswerIsMissed(t *testing.T) {
	c, far := pair(t)
	go func() {
		buf := make([]byte, 64)
		for {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			if _, err := far.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	for i := range 5_000 {
		c.Hold(i%2 == 0)
		write(t, c, "ping")
		if got := read(t, c, 4); got != "ping" {
			t.Fatalf("read %q", got)
		}
	}
}

// What came while nobody read, and before the wait, is not missed.
func TestWhatHadCome(t *testing.T) {
	c, far := pair(t)
	for range 3 {
		write(t, far, "early")
		time.Sleep(5 * time.Millisecond)
		c.Hold(false)
		write(t, c, "held")
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if got := read(t, c, 5); got != "early" {
			t.Errorf("read %q", got)
		}
		if got := read(t, far, 4); got != "held" {
			t.Errorf("arrived: %q", got)
		}
	}
}

func TestUnasked(t *testing.T) {
	for name, first := range map[string]func(far *net.TCPConn){
		"speaks": func(far *net.TCPConn) { write(t, far, "x") },
		"closes": func(far *net.TCPConn) { _ = far.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			c, far := pair(t)
			first(far)
			time.Sleep(10 * time.Millisecond)
			c.Hold(true)
			write(t, c, "question")
			if _, err := c.Read(make([]byte, 8)); err != sock.ErrUnasked || c.Holds() {
				t.Errorf("reading: %v", err)
			}
			nothing(t, far)
		})
	}
}

// TestEnded holds that the end is noticed behind what nobody has read yet, which stays, and that more to read is no end.
func TestEnded(t *testing.T) {
	for name, end := range map[string]func(far *net.TCPConn){
		"its half is ended": func(far *net.TCPConn) { _ = far.CloseWrite() },
		"it is reset":       func(far *net.TCPConn) { _ = far.SetLinger(0); _ = far.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c, far := pair(t)
			write(t, far, "unread")
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
			if err := c.Ended(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("while there is something to read: %v", err)
			}
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
			noticed := make(chan error, 1)
			go func() { noticed <- c.Ended() }()
			write(t, far, ", too")
			end(far)
			if err := <-noticed; err != nil {
				t.Fatal(err)
			}
			if name == "its half is ended" {
				if got := read(t, c, 11); got != "unread, too" {
					t.Errorf("read %q", got)
				}
			}
		})
	}
}
