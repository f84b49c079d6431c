package takeover

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// pathGoes waits until nothing is at a path.
func pathGoes(t *testing.T, path string) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil || time.Now().After(until) {
			t.Fatalf("%s is still there (%v)", path, err)
		}
	}
}

// lent says whether another process has sockets of this one.
func lent(s *Sockets) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h := range s.open {
		if h.lent > 0 {
			return true
		}
	}
	return false
}

// local is two sockets, one of which has a path.
type local struct{ tcp, app net.Listener }

func openBoth(t *testing.T, s *Sockets, word, tcp, app string) local {
	t.Helper()
	out := local{listen(t, s, "tcp4", tcp), listen(t, s, "unix", app)}
	greet(out.tcp, word)
	greet(out.app, word)
	return out
}

func (l local) close() {
	l.tcp.Close()
	l.app.Close()
}

// TestPathsOfWhoDoesNotComeUp: a process that has asked, listens, and ends before it serves leaves paths alone, but for those that are its own.
func TestPathsOfWhoDoesNotComeUp(t *testing.T) {
	dir := t.TempDir()
	path, app, own := filepath.Join(dir, "sockets"), filepath.Join(dir, "app"), filepath.Join(dir, "own")
	before, after := sockets(), sockets()
	first := openBoth(t, before, "first", ports.Address(t), app)
	offered(t, before, path)
	ask(t, after, path)
	mine := listen(t, after, "unix", own)
	for _, l := range []net.Listener{listen(t, after, "tcp4", first.tcp.Addr().String()), listen(t, after, "unix", app), mine} {
		l.Close()
	}
	_ = after.first.conn.Close()
	pathGoes(t, own)
	for _, at := range []net.Listener{first.tcp, first.app} {
		if got := greeting(t, at.Addr().Network(), at.Addr().String()); got != "first" {
			t.Errorf("the %s answers at %s", got, at.Addr())
		}
	}
	for until := time.Now().Add(30 * time.Second); lent(before); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("its end is not noticed")
		}
	}
	first.close()
	pathGoes(t, app)
}

// TestPathsOfAPredecessorThatEnds: who has lent its sockets to a process that asks may close them, or end: their paths are the other's then.
func TestPathsOfAPredecessorThatEnds(t *testing.T) {
	dir := t.TempDir()
	path, app, useless := filepath.Join(dir, "sockets"), filepath.Join(dir, "app"), filepath.Join(dir, "useless")
	before, after := sockets(), sockets()
	first := openBoth(t, before, "first", ports.Address(t), app)
	tcp := first.tcp.Addr().String()
	unwanted := listen(t, before, "unix", useless)
	end := ending(t, before, path)
	ask(t, after, path)
	first.close()
	unwanted.Close()
	end()
	second := listen(t, after, "unix", app)
	greet(second, "second")
	if err := after.Serve(); err == nil {
		t.Error("it is not said that the one before is gone")
	}
	if got := greeting(t, "unix", app); got != "second" {
		t.Errorf("the %s answers", got)
	}
	pathGoes(t, useless)
	if c, err := net.Dial("tcp4", tcp); err == nil {
		c.Close()
		t.Error("a socket that nobody asked for is open")
	}
	second.Close()
	pathGoes(t, app)
}

// TestPathsThatNobodyWantsAnyMore: where both the process that asks and the one before are done with a socket its path goes.
func TestPathsThatNobodyWantsAnyMore(t *testing.T) {
	dir := t.TempDir()
	path, app := filepath.Join(dir, "sockets"), filepath.Join(dir, "app")
	before, after := sockets(), sockets()
	l := listen(t, before, "unix", app)
	offered(t, before, path)
	ask(t, after, path)
	l.Close()
	_ = after.first.conn.Close()
	pathGoes(t, app)
	again := listen(t, before, "unix", app)
	third := sockets()
	ask(t, third, path)
	if err := third.Serve(); err != nil {
		t.Error(err)
	}
	pathGoes(t, app)
	again.Close()
}

// TestPathsAfterwards: the path is that of who serves; who served before does not remove it when it closes its listener at last.
func TestPathsAfterwards(t *testing.T) {
	dir := t.TempDir()
	path, app := filepath.Join(dir, "sockets"), filepath.Join(dir, "app")
	before, after := sockets(), sockets()
	first := openBoth(t, before, "first", ports.Address(t), app)
	offered(t, before, path)
	ask(t, after, path)
	second := openBoth(t, after, "second", first.tcp.Addr().String(), app)
	if err := after.Serve(); err != nil {
		t.Fatal(err)
	}
	first.close()
	for _, at := range []net.Listener{second.tcp, second.app} {
		if got := greeting(t, at.Addr().Network(), at.Addr().String()); got != "second" {
			t.Errorf("the %s answers at %s", got, at.Addr())
		}
	}
	second.close()
	pathGoes(t, app)
}
