package envoy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/tests/internal/process"
)

const (
	adminSocket  = "admin.sock"
	startWithin  = 20 * time.Second
	adminWithin  = 10 * time.Second
	askAgain     = 20 * time.Millisecond
	tail         = 8 << 10 // bytes of the log that a failed test shows
	shortestPath = 100     // the kernel takes socket paths of 107 bytes
)

// Envoy is a running Envoy.
type Envoy struct {
	t       testing.TB
	dir     string
	admin   http.Client
	process *process.Running
}

// Start runs Envoy until the test ends, and returns once it answers on its admin interface. A failed test shows the end of its log.
func Start(t testing.TB, o Options) *Envoy {
	t.Helper()
	binary := Require(t)
	dir, err := os.MkdirTemp("", "heddle-envoy-") // t.TempDir's are too long for sockets
	if err != nil || len(dir) > shortestPath {
		t.Fatalf("a folder for Envoy's sockets: %q, %v", dir, err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e := &Envoy{t: t, dir: dir}
	e.admin = http.Client{Timeout: adminWithin, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, adminSocket))
	}}}
	config, err := o.Bootstrap(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "bootstrap.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	e.run(o, exec.Command(binary, "--config-path", file, "--log-path", e.log(), "--log-level", "warning", "--component-log-level", "misc:error", // which complains of fields that will go
		"--concurrency", "1", "--disable-hot-restart"))
	e.await()
	return e
}

func (e *Envoy) log() string { return filepath.Join(e.dir, "envoy.log") }

// run starts Envoy and ends it with the test.
func (e *Envoy) run(o Options, cmd *exec.Cmd) {
	e.t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if o.Group != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: o.Group}}
	}
	var err error
	if e.process, err = process.Start(cmd, o.In); err != nil {
		e.t.Fatalf("starting Envoy: %v", err)
	}
	e.t.Cleanup(func() {
		if ended, err := e.process.Ended(); ended {
			e.t.Errorf("Envoy ended by itself: %v", err)
		}
		e.process.Kill()
		if e.t.Failed() {
			e.t.Logf("Envoy said: %s\n%s", said.String(), e.Tail())
		}
	})
}

// Tail is the end of Envoy's log.
func (e *Envoy) Tail() string {
	data, err := os.ReadFile(e.log())
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-tail):])
}

// await returns once the admin interface answers.
func (e *Envoy) await() {
	e.t.Helper()
	var err error
	for until := time.Now().Add(startWithin); time.Now().Before(until); time.Sleep(askAgain) {
		if ended, err := e.process.Ended(); ended {
			e.t.Fatalf("Envoy did not start: %v\n%s", err, e.Tail())
		}
		if _, _, err = e.ask(http.MethodGet, "/ready"); err == nil {
			return
		}
	}
	e.t.Fatalf("Envoy's admin interface does not answer: %v", err)
}

// Ready waits until Envoy has all the configuration that it waits for at its start.
func (e *Envoy) Ready() {
	e.t.Helper()
	status, said := 0, ""
	for until := time.Now().Add(startWithin); time.Now().Before(until); time.Sleep(askAgain) {
		var err error
		if status, said, err = e.ask(http.MethodGet, "/ready"); err == nil && status == http.StatusOK {
			return
		}
	}
	e.t.Fatalf("Envoy is not ready: %d %s", status, said)
}

// Get returns what the admin interface answers for a path.
func (e *Envoy) Get(path string) string {
	e.t.Helper()
	status, said, err := e.ask(http.MethodGet, path)
	if err != nil || status != http.StatusOK {
		e.t.Fatalf("asking Envoy for %s: %d %v", path, status, err)
	}
	return said
}

func (e *Envoy) ask(method, path string) (status int, said string, err error) {
	request, err := http.NewRequestWithContext(context.Background(), method, "http://envoy"+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := e.admin.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, "", fmt.Errorf("reading the answer: %w", err)
	}
	return response.StatusCode, string(body), nil
}
