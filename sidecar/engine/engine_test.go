package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// world are the values that resources are filled with.
type world struct {
	Inbound, Outbound, App string // ports
	Identity               string // of the endpoint, as the control plane knows it
	Deny                   string // path that a policy denies
	Timeout                string
}

const serverResources = `
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: virtualInbound
address: {socket_address: {address: 127.0.0.1, port_value: {{.Inbound}}}}
traffic_direction: INBOUND
listener_filters:
- {name: envoy.filters.listener.tls_inspector, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}
metadata: {filter_metadata: {heddle.self: {identity: "spiffe://cluster.local/ns/shop/sa/catalog", workload: catalog-v1, namespace: shop, app: catalog}}}
filter_chains:
- name: mtls
  filter_chain_match: {destination_port: {{.Inbound}}, transport_protocol: tls}
  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
      require_client_certificate: true
      common_tls_context:
        alpn_protocols: [h2, http/1.1]
        tls_certificate_sds_secret_configs: [{name: default, sds_config: {ads: {}}}]
        combined_validation_context:
          default_validation_context: {match_subject_alt_names: [{prefix: "spiffe://cluster.local/"}]}
          validation_context_sds_secret_config: {name: ROOTCA, sds_config: {ads: {}}}
  filters:
  - name: hcm
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: inbound
      server_name: istio-envoy
      forward_client_cert_details: APPEND_FORWARD
      set_current_client_cert_details: {cert: true, subject: true, uri: true, dns: true}
      access_log: [{name: file, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /dev/stdout, log_format: {text_format_source: {inline_string: "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%\n"}}}}]
      route_config:
        name: inbound|8080||
        virtual_hosts: [{name: inbound, domains: ["*"], routes: [{name: default, match: {prefix: /}, route: {cluster: inbound|8080||, timeout: 0s}}]}]
      http_filters:
      - name: deny
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
          rules: {action: DENY, policies: {"ns[shop]-policy[no]-rule[0]": {permissions: [{url_path: {path: {exact: "{{.Deny}}"}}}], principals: [{authenticated: {principal_name: {exact: "spiffe://cluster.local/ns/shop/sa/web"}}}]}}}
      - {name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
---
"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: inbound|8080||
type: STATIC
load_assignment: {cluster_name: inbound|8080||, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.App}}}}}}]}]}
`

const clientResources = `
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: 127.0.0.1_80
address: {socket_address: {address: 127.0.0.1, port_value: {{.Outbound}}}}
traffic_direction: OUTBOUND
metadata: {filter_metadata: {heddle.self: {identity: "spiffe://cluster.local/ns/shop/sa/web", workload: web, namespace: shop, app: web}}}
filter_chains:
- name: plain
  filters:
  - name: hcm
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: outbound
      rds: {config_source: {ads: {}}, route_config_name: "80"}
      http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
---
"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
name: "80"
virtual_hosts: [{name: catalog, domains: [catalog], routes: [{name: default, match: {prefix: /}, route: {cluster: outbound|80||catalog, timeout: {{.Timeout}}}}]}]
---
"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: outbound|80||catalog
type: EDS
eds_cluster_config: {eds_config: {ads: {}}, service_name: outbound|80||catalog}
common_lb_config: {healthy_panic_threshold: {}}
metadata: {filter_metadata: {heddle.service: {host: catalog, name: catalog, namespace: shop}}}
transport_socket_matches:
- name: tlsMode-istio
  match: {tlsMode: istio}
  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      sni: outbound_.80_._.catalog
      common_tls_context:
        alpn_protocols: [istio]
        tls_certificate_sds_secret_configs: [{name: default, sds_config: {ads: {}}}]
        combined_validation_context: {default_validation_context: {}, validation_context_sds_secret_config: {name: ROOTCA, sds_config: {ads: {}}}}
- {name: tlsMode-disabled, match: {}, transport_socket: {name: envoy.transport_sockets.raw_buffer, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}
---
"@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
cluster_name: outbound|80||catalog
endpoints:
- lb_endpoints:
  - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Inbound}}}}}
    metadata: {filter_metadata: {envoy.transport_socket_match: {tlsMode: istio}, heddle.workload: {identity: "{{.Identity}}", workload: catalog-v1, namespace: shop, app: catalog}}}
`

