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
)

// behind answers what an application is told of its client.
func behind(t *testing.T) string {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "for %s beyond %q", r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Beyond"))
	}))
	t.Cleanup(app.Close)
	return app.Listener.Addr().String()
}

// TestIntroducedClients holds that a load balancer's PROXY header decides who the client is, for the application and for policy on the client's
// address, and that policy on the peer's still sees the load balancer.
func TestIntroducedClients(t *testing.T) {
	const header = "- {name: envoy.filters.listener.proxy_protocol, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol}}\n"
	const guard = `      - name: deny
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
          rules:
            action: DENY
            policies:
              client: {permissions: [{url_path: {path: {exact: /client}}}], principals: [{remote_ip: {address_prefix: 192.0.2.0, prefix_len: 24}}]}
              peer: {permissions: [{url_path: {path: {exact: /peer}}}], principals: [{direct_remote_ip: {address_prefix: 127.0.0.0, prefix_len: 8}}]}
`
	resources := strings.Replace(gatewayResources, "traffic_direction: OUTBOUND\nfilter_chains:", "traffic_direction: OUTBOUND\nlistener_filters:\n"+header+"filter_chains:", 1)
	resources = strings.Replace(resources, "      http_filters:\n", "      http_filters:\n"+guard, 1)
	w, p := gateway(t, resources, behind(t))
	ask := func(introduction, path string) (status int, body string) {
		t.Helper()
		conn, err := net.Dial("tcp", "127.0.0.1:"+w.Inbound)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = fmt.Fprintf(conn, "%sGET %s HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n", introduction, path)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return 0, err.Error()
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(text)
	}
	const of, other = "PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\r\n", "PROXY TCP4 203.0.113.7 198.51.100.1 1234 80\r\n"
	for _, c := range []struct {
		introduction, path string
		status             int
		body               string
	}{
		{of, "/", 200, "for 192.0.2.7 "}, {of, "/client", 403, ""}, {other, "/client", 200, "for 203.0.113.7 "}, {of, "/peer", 403, ""},
		{"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "/", 200, "for 127.0.0.1 "}, {"", "/", 0, ""},
	} {
		if status, body := ask(c.introduction, c.path); status != c.status || !strings.HasPrefix(body, c.body) {
			t.Errorf("%q %s: %d %s", c.introduction, c.path, status, body)
		}
	}
	metric(t, p, 0, "heddle_proxy_panics_total")
}

// TestLocalRateLimit holds what a client beyond the rate is told, that a route may have a rate of its own, and that one which is not enforced only
// marks requests.
func TestLocalRateLimit(t *testing.T) {
	const limit = `"@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit, stat_prefix: limit, filter_enabled: {default_value: {numerator: 100}}, `
	const chain = `      - {name: envoy.filters.http.local_ratelimit, typed_config: {` + limit + `token_bucket: {max_tokens: 2, fill_interval: 3600s}, filter_enforced: {default_value: {numerator: 100}}, response_headers_to_add: [{header: {key: x-local, value: "yes"}}]}}` + "\n"
	const marked = `{name: marked, match: {path: /marked}, route: {cluster: app}, typed_per_filter_config: {limit: {` + limit + `token_bucket: {max_tokens: 1, fill_interval: 3600s}, request_headers_to_add_when_not_enforced: [{header: {key: x-beyond, value: "yes"}}]}}}, `
	resources := strings.Replace(gatewayResources, "      http_filters:\n", "      http_filters:\n"+chain, 1)
	resources = strings.Replace(resources, "routes: [", "routes: ["+marked, 1)
	w, p := gateway(t, resources, behind(t))
	ask := func(path, kind string) (*http.Response, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:"+w.Inbound+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", kind)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response, string(body)
	}
	for n := range 4 {
		response, body := ask("/", "text/plain")
		switch {
		case n < 2 && response.StatusCode != 200:
			t.Errorf("request %d: %d %s", n, response.StatusCode, body)
		case n >= 2 && (response.StatusCode != 429 || body != "local_rate_limited" || response.Header.Get("X-Envoy-Ratelimited") != "" || response.Header.Get("X-Local") != "yes"):
			t.Errorf("request %d: %d %v %s", n, response.StatusCode, response.Header, body)
		}
	}
	for _, kind := range []string{"application/grpc", "application/grpc-web"} {
		if response, _ := ask("/", kind); response.StatusCode != 200 || response.Header.Get("Grpc-Status") != "14" || response.Header.Get("X-Envoy-Ratelimited") != "" {
			t.Errorf("%s: %d %v", kind, response.StatusCode, response.Header)
		}
	}
	for n, want := range []string{`beyond ""`, `beyond "yes"`} {
		if response, body := ask("/marked", ""); response.StatusCode != 200 || !strings.HasSuffix(body, want) {
			t.Errorf("marked request %d: %d %s", n, response.StatusCode, body)
		}
	}
	metric(t, p, 2, "istio_requests_total", `response_code="429"`, `response_flags="RL"`)
	metric(t, p, 0, "heddle_proxy_panics_total")
}
