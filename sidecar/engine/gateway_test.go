package engine_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/sidecar/role"
)

// gatewayResources are two servers, with and without TLS, before one application.
const gatewayResources = `
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: plain
address: {socket_address: {address: 127.0.0.1, port_value: {{.Inbound}}}}
traffic_direction: OUTBOUND
filter_chains:
- filters:
  - name: hcm
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: gateway
      use_remote_address: true
      rds: {config_source: {ads: {}}, route_config_name: "http.80"}
      http_filters:
      - {name: web, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb}}
      - {name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
---
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: secure
address: {socket_address: {address: 127.0.0.1, port_value: {{.Outbound}}}}
traffic_direction: OUTBOUND
listener_filters:
- {name: envoy.filters.listener.tls_inspector, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}
filter_chains:
- transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
      common_tls_context:
        alpn_protocols: [h2, http/1.1]
        tls_certificate_sds_secret_configs: [{name: default, sds_config: {ads: {}}}]
  filters:
  - name: hcm
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: gateway
      use_remote_address: true
      rds: {config_source: {ads: {}}, route_config_name: "http.80"}
      http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
---
"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
name: "http.80"
virtual_hosts: [{name: all, domains: ["*"], routes: [{name: default, match: {prefix: /}, route: {cluster: app, timeout: {{.Timeout}}}}]}]
---
"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: app
type: STATIC
load_assignment: {cluster_name: app, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.App}}}}}}]}]}
`

// gateway runs a gateway before an application, and waits until it is ready.
func gateway(t *testing.T, resources, app string) (w world, p *proxy) {
	t.Helper()
	plane := newPlane(t)
	w = world{Inbound: ports.Free(t), Outbound: ports.Free(t), App: portOf(t, app), Timeout: "0s"}
	plane.push("edge", fill(t, resources, w))
	p = plane.startAs(role.Gateway(), "edge")
	ready(t, p)
	t.Cleanup(func() {
		if nacks := plane.nacks.all(); len(nacks) > 0 {
			t.Errorf("refused: %v", nacks)
		}
	})
	return w, p
}

// ready waits until a proxy may be given traffic.
func ready(t *testing.T, p *proxy) {
	t.Helper()
	eventually(t, "readiness", func() error {
		code, body, err := get("http://"+p.admin+"/ready", "")
		if err == nil && code != http.StatusOK {
			err = errors.New(body)
		}
		return err
	})
}

// frame is a gRPC message in its frame.
func frame(t *testing.T, text string) []byte {
	t.Helper()
	message, err := proto.Marshal(wrapperspb.String(text))
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// frames takes a gRPC-Web body apart: messages, then trailers.
func frames(t *testing.T, body []byte) (messages []string, trailers string) {
	t.Helper()
	for len(body) > 0 {
		if len(body) < 5 || len(body) < 5+int(binary.BigEndian.Uint32(body[1:])) {
			t.Fatalf("%q is no frame", body)
		}
		n := 5 + int(binary.BigEndian.Uint32(body[1:]))
		if body[0] == 0x80 {
			trailers = string(body[5:n])
		} else {
			var m wrapperspb.StringValue
			if err := proto.Unmarshal(body[5:n], &m); err != nil || trailers != "" {
				t.Fatalf("%q, after %q: %v", body[:n], trailers, err)
			}
			messages = append(messages, m.Value)
		}
		body = body[n:]
	}
	return messages, trailers
}

// TestGRPCWeb calls a gRPC service as a browser does, over HTTP/1.1: in bytes and in base64, with one message and with several, in one piece and in
// many, and where the call fails in the service and before it.
func TestGRPCWeb(t *testing.T) {
	w, p := gateway(t, asHTTP2(gatewayResources), grpcApp(t))
	call := func(method, kind string, body []byte, pieces bool) (*http.Response, []byte) {
		t.Helper()
		in := io.Reader(bytes.NewReader(body))
		if pieces { // a reader of unknown length, that gives a few bytes at a time
			in = slow{bytes.NewReader(body)}
		}
		request, err := http.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:"+w.Inbound+"/shop.Catalog/"+method, in)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", kind)
		request.Header.Set("Accept", kind)
		client := &http.Client{Timeout: time.Minute}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		out, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, out
	}
	for _, text := range []bool{false, true} {
		for _, pieces := range []bool{false, true} {
			kind, wrap := "application/grpc-web+proto", func(p []byte) []byte { return p }
			unwrap := wrap
			if text {
				kind = "application/grpc-web-text+proto"
				wrap = func(p []byte) []byte { return base64.StdEncoding.AppendEncode(nil, p) }
				unwrap = unpadded(t)
			}
			name := fmt.Sprintf("text %v, pieces %v", text, pieces)
			response, body := call("Get", kind, wrap(frame(t, "pot")), pieces)
			messages, trailers := frames(t, unwrap(body))
			if response.StatusCode != 200 || response.Header.Get("Content-Type") != kind || len(messages) != 1 || !strings.HasPrefix(messages[0], "pot") ||
				!strings.Contains(trailers, "grpc-status:0\r\n") {
				t.Errorf("%s: %d %v %q %q", name, response.StatusCode, response.Header, messages, trailers)
			}
			_, body = call("Watch", kind, append(wrap(frame(t, "a")), wrap(append(frame(t, "b"), frame(t, strings.Repeat("c", 20_000))...))...), pieces)
			if messages, trailers = frames(t, unwrap(body)); len(messages) != 3 || messages[1] != "b" || len(messages[2]) != 20_000 || !strings.Contains(trailers, "grpc-status:0\r\n") {
				t.Errorf("%s: %d messages, %q", name, len(messages), trailers)
			}
			response, body = call("Get", kind, wrap(frame(t, "missing")), pieces)
			if response.Header.Get("Grpc-Status") != "5" || response.Header.Get("Grpc-Message") != "no such thing" || len(body) != 0 {
				t.Errorf("%s: missing: %v %q", name, response.Header, body)
			}
		}
	}
	if response, body := call("Get", "application/grpc-web-text", []byte("no base64!"), false); response.Header.Get("Grpc-Status") != "13" || len(body) != 0 {
		t.Errorf("bad base64: %v %q", response.Header, body)
	}
	metric(t, p, 8, "istio_requests_total", `request_protocol="grpc"`, `grpc_response_status="0"`)
	metric(t, p, 0, "heddle_proxy_panics_total")
}

