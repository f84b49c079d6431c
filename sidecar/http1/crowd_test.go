//go:build !race

package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// envCrowd is how many slow connections TestCrowdMemory has; `make test-long` says ten thousand.
const envCrowd = "HEDDLE_CROWD"

const (
	crowd     = 200      // connections, where the environment says nothing
	crowdBody = 1 << 20  // bytes of a long answer, or of a long request
	dripping  = 32 << 10 // bytes of the heap that the proxy may have of a connection whose client writes slowly
	leftover  = 8 << 10  // bytes of the heap that a connection may leave behind: what is pooled until the next collections
	crowdWait = 10 * time.Minute
)

// most is how many bytes of the heap the proxy may have of n slow connections.
func most(n int) (bytes int64) {
	for i := range n {
		if k := kindOf(i); k == readsNothing || k == isNotRead {
			bytes += slowest
		} else {
			bytes += dripping
		}
	}
	return bytes
}

// TestCrowdMemory holds that slow clients, as many as HEDDLE_CROWD says, cost the proxy a bounded memory, that it takes other connections and serves
// other requests meanwhile, that each of them is served to its end once it hurries, and that hardly anything is left of them when they have gone.
func TestCrowdMemory(t *testing.T) {
	n := crowd
	if text := os.Getenv(envCrowd); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", envCrowd, err)
		}
	}
	allowFiles(t, uint64(2*n))
	peers := startPeers(t)
	p := proxy(t, to("c"), map[string][]string{"c": strings.Fields(peers.do("backends"))}, func(p *mesh) {
		p.cfg.Clusters["c"].ConnectTimeout = time.Minute // they all connect at once
	})
	p.book.silent = true
	peers.do("others", p.addr(), "20") // so that what is made once is made
	before := heap()
	peers.do("join", p.addr(), strconv.Itoa(n))
	var each int64
	if _, err := fmt.Sscan(peers.do("settle"), &each); err != nil || each < leastKept || each >= crowdBody {
		t.Errorf("%d bytes of each long message were taken: the proxy has nothing to keep (%v)", each, err)
	}
	for range dripped {
		peers.do("drip")
		peers.do("others", p.addr(), "50")
	}
	got, may := (heap()-before)/int64(n), most(n)/int64(n)
	t.Logf("%d slow connections: %d bytes of heap and stacks of each, at most %d may be; %d MiB resident; the kernel: %s", n, got, may, resident(t)>>20, sockstat())
	if got > may {
		t.Error("that is too much")
	}
	peers.do("finish")
	peers.do("leave")
	left := (heap() - before) / int64(n)
	for until := time.Now().Add(crowdWait); left > leftover && time.Now().Before(until); left = (heap() - before) / int64(n) {
		time.Sleep(100 * time.Millisecond)
	}
	if t.Logf("%d bytes of each are left", left); left > leftover {
		t.Errorf("at most %d may be", leftover)
	}
}

// peerProcess is the process of the clients and the backends: so the proxy's memory is its own, and so are its files.
type peerProcess struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func startPeers(t *testing.T) *peerProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env, cmd.Stderr = append(os.Environ(), envPeers+"=yes"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends
		_ = cmd.Wait()
	})
	return &peerProcess{t, in, bufio.NewReader(out)}
}

// do has the peers do something, and returns what they say.
func (p *peerProcess) do(words ...string) string {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, strings.Join(words, " ")); err != nil {
		p.t.Fatalf("%v: %v", words, err)
	}
	line, err := p.out.ReadString('\n')
	answer, ok := strings.CutPrefix(strings.TrimSpace(line), "ok")
	if err != nil || !ok {
		p.t.Fatalf("%v: %s %v", words, line, err)
	}
	return strings.TrimSpace(answer)
}

// allowFiles raises how many files this process, and those that it starts, may have open.
func allowFiles(t *testing.T, n uint64) {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if l.Cur >= n {
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: max(n, l.Max)}); err != nil {
		t.Fatalf("%d files: %v", n, err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) })
}

// resident is the process's resident memory in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	runtime.GC()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// sockstat is the kernel's line on TCP; mem is in pages.
func sockstat() string {
	text, _ := os.ReadFile("/proc/net/sockstat")
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "TCP: ") {
			return strings.TrimSpace(line)
		}
	}
	return "unknown"
}
