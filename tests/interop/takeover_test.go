package interop

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/internal/netlab"
	"github.com/heddle-mesh/heddle/tests/internal/process"
)

const (
	replacedWithin = 2 * time.Minute       // from the start of a process to the end of the one before
	steady         = 20 * time.Millisecond // between requests of one client
	nobody         = 65534
)

// plainApp says its name to whoever asks.
func plainApp(t *testing.T, host *netlab.Host, address, name string) {
	t.Helper()
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from ", name) })}
	l := host.Listen(address)
	go func() { _ = server.Serve(l) }() // ends with the test
	t.Cleanup(func() { _ = server.Close() })
}

// caller sends requests one after the other and wants every one answered.
type caller struct {
	keep     bool // the connection
	client   *http.Client
	url      func(n int64) string
	host     string
	want     string
	answered atomic.Int64
	failed   atomic.Pointer[error]
}

func (c *caller) ask() error {
	request, err := http.NewRequest(http.MethodGet, c.url(c.answered.Load()), nil)
	if err != nil {
		return err
	}
	request.Host = c.host
	answer, err := c.client.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err == nil && (answer.StatusCode != http.StatusOK || string(body) != c.want) {
		err = fmt.Errorf("status %d: %s", answer.StatusCode, body)
	}
	return err
}

func (c *caller) run(stop *atomic.Bool) {
	defer c.client.CloseIdleConnections()
	for ; !stop.Load(); time.Sleep(steady) {
		if err := c.ask(); err != nil {
			err = fmt.Errorf("%s, request %d, the connection is kept: %t: %w", time.Now().UTC().Format(time.TimeOnly), c.answered.Load(), c.keep, err)
			c.failed.Store(&err)
			return
		}
		c.answered.Add(1)
	}
}

// within waits until something is so.
func within(t *testing.T, d time.Duration, what string, so func() bool) {
	t.Helper()
	for until := time.Now().Add(d); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s: not within %s", what, d)
		}
	}
}

// TestAnotherProcessTakesOver has one process of heddle-proxy take over from another beside an application that calls and is called, on connections that are
// kept and on new ones: not one request fails, and the first process ends by itself. A process of another user, even one that may open every file, gets nothing.
func TestAnotherProcessTakesOver(t *testing.T) {
	folder := t.TempDir()
	web := guest{name: "web-1", namespace: "shop", account: "web", ip: "10.1.0.1", labels: map[string]string{"app": "web"}, proxy: "heddle", takeover: filepath.Join(folder, "takeover")}
	peer := guest{name: "peer-1", namespace: "shop", account: "peer", ip: "10.1.0.2", labels: map[string]string{"app": "peer"}}
	l := startLab(t, serviceYAML("web", "shop", "10.8.0.1", []string{"http:80:8080"}, web)+serviceYAML("peer", "shop", "10.8.0.2", []string{"http:80:8080"}, peer), nil, []guest{web, peer})
	plainApp(t, l.hosts[web.name], ":8080", "web")
	plainApp(t, l.hosts[peer.name], ":8080", "peer")
	offers := func() bool {
		conn, err := net.Dial("unixpacket", web.takeover)
		if err == nil {
			err = conn.Close()
		}
		return err == nil
	}
	within(t, startWithin, "the first process offers its sockets", offers)

	var stop atomic.Bool
	var running sync.WaitGroup
	var callers []*caller
	finish := func() { stop.Store(true); running.Wait() }
	for _, keep := range []bool{true, false} {
		for _, c := range []*caller{
			{keep: keep, client: l.caller(peer.name, keep), host: "web.shop", want: "from web", url: func(int64) string { return "http://" + web.ip + ":8080/" }},
			{keep: keep, client: l.caller(web.name, keep), host: "peer.shop", want: "from peer", url: func(n int64) string { return away(keep, n) }},
		} {
			within(t, replacedWithin, c.want, func() bool { return c.ask() == nil })
			callers = append(callers, c)
			running.Go(func() { c.run(&stop) })
		}
	}
	t.Cleanup(finish)
	more := func(what string) {
		t.Helper()
		for _, c := range callers {
			want := c.answered.Load() + 10
			within(t, replacedWithin, what, func() bool { return c.failed.Load() != nil || c.answered.Load() >= want })
		}
	}
	more("requests before")

	stranger, said := l.launch(web, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: wire.ProxyGID}, AmbientCaps: []uintptr{unix.CAP_DAC_OVERRIDE}})
	t.Cleanup(finish) // before the proxies end
	within(t, replacedWithin, "another user's process ends", func() bool { ended, _ := stranger.Ended(); return ended })
	if _, err := stranger.Ended(); err == nil || !strings.Contains(said.String(), fmt.Sprintf("it is user %d's, not %d's", os.Geteuid(), nobody)) {
		t.Errorf("another user's process ends with %v and says %s", err, said)
	}
	more("requests after another user's process")

	first := l.proxies[web.name]
	if ended, err := first.Ended(); ended {
		t.Fatalf("the first process has ended too early: %v", err)
	}
	second, _ := l.launch(web, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: wire.ProxyGID}})
	t.Cleanup(finish)
	within(t, replacedWithin, "the first process ends", func() bool { ended, _ := first.Ended(); return ended })
	if _, err := first.Ended(); err != nil {
		t.Errorf("the first process ends with %v", err)
	}
	if want := fmt.Sprintf("it is user %d's, not %d's", nobody, os.Geteuid()); !strings.Contains(l.said[web.name].String(), want) {
		t.Errorf("the first process says %s, not that %s", l.said[web.name], want)
	}
	more("requests afterwards")
	finish()
	for _, c := range callers {
		if err := c.failed.Load(); err != nil {
			t.Error(*err)
		}
	}
	serving(t, second)
	within(t, startWithin, "the second process offers its sockets", offers)
}

// serving says that a process has not ended.
func serving(t *testing.T, p *process.Running) {
	t.Helper()
	if ended, err := p.Ended(); ended {
		t.Errorf("the second process has ended: %v", err)
	}
}

// away is where the application calls the other one, which is known by the name that it asks for. Each new connection has an address of its own: a client that is
// slow to speak is taken for one of another protocol and its destination dialled, in vain, and while the kernel remembers that (injector/redirect, owned) nobody
// else may call there from the same port.
func away(keep bool, n int64) string {
	if keep {
		return "http://10.8.0.2/"
	}
	return fmt.Sprintf("http://10.8.%d.%d/", 1+n/250, 1+n%250)
}

// caller is a client in a guest that may keep its connections.
func (l *lab) caller(guest string, keep bool) *http.Client {
	return &http.Client{Timeout: startWithin, Transport: &http.Transport{DisableKeepAlives: !keep, DialContext: l.hosts[guest].DialContext}}
}
