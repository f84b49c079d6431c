package takeover

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lines is a log.
type lines chan string

// Write implements io.Writer.
func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// faulty is a desk at which the first one cannot be accepted.
type faulty struct {
	desk
	once sync.Once
}

// AcceptUnix implements desk.
func (f *faulty) AcceptUnix() (conn *net.UnixConn, err error) {
	f.once.Do(func() { err = &net.OpError{Op: "accept", Err: syscall.EMFILE} })
	if err != nil {
		return nil, err
	}
	return f.desk.AcceptUnix()
}

// TestWhoCannotBeAccepted: a process that is out of descriptors for a moment offers its sockets afterwards all the same.
func TestWhoCannotBeAccepted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sockets")
	said := make(lines, 10)
	before, after := New(slog.New(slog.NewTextHandler(said, nil))), sockets()
	l, err := before.offer(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	type end struct {
		taken bool
		err   error
	}
	ended := make(chan end, 1)
	go func() {
		taken, err := before.serve(t.Context(), &faulty{desk: l})
		ended <- end{taken, err}
	}()
	ask(t, after, path)
	if err := after.Serve(); err != nil {
		t.Fatal(err)
	}
	if got := <-ended; !got.taken || got.err != nil {
		t.Errorf("taken over: %t, %v", got.taken, got.err)
	}
	if got := <-said; !strings.Contains(got, syscall.EMFILE.Error()) {
		t.Errorf("it says %s", got)
	}
}

// TestWhoIsOfAnotherUser: such a process gets nothing, and whoever reads the log is told; one that offers is not believed.
func TestWhoIsOfAnotherUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sockets")
	said := make(lines, 10)
	before, after, wary := New(slog.New(slog.NewTextHandler(said, nil))), sockets(), sockets()
	before.user++
	wary.user += 2
	l := open(t, before)
	greet(l, "first")
	offered(t, before, path)
	for who, want := range map[*Sockets]string{after: "asking for", wary: "it is user"} {
		var err error
		for until := time.Now().Add(30 * time.Second); err == nil && time.Now().Before(until); time.Sleep(time.Millisecond) {
			found := false
			if found, err = who.Ask(path); found {
				t.Error("it gets the sockets")
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, not that %s", err, want)
		}
	}
	select {
	case got := <-said:
		if want := fmt.Sprintf("it is user %d's, not %d's", after.user, before.user); !strings.Contains(got, want) {
			t.Errorf("it says %s, not that %s", got, want)
		}
	case <-time.After(30 * time.Second):
		t.Error("nobody is told")
	}
	if got := greeting(t, "tcp", l.Addr().String()); got != "first" {
		t.Errorf("the %s answers", got)
	}
}

// TestWhereAnotherOffers: a process that has asked nobody, or in vain, leaves the path to the living process that offers there.
func TestWhereAnotherOffers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sockets")
	before, after := sockets(), sockets()
	offered(t, before, path)
	ask(t, after, path)
	_ = after.first.conn.Close()
	hasty := sockets()
	hasty.patience = 0
	if taken, err := hasty.Offer(t.Context(), path); taken || err == nil || !strings.Contains(err.Error(), "another process offers") {
		t.Errorf("taken over: %t, error %v", taken, err)
	}
	ask(t, after, path)
	if err := after.Serve(); err != nil {
		t.Error(err)
	}
}
