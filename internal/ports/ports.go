// Package ports gives tests loopback ports that nobody else is given meanwhile. It is imported by tests only.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// The range lies below those ports that the kernel gives to whoever asks for any (net.ipv4.ip_local_port_range), and below node ports.
const first, count = 20_000, 10_000

// Free returns a port on which nobody listens. Until the test ends no other call returns it, in no process of this machine.
func Free(t testing.TB) string {
	t.Helper()
	port, release, err := Claim()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}

// Address is a loopback address with such a port.
func Address(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", Free(t))
}

// Claim is Free for a program of the tests that is no test itself: the port is its own until it calls release, or ends.
func Claim() (port string, release func(), err error) {
	dir := filepath.Join(os.TempDir(), "heddle-test-ports")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, fmt.Errorf("making the folder of ports: %w", err)
	}
	for range 200 {
		port := strconv.Itoa(first + rand.IntN(count))
		release, err := claim(filepath.Join(dir, port))
		switch {
		case err != nil:
			return "", nil, err
		case release == nil:
		case silent(port):
			return port, release, nil
		default:
			release()
		}
	}
	return "", nil, errors.New("no free port in two hundred tries")
}

// claim locks the file, or returns nil where somebody has.
func claim(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("claiming a port: %w", err)
	}
	release = func() { _ = f.Close() }
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		release()
		return nil, nil
	}
	return release, nil
}

// silent says that nobody listens on the port, on any address of this network namespace.
func silent(port string) bool {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
