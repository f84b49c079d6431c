package engine_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// pair starts a server's and a client's sidecar around app, and waits until requests pass.
func pair(t *testing.T, plane *plane, app http.Handler) (w world, server, client *proxy) {
	t.Helper()
	backend := httptest.NewServer(app)
	t.Cleanup(backend.Close)
	w = world{Inbound: ports.Free(t), Outbound: ports.Free(t), App: portOf(t, backend.Listener.Addr().String()),
		Identity: "spiffe://cluster.local/ns/shop/sa/catalog", Deny: "/secret", Timeout: "0s"}
	plane.push("catalog", fill(t, serverResources, w))
	plane.push("web", fill(t, clientResources, w))
	server, client = plane.start("catalog"), plane.start("web")
	expect(t, w.Outbound, "/", 200, "hello")
	return w, server, client
}

// stream is an application that says hello at once and, on /stream, a line every few milliseconds until its client goes.
func stream(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "hello")
	for r.URL.Path == "/stream" {
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
			fmt.Fprintln(w, "more")
		}
	}
}

// TestRenewalAndSwapsCutNothing holds a response open and sends requests one after another while certificates are renewed and configurations
// swapped many times: not one request fails, and the open response goes on.
func TestRenewalAndSwapsCutNothing(t *testing.T) {
	plane := newPlane(t)
	plane.life = 2 * time.Second
	w, server, client := pair(t, plane, http.HandlerFunc(stream))
	request, err := http.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1:"+w.Outbound+"/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "catalog"
	open, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Body.Close()
	lines := atomic.Int64{}
	ended := make(chan error, 1)
	go func() {
		scanner := bufio.NewScanner(open.Body)
		for scanner.Scan() {
			lines.Add(1)
		}
		ended <- scanner.Err()
	}()
	first := plane.issued.Load()
	requests := 0
	for start := time.Now(); time.Since(start) < 4*time.Second; requests++ {
		status, body, err := get("http://127.0.0.1:"+w.Outbound+"/", "catalog")
		if err != nil || status != 200 {
			t.Fatalf("request %d: %d %s %v", requests, status, body, err)
		}
		if requests%10 == 0 {
			w.Timeout = fmt.Sprintf("%ds", 10+requests)
			plane.push("web", fill(t, clientResources, w))
			w.Deny = fmt.Sprintf("/secret%d", requests)
			plane.push("catalog", fill(t, serverResources, w))
		}
	}
	select {
	case err := <-ended:
		t.Errorf("the open response ended: %v", err)
	default:
	}
	before := lines.Load()
	eventually(t, "the open response", func() error {
		if lines.Load() > before {
			return nil
		}
		return fmt.Errorf("no line since")
	})
	if n := plane.issued.Load() - first; n < 4 {
		t.Errorf("only %d renewals in four seconds", n)
	}
	if requests < 50 {
		t.Errorf("only %d requests", requests)
	}
	metric(t, client, 0, "heddle_proxy_panics_total")
	metric(t, server, 0, "heddle_proxy_panics_total")
}

// TestServesOnWithoutItsControlPlane holds that proxies serve while the control plane is away and take what changed once it is back.
func TestServesOnWithoutItsControlPlane(t *testing.T) {
	plane := newPlane(t)
	w, _, client := pair(t, plane, http.HandlerFunc(stream))
	plane.stop()
	eventually(t, "noticing", func() error {
		if _, body, err := get("http://"+client.admin+"/discovery", ""); err != nil || !strings.Contains(body, `"connected": false`) {
			return fmt.Errorf("%s %v", body, err)
		}
		return nil
	})
	for range 20 {
		if status, _, err := get("http://127.0.0.1:"+w.Outbound+"/", "catalog"); err != nil || status != 200 {
			t.Fatalf("%d %v", status, err)
		}
	}
	if status, _, _ := get("http://"+client.admin+"/ready", ""); status != 200 {
		t.Error("not ready for want of a control plane")
	}
	w.Deny = "/changed"
	plane.push("catalog", fill(t, serverResources, w))
	plane.serve()
	expect(t, w.Outbound, "/changed", 403, "RBAC")
}

