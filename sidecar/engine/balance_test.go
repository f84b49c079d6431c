package engine_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// plainTo is the client's resources for applications without sidecars, with changes, as for strings.NewReplacer.
func plainTo(apps []string, changes ...string) string {
	var endpoints strings.Builder
	for _, app := range apps {
		fmt.Fprintf(&endpoints, "  - {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}\n", app)
	}
	head, _, _ := strings.Cut(clientResources, "  - endpoint: {address")
	return strings.NewReplacer(changes...).Replace(head) + endpoints.String()
}

// TestSessionsStick holds that clients stay with the application that their cookie stands for while others come and go, without a failed
// request.
func TestSessionsStick(t *testing.T) {
	var apps []string
	for n := range 5 {
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "app-%d", n) }))
		defer app.Close()
		apps = append(apps, portOf(t, app.Listener.Addr().String()))
	}
	plane := newPlane(t)
	w := world{Outbound: ports.Free(t), Timeout: "5s"}
	push := func(apps []string) {
		plane.push("web", fill(t, plainTo(apps, "type: EDS\n", "type: EDS\nlb_policy: MAGLEV\n",
			"timeout: {{.Timeout}}", "timeout: {{.Timeout}}, hash_policy: [{cookie: {name: session, ttl: 60s, path: /}}]"), w))
	}
	push(apps[:4])
	plane.start("web")
	expect(t, w.Outbound, "/", 200, "app-")

	ask := func(cookie string) (app, given string) {
		request, err := http.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1:"+w.Outbound+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host, request.Close = "catalog", true
		if cookie != "" {
			request.AddCookie(&http.Cookie{Name: "session", Value: cookie})
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		for _, c := range response.Cookies() {
			given = c.Value
		}
		if response.StatusCode != 200 {
			t.Fatalf("%d %s", response.StatusCode, body)
		}
		return string(body), given
	}
	homes := map[string]string{}
	for range 40 {
		app, cookie := ask("")
		if len(cookie) != 16 {
			t.Fatalf("a client without a cookie was given %q", cookie)
		}
		homes[cookie] = app
	}
	spread := map[string]bool{}
	stay := func(says string, most int, alive func(app string) bool) {
		t.Helper()
		moved := 0
		for cookie, home := range homes {
			app, given := ask(cookie)
			if given != "" {
				t.Errorf("%s: a client with a cookie was given another", says)
			}
			if app != home && alive(home) {
				moved++
			}
			spread[app] = true
		}
		if moved > most {
			t.Errorf("%s: %d of %d clients moved away from applications that stayed", says, moved, len(homes))
		}
	}
	stay("nothing changed", 0, func(string) bool { return true })
	if len(spread) != 4 {
		t.Errorf("40 clients are with %d of 4 applications", len(spread))
	}
	push(apps[:3])
	eventually(t, "that an application left", func() error {
		for cookie, home := range homes {
			if app, _ := ask(cookie); home == "app-3" && app == home {
				return fmt.Errorf("%s still gets requests", home)
			}
		}
		return nil
	})
	stay("one left", len(homes)/8, func(app string) bool { return app != "app-3" })
	push(apps[:4])
	eventually(t, "that it came back", func() error {
		for cookie, home := range homes {
			if app, _ := ask(cookie); app != home {
				return fmt.Errorf("a client of %s is at %s", home, app)
			}
		}
		return nil
	})
}

// TestTellsWhoseConnectionItIs holds that an application which speaks the PROXY protocol learns its client's address.
func TestTellsWhoseConnectionItIs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				line, _ := r.ReadString('\n')
				for {
					request, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, request.Body)
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
				}
			}()
		}
	}()
	plane := newPlane(t)
	w := world{Outbound: ports.Free(t), Timeout: "5s"}
	raw := `transport_socket: {name: envoy.transport_sockets.raw_buffer, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}`
	plane.push("web", fill(t, plainTo([]string{portOf(t, listener.Addr().String())}, "match: {}, "+raw,
		`match: {}, transport_socket: {name: envoy.transport_sockets.upstream_proxy_protocol, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport, `+raw+`}}`), w))
	plane.start("web")
	expect(t, w.Outbound, "/", 200, "PROXY TCP4 127.0.0.1 127.0.0.1 ")
	conn, err := net.Dial("tcp", "127.0.0.1:"+w.Outbound)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: catalog\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	if want := fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %s %s\r\n", portOf(t, conn.LocalAddr().String()), w.Outbound); string(body) != want {
		t.Errorf("got %q, want %q", body, want)
	}
}
