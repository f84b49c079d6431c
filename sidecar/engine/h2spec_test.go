package engine_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/sidecar/http2/h2spec"
)

// slowly is the path of requests that are not answered.
const slowly = "/slowly"

// conforms runs h2spec's cases for servers against a port.
func conforms(t *testing.T, port string, secure bool) {
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	h2spec.Server(t, number, secure, slowly)
}

// noPreface holds that a port which speaks HTTP/1.1 too refuses, in that, what is neither, and closes.
func noPreface(t *testing.T, port string) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, "INVALID CONNECTION PREFACE\r\n\r\n")
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
		t.Errorf("got %q, %v", got, err)
	}
}

// plainInbound is what a sidecar has for a port without mTLS.
func plainInbound() string {
	before, rest, _ := strings.Cut(serverResources, "  transport_socket:\n")
	_, after, _ := strings.Cut(rest, "  filters:\n")
	return strings.Replace(before, "transport_protocol: tls}", "transport_protocol: raw_buffer}", 1) + "  filters:\n" + after
}

// secureInbound is what a sidecar has for a port with TLS whose clients need not say who they are.
func secureInbound() string {
	return strings.Replace(serverResources, "require_client_certificate: true", "require_client_certificate: false", 1)
}

// TestHTTP2 holds that gateways and sidecars pass h2spec, in the clear and over TLS with ALPN.
func TestHTTP2(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == slowly {
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, strings.Repeat("hello ", 300))
	}))
	t.Cleanup(app.Close)
	address := app.Listener.Addr().String()
	edge, _ := gateway(t, gatewayResources, address)
	t.Run("gateway", func(t *testing.T) { conforms(t, edge.Inbound, false) })
	t.Run("gateway with TLS", func(t *testing.T) { conforms(t, edge.Outbound, true) })
	for name, resources := range map[string]string{"sidecar": plainInbound(), "sidecar with TLS": secureInbound()} {
		plane := newPlane(t)
		w := world{Inbound: ports.Free(t), App: portOf(t, address), Deny: "/secret"}
		plane.push("catalog", fill(t, resources, w))
		ready(t, plane.start("catalog"))
		t.Run(name, func(t *testing.T) { conforms(t, w.Inbound, resources == secureInbound()) })
	}
	t.Run("no preface", func(t *testing.T) { noPreface(t, edge.Inbound) })
}