// TestAnApplicationThatClosedItsPortIsLeftForAnother has one of two endpoints whose proxy is there and whose application is not, as in a
// rolling restart: where the client's proxy may try again after a failed connection, nobody notices.
func TestAnApplicationThatClosedItsPortIsLeftForAnother(t *testing.T) {
	plane := newPlane(t)
	w, _, client := pair(t, plane, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	gone := world{Inbound: ports.Free(t), App: ports.Free(t), Deny: "/secret"}
	plane.push("leaving", fill(t, strings.ReplaceAll(serverResources, "sa/catalog", "sa/leaving"), gone))
	plane.start("leaving")
	both := clientResources + leaving(gone)
	plane.push("web", fill(t, both, w))
	eventually(t, "an answer of the proxy alone", func() error {
		response, err := http.DefaultClient.Do(asking(t, "POST", w.Outbound))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != 503 || response.Header.Get("proxy-status") != "" {
			return fmt.Errorf("%d %v", response.StatusCode, response.Header)
		}
		return nil
	})
	plane.push("web", fill(t, retried(both), w))
	eventually(t, "no failure", func() error {
		for n := range 30 {
			response, err := http.DefaultClient.Do(asking(t, "POST", w.Outbound))
			if err != nil {
				return err
			}
			response.Body.Close()
			if response.StatusCode != 200 {
				return fmt.Errorf("request %d: %d", n, response.StatusCode)
			}
		}
		return nil
	})
	metric(t, client, 0, "heddle_proxy_panics_total")
}

// TestAnApplicationThatClosesIsLeftForAnother has the application go under proxies that keep connections to it: not one request fails.
func TestAnApplicationThatClosesIsLeftForAnother(t *testing.T) {
	plane := newPlane(t)
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	w, _, client := pair(t, plane, hello)
	var served atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { served.Add(1) }))
	defer app.Close()
	going := world{Inbound: ports.Free(t), App: portOf(t, app.Listener.Addr().String()), Deny: "/secret"}
	plane.push("leaving", fill(t, strings.ReplaceAll(serverResources, "sa/catalog", "sa/leaving"), going))
	plane.start("leaving")
	plane.push("web", fill(t, retried(clientResources+leaving(going)), w))
	post := func() error {
		response, err := http.DefaultClient.Do(asking(t, "POST", w.Outbound))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != 200 {
			return fmt.Errorf("%d %v", response.StatusCode, response.Header)
		}
		return nil
	}
	eventually(t, "answers of both", func() error {
		if err := post(); err != nil {
			return err
		}
		if served.Load() < 3 {
			return fmt.Errorf("the leaving one has served %d", served.Load())
		}
		return nil
	})
	app.Close()
	for n := range 30 {
		if err := post(); err != nil {
			t.Errorf("request %d after the application has gone: %v", n, err)
		}
	}
	metric(t, client, 0, "heddle_proxy_panics_total")
}

// leaving is one more endpoint of the catalog, of account leaving.
func leaving(w world) string {
	return `  - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ` + w.Inbound + `}}}
    metadata: {filter_metadata: {envoy.transport_socket_match: {tlsMode: istio}, heddle.workload: {identity: "spiffe://cluster.local/ns/shop/sa/leaving", workload: leaving, namespace: shop, app: catalog}}}
`
}

// retried gives the client's route a retry policy for connections that fail.
func retried(resources string) string {
	return strings.Replace(resources, "timeout: {{.Timeout}}", "timeout: {{.Timeout}}, retry_policy: {retry_on: connect-failure, num_retries: 2, host_selection_retry_max_attempts: 5, "+
		`retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]}`, 1)
}

// asking is a request with a body for the catalog.
func asking(t *testing.T, method, port string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:"+port+"/", strings.NewReader("order"))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "catalog"
	return request
}

