// Package progress tells a person what is going on: every step with the time it took, and while it takes long. It decides nothing.
package progress

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/proc"
)

const (
	patience = 2 * time.Second  // a step that takes longer is announced
	interval = 15 * time.Second // and again
	lines    = 20               // of a failed step's log
)

// Report writes steps to a writer.
type Report struct {
	mu  sync.Mutex
	out io.Writer
}

// New reports to a writer.
func New(out io.Writer) *Report { return &Report{out: out} }

// LogError is a failure that a log explains.
type LogError struct {
	Log string // path
	Err error
}

func (e *LogError) Error() string { return e.Err.Error() }

// Unwrap gives the failure.
func (e *LogError) Unwrap() error { return e.Err }

// Step runs one step. After a failure that names a log it prints the log's end and where the rest is.
func (r *Report) Step(name string, run func() error) error {
	begin := time.Now()
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { r.watch(name, begin, done) })
	err := run()
	close(done)
	watcher.Wait()
	if err == nil {
		r.Say("%6.1fs  %s", time.Since(begin).Seconds(), name)
		return nil
	}
	r.Say("%6.1fs  %s: FAILED: %v", time.Since(begin).Seconds(), name, err)
	var explained *LogError
	if errors.As(err, &explained) {
		r.Say("the last lines of %s:\n  | %s", explained.Log, strings.ReplaceAll(proc.Tail(explained.Log, lines), "\n", "\n  | "))
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Say writes a line.
func (r *Report) Say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, format+"\n", args...)
}

func (r *Report) watch(name string, begin time.Time, done <-chan struct{}) {
	wait := patience
	for {
		select {
		case <-done:
			return
		case <-time.After(wait):
			r.Say("%6.0fs  %s ...", time.Since(begin).Seconds(), name)
			wait = interval
		}
	}
}
