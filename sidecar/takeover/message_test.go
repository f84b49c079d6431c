package takeover

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is a connection of this process with itself.
func pair(t *testing.T) (from, to *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: filepath.Join(t.TempDir(), "pair"), Net: network})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if from, err = dial(l.Addr().String()); err == nil {
		to, err = l.AcceptUnix()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close(); to.Close() })
	return from, to
}

// TestDescriptorsOfMessagesThatAreRefused: none stays open, wherever in the message what cannot be read is.
func TestDescriptorsOfMessagesThatAreRefused(t *testing.T) {
	for text, c := range map[string]struct {
		credentials bool // the kernel adds a control message of another kind
		want        string
	}{
		`{"keys":["tcp 1"]}`:         {true, "reading descriptors"},
		`{"keys":["tcp 1","tcp 2"]}`: {false, "1 descriptors for 2 sockets"},
		`{"keys":`:                   {false, "JSON"},
		wordTaken:                    {false, ErrTaken.Error()},
	} {
		from, to := pair(t)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		raw, err := to.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if c.credentials {
			if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
				t.Fatal(err)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_, _, err = from.WriteMsgUnix([]byte(text), unix.UnixRights(int(w.Fd())), nil)
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		if _, files, err := receive(to); err == nil || !strings.Contains(err.Error(), c.want) || files != nil {
			t.Errorf("%s: %d files, error %v, want %q", text, len(files), err, c.want)
		}
		_ = r.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := r.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("%s: the descriptor is open: %v", text, err)
		}
	}
}

// TestWhatThePredecessorSays: who serves without the other one's word says why there is none.
func TestWhatThePredecessorSays(t *testing.T) {
	for want, say := range map[string]func(*net.UnixConn){
		`the process before says "no"`:                    func(c *net.UnixConn) { _, _ = c.Write([]byte("no")) },
		"the process before is gone":                      func(c *net.UnixConn) { c.Close() },
		"the process before has not answered within 10ms": func(*net.UnixConn) {},
	} {
		from, to := pair(t)
		say(to)
		s := sockets()
		s.first, s.begun = &predecessor{from}, make(chan struct{})
		begun := s.begun
		if strings.Contains(want, "10ms") {
			s.patience = 10 * time.Millisecond
		}
		if err := s.Serve(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		select {
		case <-begun:
		default:
			t.Errorf("%s: and it does not serve", want)
		}
	}
}
