package engine_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// TestCapOfAPermissivePort: where a port has mTLS, plain HTTP and TCP, clients of plain HTTP beyond the cap are told 503, and the access log has the flag.
func TestCapOfAPermissivePort(t *testing.T) {
	const inspectors = "v3.TlsInspector}}\n- {name: envoy.filters.listener.http_inspector, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector}}\n"
	const chains = `default_filter_chain: {name: tcp, filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: "inbound|8080||"}}]}
filter_chains:
- name: plain
  filter_chain_match: {destination_port: {{.Inbound}}, transport_protocol: raw_buffer, application_protocols: [http/1.0, http/1.1, h2c]}
  filters:
  - name: hcm
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: inbound
      route_config: {name: plain, virtual_hosts: [{name: inbound, domains: ["*"], routes: [{name: default, match: {prefix: /}, direct_response: {status: 204}}]}]}
      http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
`
	resources := strings.Replace(serverResources, "v3.TlsInspector}}\n", inspectors, 1)
	resources = strings.Replace(resources, "filter_chains:\n", chains, 1)
	resources = strings.Replace(resources, "%RESPONSE_CODE_DETAILS%", "%RESPONSE_FLAGS% %CONNECTION_TERMINATION_DETAILS%", 1)
	plane := newPlane(t)
	w := world{Inbound: ports.Free(t), App: ports.Free(t)}
	plane.push("catalog", fill(t, resources, w))
	p := withDescriptors(t, 300, func() *proxy { return plane.start("catalog") })
	expect(t, w.Inbound, "/", 204, "")
	for n := 0; n < 64; n++ {
		conn, err := net.Dial("tcp", "127.0.0.1:"+w.Inbound)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_, _ = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: catalog\r\n\r\n")
	}
	expect(t, w.Inbound, "/", http.StatusServiceUnavailable, "")
	eventually(t, "access log", func() error {
		if !strings.Contains(p.access.String(), " UO connection_limit") {
			return fmt.Errorf("got %s", p.access)
		}
		return nil
	})
	if nacks := plane.nacks.all(); len(nacks) > 0 {
		t.Errorf("refused: %v", nacks)
	}
}

// withDescriptors starts a proxy that may have so many descriptors, as far as it looks.
func withDescriptors(t *testing.T, n uint64, start func() *proxy) *proxy {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	}()
	return start()
}