// TestGRPCWebBrokenOff holds that an answer which breaks off in the middle does so for the client too, and does not seem complete: by a reset over
// HTTP/2, though a gRPC client would be told by trailers, and by the connection's end over HTTP/1.1.
func TestGRPCWebBrokenOff(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = w.Write([]byte("\x00\x00\x00\x00\x09half"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	app.Config.Protocols = &both
	app.Start()
	t.Cleanup(app.Close)
	w, p := gateway(t, asHTTP2(gatewayResources), app.Listener.Addr().String())
	var two http.Protocols
	two.SetUnencryptedHTTP2(true)
	for name, transport := range map[string]*http.Transport{"HTTP/1.1": {}, "HTTP/2": {Protocols: &two}} {
		for _, kind := range []string{"application/grpc-web", "application/grpc-web-text"} {
			request, err := http.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:"+w.Inbound+"/shop.Catalog/Get", strings.NewReader("AAAAAAA="))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", kind)
			request.Header.Set("Accept", kind)
			response, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(request)
			if err != nil {
				continue // the end came before the head was read
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil || response.Proto[:6] != name[:6] {
				t.Errorf("%s, %s: %s %q ends as if it were complete, trailers %v", name, kind, response.Proto, body, response.Trailer)
			}
		}
		transport.CloseIdleConnections()
	}
	metric(t, p, 0, "heddle_proxy_panics_total")
}

// slow gives a few bytes at a time.
type slow struct{ io.Reader }

func (s slow) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(len(p), 7)]) }

// unpadded reads base64 that is padded wherever a message ends.
func unpadded(t *testing.T) func([]byte) []byte {
	return func(p []byte) (out []byte) {
		for len(p) >= 4 {
			n := len(p) &^ 3
			if pad := bytes.IndexByte(p, '='); pad >= 0 {
				n = pad&^3 + 4
			}
			part, err := base64.StdEncoding.DecodeString(string(p[:n]))
			if err != nil {
				t.Fatalf("%q: %v", p[:n], err)
			}
			out, p = append(out, part...), p[n:]
		}
		if len(p) > 0 {
			t.Fatalf("%q is left", p)
		}
		return out
	}
}

// TestConfigDump asks a running proxy in Envoy's words: everything is there, and no key.
func TestConfigDump(t *testing.T) {
	app := httptest.NewServer(http.NotFoundHandler())
	defer app.Close()
	_, p := gateway(t, gatewayResources, app.Listener.Addr().String())
	eventually(t, "the dump", func() error {
		status, body, err := get("http://"+p.admin+"/config_dump?include_eds", "")
		for _, part := range []string{"BootstrapConfigDump", "ClustersConfigDump", `"dynamic_active_clusters"`, "EndpointsConfigDump", "ListenersConfigDump", `"active_state"`, "RoutesConfigDump",
			"SecretsConfigDump", `"name": "ROOTCA"`, `"name": "default"`, `"inline_bytes": "W3JlZGFjdGVkXQ=="`, `"last_updated"`} {
			if err == nil && (status != http.StatusOK || !strings.Contains(body, part)) {
				err = fmt.Errorf("%d: it lacks %s in\n%s", status, part, body)
			}
		}
		return err
	})
	if status, body, err := get("http://"+p.admin+"/config_dump?resource=dynamic_listeners", ""); err != nil || status != http.StatusOK || strings.Contains(body, "ClustersConfigDump") ||
		!strings.Contains(body, "ListenersConfigDump.DynamicListener") {
		t.Errorf("%d %v %s", status, err, body)
	}
}
