package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/progress"
)

// Lock keeps a second call of this program away until the returned function is called. It waits for the first, and says so.
func Lock(report *progress.Report) (*Guard, error) { return lockAt(lockPath, report) }

// lockPath is the file by which calls of this program keep out of each other's way.
const lockPath = "/run/heddle-cluster.lock"

// Guard is what Lock returns.
type Guard struct{ file *os.File }

// Release lets others in.
func (g *Guard) Release() { g.file.Close() }

// Remove removes the lock's file; only Release may follow. Who waits for it finds that it is gone, and makes a new one.
func (g *Guard) Remove() error { return os.Remove(g.file.Name()) }

func lockAt(path string, report *progress.Report) (*Guard, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("locking the cluster: %w", err)
		}
		if err := take(f, report); err != nil {
			f.Close()
			return nil, fmt.Errorf("locking the cluster: %w", err)
		}
		if same(f, path) {
			return &Guard{f}, nil
		}
		f.Close() // removed by who had it
	}
}

// same says whether a path still leads to an open file.
func same(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(held, there)
}

// take waits for the lock on a file.
func take(f *os.File, report *progress.Report) error {
	try := func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
	err := try()
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	return report.Step("waiting for another command that changes the cluster", func() (err error) {
		for until := time.Now().Add(15 * time.Minute); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
			if err = try(); err == nil {
				return nil
			}
		}
		return err
	})
}
