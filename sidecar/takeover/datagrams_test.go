package takeover

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
)

func listenUDP(t *testing.T, s *Sockets, at netip.AddrPort) Datagrams {
	t.Helper()
	d, err := s.ListenUDP(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// reply answers each datagram with a word, until the socket is closed.
func reply(d Datagrams, word string) (ended chan error) {
	ended = make(chan error, 1)
	go func() {
		for {
			_, from, err := d.ReadFromUDPAddrPort(make([]byte, 10))
			if err != nil {
				ended <- err
				return
			}
			_, _ = d.WriteToUDPAddrPort([]byte(word), from)
		}
	}()
	return ended
}

// question is a client with a datagram that it has sent.
func question(t *testing.T, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(c, "?")
	return c
}

func answers(t *testing.T, c net.Conn, want string) {
	t.Helper()
	answer := make([]byte, 10)
	if n, err := c.Read(answer); err != nil || string(answer[:n]) != want {
		t.Errorf("%q answers, %v, want %q", answer[:n], err, want)
	}
}

// TestDatagrams: sockets of UDP are handed on as well, also those that were opened after the next process had asked. What had been read before is answered
// through the same socket, until its owner closes it.
func TestDatagrams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sockets")
	before, after := sockets(), sockets()
	at, late := netip.MustParseAddrPort(ports.Address(t)), netip.MustParseAddrPort(ports.Address(t))
	first := listenUDP(t, before, at)
	offered(t, before, path)
	ask(t, after, path)
	reply(listenUDP(t, before, late), "first")
	reply(listenUDP(t, after, at), "second")
	reply(listenUDP(t, after, late), "second")
	slow := question(t, at)
	_, asker, err := first.ReadFromUDPAddrPort(make([]byte, 10))
	if err != nil {
		t.Fatal(err)
	}
	ended := reply(first, "first")
	if err := after.Serve(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []netip.AddrPort{at, late} {
		for range 3 {
			answers(t, question(t, at), "second")
		}
	}
	if _, err := first.WriteToUDPAddrPort([]byte("at last"), asker); err != nil {
		t.Error(err)
	}
	answers(t, slow, "at last")
	select {
	case err := <-ended:
		t.Errorf("the first one's socket ended by itself: %v", err)
	default:
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the first one's socket ended with %v", err)
	}
	answers(t, question(t, at), "second")
}

// TestAnotherKindOfSocket: what is no socket of UDP is no answer to who wants one.
func TestAnotherKindOfSocket(t *testing.T) {
	l, err := net.Listen("tcp4", ports.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	local, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "datagrams"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	for _, socket := range []interface{ File() (*os.File, error) }{l.(*net.TCPListener), local} {
		f, err := socket.File()
		if err != nil {
			t.Fatal(err)
		}
		if u, err := fileUDP(f); err == nil {
			t.Errorf("%T is %v", socket, u)
		}
		f.Close()
	}
	s, at := sockets(), netip.MustParseAddrPort(ports.Address(t))
	listenUDP(t, s, at)
	if _, err := s.ListenUDP(at); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listening twice: %v", err)
	}
}