// fill reads YAML documents into resources by type.
func fill(t *testing.T, text string, w world) map[resource.Type][]types.Resource {
	t.Helper()
	var filled bytes.Buffer
	if err := template.Must(template.New("resources").Parse(text)).Execute(&filled, w); err != nil {
		t.Fatal(err)
	}
	out := map[resource.Type][]types.Resource{}
	for _, doc := range strings.Split(filled.String(), "\n---\n") {
		data, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		var message anypb.Any
		if err := protojson.Unmarshal(data, &message); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		m, err := message.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		out[message.GetTypeUrl()] = append(out[message.GetTypeUrl()], m)
	}
	return out
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// eventually waits until check says nothing.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func get(url, host string) (status int, body string, err error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	request.Host = host
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// expect waits until the client's side answers with a status and a text in the body.
func expect(t *testing.T, port, path string, status int, text string) {
	t.Helper()
	eventually(t, "GET "+path, func() error {
		got, body, err := get("http://127.0.0.1:"+port+path, "catalog")
		if err != nil {
			return err
		}
		if got != status || !strings.Contains(body, text) {
			return fmt.Errorf("status %d: %s", got, body)
		}
		return nil
	})
}

// metric waits until the proxy exports a series with a value.
func metric(t *testing.T, p *proxy, value int, parts ...string) {
	t.Helper()
	eventually(t, "metric "+strings.Join(parts, " "), func() error {
		_, body, err := get("http://"+p.admin+"/stats/prometheus", "")
		if err != nil {
			return err
		}
	lines:
		for _, line := range strings.Split(body, "\n") {
			for _, part := range parts {
				if !strings.Contains(line, part) {
					continue lines
				}
			}
			if strings.HasSuffix(line, " "+strconv.Itoa(value)) {
				return nil
			}
		}
		return fmt.Errorf("no such line with %d", value)
	})
}

// TestTwoSidecars sends requests from one sidecar to another: certificates, discovery, mTLS, policy, naming and telemetry are all real.
func TestTwoSidecars(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s xfcc=%s", r.Host, r.Header.Get("X-Forwarded-Client-Cert"))
	}))
	defer app.Close()
	plane := newPlane(t)
	w := world{Inbound: ports.Free(t), Outbound: ports.Free(t), App: portOf(t, app.Listener.Addr().String()),
		Identity: "spiffe://cluster.local/ns/shop/sa/catalog", Deny: "/secret", Timeout: "5s"}
	plane.push("catalog", fill(t, serverResources, w))
	plane.push("web", fill(t, clientResources, w))
	server, client := plane.start("catalog"), plane.start("web")
	for _, p := range []*proxy{server, client} {
		eventually(t, "readiness", func() error {
			status, body, err := get("http://"+p.admin+"/ready", "")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%s", body)
			}
			return err
		})
	}
	expect(t, w.Outbound, "/", 200, "hello catalog xfcc=By=spiffe://cluster.local/ns/shop/sa/catalog;Hash=")
	expect(t, w.Outbound, "/", 200, `;Cert="-----BEGIN%20CERTIFICATE-----%0A`)
	expect(t, w.Outbound, "/", 200, "URI=spiffe://cluster.local/ns/shop/sa/web")
	expect(t, w.Outbound, "/secret", 403, "RBAC: access denied")
	eventually(t, "access log", func() error {
		if !strings.Contains(server.access.String(), "/secret 403 rbac_access_denied_matched_policy[ns[shop]-policy[no]-rule[0]]") {
			return fmt.Errorf("got %s", server.access)
		}
		return nil
	})
	metric(t, client, 3, "istio_requests_total", `reporter="source"`, `response_code="200"`, `destination_service="catalog"`,
		`destination_principal="spiffe://cluster.local/ns/shop/sa/catalog"`, `source_workload="web"`)
	metric(t, server, 1, "istio_requests_total", `reporter="destination"`, `response_code="403"`,
		`source_principal="spiffe://cluster.local/ns/shop/sa/web"`, `connection_security_policy="mutual_tls"`)

	if _, _, err := get("http://127.0.0.1:"+w.Inbound+"/", "catalog"); err == nil {
		t.Error("a STRICT port served plaintext")
	}

	w.Identity = "spiffe://cluster.local/ns/shop/sa/other"
	plane.push("web", fill(t, clientResources, w))
	expect(t, w.Outbound, "/named", 503, "")
	w.Identity = "spiffe://cluster.local/ns/shop/sa/catalog"
	plane.push("web", fill(t, clientResources, w))
	expect(t, w.Outbound, "/named", 200, "hello")

	if nacks := plane.nacks.all(); len(nacks) > 0 {
		t.Errorf("refused: %v", nacks)
	}
	metric(t, client, 0, "heddle_proxy_panics_total")
	metric(t, server, 0, "heddle_proxy_panics_total")
}
