package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

// logs are what all proxies of the run wrote, those too of pods that are gone by its end.
var logs = &journal{}

// TestMain follows the proxies' logs from the first test to the last, the uninstallation included. A panic in any of them fails the run.
func TestMain(m *testing.M) {
	path := os.Getenv("HEDDLE_KUBECONFIG")
	if path == "" {
		os.Exit(m.Run())
	}
	logs.glob = filepath.Join(filepath.Dir(path), "nodes", "*", "log", "pods", "*", "heddle-proxy", "*.log")
	done := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { logs.follow(done) })
	code := m.Run()
	close(done)
	following.Wait()
	if _, _, found := logs.read(); len(found) > 0 && code == 0 {
		fmt.Printf("proxies panicked:\n%s\n", strings.Join(found, "\n"))
		code = 1
	}
	os.Exit(code)
}

// journal reads log files as they grow. It opens them while they are there, and reads on after the kubelet has deleted them with their pod.
type journal struct {
	glob string

	mu     sync.Mutex
	files  []*logFile
	lines  int
	panics []string
}

// logFile is a file of the journal. It stays open, so that no other file can have its number.
type logFile struct {
	path  string
	file  *os.File
	stat  os.FileInfo
	begun []byte // of a line whose end is not there yet
}

// follow reads until done is closed. A container that logs lives longer than the time between two looks.
func (j *journal) follow(done <-chan struct{}) {
	for {
		j.read()
		select {
		case <-done:
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// read reads what is new, and returns the paths of all files that there were, the number of lines, and those that tell of a panic.
func (j *journal) read() (paths []string, lines int, panics []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now, _ := filepath.Glob(j.glob) // fails for a bad pattern only
	for _, path := range now {
		j.open(path)
	}
	for _, f := range j.files {
		j.more(f)
		paths = append(paths, f.path)
	}
	return paths, j.lines, j.panics
}

// open takes up a file that was not seen before: a rotated one has another name, and is the same.
func (j *journal) open(path string) {
	stat, err := os.Stat(path)
	if err != nil {
		return // it has just gone
	}
	for _, f := range j.files {
		if os.SameFile(f.stat, stat) {
			return
		}
	}
	file, err := os.Open(path)
	if err != nil {
		return
	}
	if stat, err = file.Stat(); err == nil {
		j.files = append(j.files, &logFile{path: path, file: file, stat: stat})
	}
}

func (j *journal) more(f *logFile) {
	text, err := io.ReadAll(f.file)
	if err != nil {
		j.panics = append(j.panics, fmt.Sprintf("%s cannot be read: %v", f.path, err))
	}
	f.begun = append(f.begun, text...)
	for {
		line, rest, whole := bytes.Cut(f.begun, []byte("\n"))
		if !whole {
			return
		}
		f.begun = rest
		j.lines++
		if panicked(string(line)) {
			j.panics = append(j.panics, f.path+": "+string(line))
		}
	}
}

// panicked says whether a line of a container's log (time, stream, F or P, text) tells of a panic, recovered or not.
func panicked(line string) bool {
	if strings.Contains(line, telemetry.Recovered) {
		return true
	}
	words := strings.SplitN(line, " ", 4)
	return len(words) == 4 && (strings.HasPrefix(words[3], "panic: ") || strings.HasPrefix(words[3], "fatal error: "))
}

// The journal has what was written to a file before it was deleted, and what was written after it was rotated.
func TestJournal(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	j := &journal{glob: filepath.Join(dir, "*.log")}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	write := func(text string) {
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write("2026-01-01T00:00:00Z stderr F ready\n2026-01-01T00:00:01Z stderr F GET /panic:")
	if _, lines, panics := j.read(); lines != 1 || len(panics) != 0 {
		t.Errorf("%d lines, panics %q", lines, panics)
	}
	if err := os.Rename(path, filepath.Join(dir, "1.log")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("2026-01-01T00:00:03Z stderr F panic: nil map\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if paths, lines, panics := j.read(); len(paths) != 2 || lines != 2 || len(panics) != 1 {
		t.Errorf("after a rotation: files %q, %d lines, panics %q", paths, lines, panics)
	}
	if err := os.Remove(filepath.Join(dir, "1.log")); err != nil {
		t.Fatal(err)
	}
	write(" 200\n2026-01-01T00:00:02Z stderr F level=ERROR msg=\"" + telemetry.Recovered + " while relaying\"\n")
	if _, lines, panics := j.read(); lines != 4 || len(panics) != 2 {
		t.Errorf("after the deletion: %d lines, panics %q", lines, panics)
	}
}
