package takeover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// sockets are those of a process that says nothing.
func sockets() *Sockets { return New(slog.New(slog.DiscardHandler)) }

// greet answers each connection with a word, until the listener is closed.
func greet(l net.Listener, word string) (ended chan error) {
	ended = make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			_, _ = io.WriteString(c, word)
			c.Close()
		}
	}()
	return ended
}

func greeting(t *testing.T, network, address string) string {
	t.Helper()
	c, err := net.DialTimeout(network, address, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func listen(t *testing.T, s *Sockets, network, address string) net.Listener {
	t.Helper()
	l, err := s.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// open listens on a port of 127.0.0.1, under its number.
func open(t *testing.T, s *Sockets) net.Listener {
	t.Helper()
	return listen(t, s, "tcp4", ports.Address(t))
}

// offered offers sockets until the test ends, and says how that went.
func offered(t *testing.T, s *Sockets, path string) (taken chan error) {
	t.Helper()
	taken, _ = offering(t, s, path)
	return taken
}

// ending offers sockets until it is called, as of a process that ends.
func ending(t *testing.T, s *Sockets, path string) (end func()) {
	t.Helper()
	_, end = offering(t, s, path)
	return end
}

func offering(t *testing.T, s *Sockets, path string) (taken chan error, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	taken, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		was, err := s.Offer(ctx, path)
		if err == nil && !was {
			err = errors.New("nobody has taken over")
		}
		taken <- err
	}()
	end = func() { cancel(); <-done }
	t.Cleanup(end)
	return taken, end
}

// ask asks until somebody offers.
func ask(t *testing.T, s *Sockets, path string) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		found, err := s.Ask(path)
		if found {
			return
		}
		if err != nil || time.Now().After(until) {
			t.Fatalf("nobody offers: %v", err)
		}
	}
}

// TestTakeover: who asks accepts nothing before it says that it serves, and everything from then on; also of sockets that were opened after it had asked. The
// one before sees its listeners silent until it closes them. What nobody wants any more is closed.
func TestTakeover(t *testing.T) {
	dir := t.TempDir()
	path, app := filepath.Join(dir, "sockets"), filepath.Join(dir, "app")
	before, after := sockets(), sockets()
	tcp, useless, local := open(t, before), open(t, before), listen(t, before, "unix", app)
	at := tcp.Addr().String()
	firstEnded := greet(tcp, "first")
	greet(local, "first")
	taken := offered(t, before, path)
	ask(t, after, path)
	late := open(t, before)
	greet(late, "first")
	for _, l := range []net.Listener{listen(t, after, "tcp4", at), listen(t, after, "unix", app), listen(t, after, "tcp4", late.Addr().String())} {
		greet(l, "second")
	}
	for range 20 {
		if got := greeting(t, "tcp", at); got != "first" {
			t.Fatalf("the %s answers before it serves", got)
		}
	}
	if err := after.Serve(); err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	for _, to := range [][2]string{{"tcp", at}, {"unix", app}, {"tcp", late.Addr().String()}} {
		if got := greeting(t, to[0], to[1]); got != "second" {
			t.Errorf("the %s answers at %s", got, to[1])
		}
	}
	select {
	case err := <-firstEnded:
		t.Errorf("the first one's listener ended by itself: %v", err)
	default:
	}
	if err := tcp.Close(); err != nil {
		t.Error(err)
	}
	<-firstEnded
	if got := greeting(t, "tcp", at); got != "second" {
		t.Errorf("the %s answers when the first has closed its listener", got)
	}
	if c, err := net.Dial("tcp", useless.Addr().String()); err == nil {
		c.Close()
		t.Error("a socket that nobody asked for is open")
	}
	third := sockets() // from the second, at the same path
	offered(t, after, path)
	ask(t, third, path)
	greet(listen(t, third, "tcp4", at), "third")
	if err := third.Serve(); err != nil {
		t.Fatal(err)
	}
	if got := greeting(t, "tcp", at); got != "third" {
		t.Errorf("the %s answers at last", got)
	}
}

// TestWhoDoesNotComeUp: one that asks and then ends, or says nonsense, changes nothing, and the next may ask.
func TestWhoDoesNotComeUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sockets")
	before := sockets()
	l := open(t, before)
	greet(l, "first")
	offered(t, before, path)
	for range 2 {
		failed := sockets()
		ask(t, failed, path)
		_ = listen(t, failed, "tcp4", l.Addr().String())
		_ = failed.first.conn.Close()
		if got := greeting(t, "tcp", l.Addr().String()); got != "first" {
			t.Errorf("the %s answers", got)
		}
	}
	odd, err := net.Dial(network, path)
	if err != nil {
		t.Fatal(err)
	}
	defer odd.Close()
	_, _ = io.WriteString(odd, "give")
	if _, err := odd.Read(make([]byte, 10)); err == nil {
		t.Error("there is an answer to nonsense")
	}
	if got := greeting(t, "tcp", l.Addr().String()); got != "first" {
		t.Errorf("the %s answers", got)
	}
}

// TestThePredecessorDies: its sockets are the next one's all the same.
func TestThePredecessorDies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sockets")
	before, after := sockets(), sockets()
	l := open(t, before)
	at := l.Addr().String()
	die := ending(t, before, path)
	ask(t, after, path)
	greet(listen(t, after, "tcp4", at), "second")
	die()
	l.Close()
	if err := after.Serve(); err == nil {
		t.Error("it is not said that the one before is gone")
	}
	if got := greeting(t, "tcp", at); got != "second" {
		t.Errorf("the %s answers", got)
	}
	if found, err := sockets().Ask(path); found || err != nil {
		t.Errorf("asking where nobody is any more: %t, %v", found, err)
	}
}

// TestManySockets: there may be more than one message holds.
func TestManySockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sockets")
	before, after := sockets(), sockets()
	const many = 2*batch + 1
	for i := range many {
		_ = listen(t, before, "unix", filepath.Join(filepath.Dir(path), fmt.Sprint(i)))
	}
	offered(t, before, path)
	ask(t, after, path)
	if len(after.kept) != many {
		t.Errorf("%d sockets, want %d", len(after.kept), many)
	}
	if err := after.Serve(); err != nil {
		t.Error(err)
	}
}

// TestWhereOthersMayWrite: whoever may write to the folder could be asked for the sockets in this process's stead.
func TestWhereOthersMayWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := sockets().Offer(t.Context(), filepath.Join(dir, "sockets")); err == nil || !strings.Contains(err.Error(), "others may write") {
		t.Errorf("error %v", err)
	}
}

// TestNobodyBefore: without a process before, and without Sockets, sockets are opened as ever.
func TestNobodyBefore(t *testing.T) {
	s := sockets()
	if found, err := s.Ask(filepath.Join(t.TempDir(), "sockets")); found || err != nil {
		t.Errorf("%t, %v", found, err)
	}
	if err := s.Serve(); err != nil {
		t.Error(err)
	}
	for _, s := range []*Sockets{s, nil} {
		l, err := s.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := greet(l, "hello")
		if got := greeting(t, "tcp", l.Addr().String()); got != "hello" {
			t.Errorf("%q", got)
		}
		l.Close()
		<-ended
		d, err := s.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
	}
}
