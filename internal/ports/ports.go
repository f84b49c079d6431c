// Package ports gives tests loopback ports that nobody else is given meanwhile. It is imported by tests only.
package ports

import (
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
	dir := filepath.Join(os.TempDir(), "heddle-test-ports")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		port := strconv.Itoa(first + rand.IntN(count))
		if claim(t, filepath.Join(dir, port)) && silent(port) {
			return port
		}
	}
	t.Fatal("no free port in two hundred tries")
	return ""
}

// Address is a loopback address with such a port.
func Address(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", Free(t))
}

// claim locks the file until the test ends, or says that somebody has.
func claim(t testing.TB, path string) bool {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = f.Close()
		return false
	}
	t.Cleanup(func() { _ = f.Close() })
	return true
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
