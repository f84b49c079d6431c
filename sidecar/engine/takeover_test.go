package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/sidecar/takeover"
)

// TestAnotherProcessTakesOver has a second proxy take over from a first one, in the middle of requests on new connections and on old ones: none fails, one
// that is under way is finished by the first, and the first ends.
func TestAnotherProcessTakesOver(t *testing.T) {
	entered, release := make(chan bool, 1), make(chan bool)
	free := sync.OnceFunc(func() { close(release) })
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			entered <- true
			<-release
		}
		fmt.Fprintln(w, "hello")
	}))
	t.Cleanup(app.Close)
	t.Cleanup(free)
	plane := newPlane(t)
	plane.takeover = filepath.Join(t.TempDir(), "takeover")
	w := world{Outbound: ports.Free(t), App: portOf(t, app.Listener.Addr().String())}
	plane.push("web", fill(t, plainResources, w))
	first := plane.start("web")
	expect(t, w.Outbound, "/", 200, "hello")
	eventually(t, "the offer", func() error { _, err := os.Stat(plane.takeover); return err })
	long := make(chan error, 1)
	go func() {
		r, err := http.Get("http://127.0.0.1:" + w.Outbound + "/long")
		if err == nil {
			r.Body.Close()
			if r.StatusCode != 200 {
				err = fmt.Errorf("status %d", r.StatusCode)
			}
		}
		long <- err
	}()
	<-entered
	var stop atomic.Bool
	var clients sync.WaitGroup
	finish := func() { stop.Store(true); clients.Wait() }
	for _, keep := range []bool{true, false} {
		clients.Go(func() { ask(t, "http://127.0.0.1:"+w.Outbound+"/", keep, &stop) })
	}
	second := plane.start("web")
	t.Cleanup(finish) // before the proxies end
	said := func(p *proxy, text string) {
		t.Helper()
		eventually(t, text, func() error {
			if !strings.Contains(p.log.String(), text) {
				return fmt.Errorf("it says %s", p.log)
			}
			return nil
		})
	}
	said(second, "serving in the stead of the process before")
	said(first, "another process serves from here")
	expect(t, w.Outbound, "/", 200, "hello")
	free()
	if err := <-long; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	finish()
	first.done <- <-first.done // who started it waits for its end as well
	expect(t, w.Outbound, "/", 200, "hello")
	if status, body, err := get("http://"+second.admin+"/ready", ""); err != nil || status != 200 {
		t.Errorf("the second one's readiness: %d %s %v", status, body, err)
	}
}

// TestWhoMayNotTakeOver: a process that cannot take the sockets of a living one over ends, and leaves that one alone.
func TestWhoMayNotTakeOver(t *testing.T) {
	plane := newPlane(t)
	plane.takeover = filepath.Join(t.TempDir(), "takeover")
	odd, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: plane.takeover, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { odd.Close() })
	go func() { // a process that is about to end
		for {
			conn, err := odd.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	late := plane.start("web")
	err = <-late.done
	late.done <- nil // who started it waits for its end as well
	if err == nil || !strings.Contains(err.Error(), "running takeover: asking for the sockets at "+plane.takeover) {
		t.Errorf("it ends with %v", err)
	}
	if _, err := os.Stat(plane.takeover); err != nil {
		t.Error(err)
	}
}

// TestTooLateToTakeOver: a process that another one was faster than has served nobody, and ends without waiting for anybody.
func TestTooLateToTakeOver(t *testing.T) {
	plane := newPlane(t)
	plane.takeover = filepath.Join(t.TempDir(), "takeover")
	plane.ended = func(ctx context.Context) bool { <-ctx.Done(); return false } // the application goes on
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	plane.push("catalog", fill(t, serverResources, world{Inbound: portOf(t, taken.Addr().String()), App: "1"}))
	before, quick := takeover.New(slog.New(slog.DiscardHandler)), takeover.New(slog.New(slog.DiscardHandler))
	offered := make(chan error, 1)
	go func() {
		_, err := before.Offer(t.Context(), plane.takeover)
		offered <- err
	}()
	eventually(t, "the offer", func() error { _, err := os.Stat(plane.takeover); return err })
	late := plane.start("catalog")
	eventually(t, "waiting for its port", func() error {
		if !strings.Contains(late.log.String(), "not every listener could be bound") {
			return fmt.Errorf("it says %s", late.log)
		}
		return nil
	})
	if found, err := quick.Ask(plane.takeover); err != nil || !found {
		t.Fatal(found, err)
	}
	if err := quick.Serve(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-late.done:
		late.done <- nil // who started it waits for its end as well
		if !errors.Is(err, takeover.ErrTaken) {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(30 * time.Second): // half of how long it would wait
		late.engine.ApplicationEnded()
		t.Error("it does not end")
	}
	if err := <-offered; err != nil {
		t.Error(err)
	}
}

// ask sends requests one after the other, on one connection where that is kept, until it is told to stop.
func ask(t *testing.T, url string, keep bool, stop *atomic.Bool) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keep}}
	defer client.CloseIdleConnections()
	for n := 0; !stop.Load(); n++ {
		r, err := client.Get(url)
		if err != nil {
			t.Errorf("request %d, the connection is kept: %t: %v", n, keep, err)
			return
		}
		_, err = io.Copy(io.Discard, r.Body)
		if r.Body.Close(); err != nil || r.StatusCode != 200 {
			t.Errorf("request %d, the connection is kept: %t: status %d, %v", n, keep, r.StatusCode, err)
		}
	}
}

const plainResources = `
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: 127.0.0.1_80
address: {socket_address: {address: 127.0.0.1, port_value: {{.Outbound}}}}
traffic_direction: OUTBOUND
filter_chains:
- name: plain
  filters:
  - name: hcm
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: outbound
      route_config:
        name: "80"
        virtual_hosts: [{name: app, domains: ["*"], routes: [{name: default, match: {prefix: /}, route: {cluster: app, timeout: 0s}}]}]
      http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
---
"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: app
type: STATIC
load_assignment: {cluster_name: app, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.App}}}}}}]}]}
`