// TestDrainsBeforeItEnds holds that a request in flight is answered while the proxy ends, and that idle connections do not hold it up.
func TestDrainsBeforeItEnds(t *testing.T) {
	plane := newPlane(t)
	plane.drain = time.Minute
	began := make(chan struct{}, 1)
	w, server, _ := pair(t, plane, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			began <- struct{}{}
			time.Sleep(400 * time.Millisecond)
		}
		io.WriteString(w, "hello")
	}))
	answered := make(chan error, 1)
	go func() {
		status, body, err := get("http://127.0.0.1:"+w.Outbound+"/slow", "catalog")
		if err == nil && (status != 200 || body != "hello") {
			err = fmt.Errorf("%d %s", status, body)
		}
		answered <- err
	}()
	<-began
	start := time.Now()
	server.quit()
	if err := <-answered; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	err := <-server.done
	server.done <- err
	if err != nil || time.Since(start) > plane.drain/2 {
		t.Errorf("ended after %v: %v", time.Since(start), err)
	}
}

// TestBindsOnceItCan holds that a listener whose port is taken is bound when the port is free, and that the proxy says so meanwhile.
func TestBindsOnceItCan(t *testing.T) {
	plane := newPlane(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := world{Inbound: portOf(t, taken.Addr().String()), App: "1"}
	plane.push("catalog", fill(t, serverResources, w))
	server := plane.start("catalog")
	eventually(t, "saying why", func() error {
		if _, body, err := get("http://"+server.admin+"/ready", ""); err != nil || !strings.Contains(body, "virtualInbound") {
			return fmt.Errorf("%s %v", body, err)
		}
		return nil
	})
	taken.Close()
	eventually(t, "binding", func() error {
		status, body, err := get("http://"+server.admin+"/ready", "")
		if err == nil && status != 200 {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
}

// TestReadyWithoutAListenerOfTheUsers holds that an address which is not the proxy's to have keeps neither the proxy from being ready nor other listeners from
// being served, is told of, and is bound once it can be.
func TestReadyWithoutAListenerOfTheUsers(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer app.Close()
	plane := newPlane(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	good := world{Outbound: ports.Free(t), App: portOf(t, app.Listener.Addr().String())}
	bad := world{Outbound: portOf(t, taken.Addr().String()), App: good.App}
	resources := fill(t, plainResources, good)
	other := fill(t, strings.Replace(plainResources, "127.0.0.1_80", "users", 1), bad)
	resources[resource.ListenerType] = append(resources[resource.ListenerType], other[resource.ListenerType]...)
	plane.push("web", resources)
	web := plane.start("web")
	expect(t, good.Outbound, "/", 200, "hello")
	eventually(t, "being ready", func() error {
		status, body, err := get("http://"+web.admin+"/ready", "")
		if err == nil && status != 200 {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
	metric(t, web, 1, "heddle_proxy_listener_addresses_unbound")
	if _, body, err := get("http://"+web.admin+"/listeners", ""); err != nil || !strings.Contains(body, "address already in use") {
		t.Errorf("%s %v", body, err)
	}
	taken.Close()
	expect(t, bad.Outbound, "/", 200, "hello")
	metric(t, web, 0, "heddle_proxy_listener_addresses_unbound")
}

// TestReachesAServiceWhoseEndpointsHaveGone holds that a plain service is reached at its own address where all its known endpoints are gone,
// as when they were replaced while the control plane was away.
func TestReachesAServiceWhoseEndpointsHaveGone(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer app.Close()
	plane := newPlane(t)
	w := world{Inbound: ports.Free(t), Outbound: ports.Free(t), Timeout: "5s"}
	text := strings.NewReplacer("envoy.transport_socket_match: {tlsMode: istio}, ", "", "namespace: shop}}}\ntransport",
		"namespace: shop, address: \"127.0.0.1:"+portOf(t, app.Listener.Addr().String())+"\"}}}\ntransport",
		"timeout: {{.Timeout}}", "timeout: {{.Timeout}}, retry_policy: {retry_on: connect-failure, num_retries: 2}").Replace(clientResources)
	plane.push("web", fill(t, text, w))
	plane.start("web")
	eventually(t, "a first answer", func() error { _, _, err := get("http://127.0.0.1:"+w.Outbound+"/", "catalog"); return err })
	for range 10 {
		if status, body, err := get("http://127.0.0.1:"+w.Outbound+"/", "catalog"); err != nil || status != 200 || body != "hello" {
			t.Fatalf("%d %s %v", status, body, err)
		}
	}
}
