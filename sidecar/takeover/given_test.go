package takeover

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// TestNothingIsOpenedOnceGiven: a process from which another one has taken over opens no more sockets, which the other one could then not open.
func TestNothingIsOpenedOnceGiven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sockets")
	before, after := sockets(), sockets()
	had := open(t, before)
	taken := offered(t, before, path)
	ask(t, after, path)
	listen(t, after, "tcp4", had.Addr().String())
	if err := after.Serve(); err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	late, local := ports.Address(t), filepath.Join(t.TempDir(), "app")
	for _, at := range [][2]string{{"tcp4", late}, {"tcp4", had.Addr().String()}, {"unix", local}} {
		if l, err := before.Listen(at[0], at[1]); !errors.Is(err, net.ErrClosed) {
			t.Errorf("listening at %s: %v, %v", at, l, err)
		}
	}
	if d, err := before.ListenUDP(netip.MustParseAddrPort(late)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listening at %s: %v, %v", late, d, err)
	}
	listen(t, after, "tcp4", late)
	listen(t, after, "unix", local)
}

// TestOpeningWhileGiving: what a process opens in the very moment in which another one takes over is either handed on or closed.
func TestOpeningWhileGiving(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sockets")
	before, after := sockets(), sockets()
	taken := offered(t, before, path)
	ask(t, after, path)
	var all []string
	for range 8 {
		all = append(all, ports.Address(t))
	}
	opened := make(chan error, len(all))
	for _, at := range all {
		go func() {
			l, err := before.Listen("tcp4", at)
			if err == nil {
				t.Cleanup(func() { _ = l.Close() })
			}
			opened <- err
		}()
	}
	if err := after.Serve(); err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	for range all {
		if err := <-opened; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	for _, at := range all {
		if c, err := net.Dial("tcp4", at); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("somebody listens at %s: %v", at, err)
			if err == nil {
				_ = c.Close()
			}
		}
	}
}
