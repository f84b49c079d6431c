package lifecycle

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/progress"
)

// Who waits while the holder removes the file holds the new one, and is alone with it.
func TestALockThatIsRemovedStaysOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	report := progress.New(&bytes.Buffer{})
	first, err := lockAt(path, report)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan *Guard)
	go func() {
		g, err := lockAt(path, report)
		if err != nil {
			t.Error(err)
		}
		second <- g
	}()
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
	first.Release()
	g := <-second
	if t.Failed() {
		return
	}
	third, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if err := syscall.Flock(int(third.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("two have the lock: %v", err)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
	g.Release()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock's file is still there: %v", err)
	}
}
