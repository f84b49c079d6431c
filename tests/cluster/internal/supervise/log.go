package supervise

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// logLimit is the size in bytes at which a log is moved aside; one old file is kept beside it.
const logLimit = 8 << 20

// rotating is a log file of bounded size.
type rotating struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64
}

func newLog(path string) (*rotating, error) {
	l := &rotating{path: path}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *rotating) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("opening log: %w", err)
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write never fails, so that a full disk does not block the program that logs.
func (l *rotating) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(p)) > logLimit {
		l.file.Close()
		_ = os.Rename(l.path, l.path+".old")
		if err := l.open(); err != nil {
			return len(p), nil
		}
	}
	n, _ := l.file.Write(p)
	l.size += int64(n)
	return len(p), nil
}

// onlyWriter hides everything but Write, so that copying goes through it.
type onlyWriter struct{ io.Writer }
