package engine_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// asIstiod says the same as resources of ours in the words of Istio's control plane: secrets of an agent, servers named by the cluster, HTTP announced by a
// filter, rules that are only tried out.
func asIstiod(resources string) string {
	return strings.NewReplacer(
		"sds_config: {ads: {}}", "sds_config: {api_config_source: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: sds-grpc}}]}}",
		"default_validation_context: {}", `default_validation_context: {match_subject_alt_names: [{exact: "{{.Identity}}"}]}`,
		`heddle.workload: {identity: "{{.Identity}}", workload: catalog-v1, namespace: shop, app: catalog}`, `istio: {workload: "catalog-v1;shop;catalog;;Kubernetes"}`,
		"heddle.self: {", "unread: {",
		"heddle.service: {host: catalog, name: catalog, namespace: shop}", "istio: {services: [{host: catalog, name: catalog, namespace: shop}]}",
		"alpn_protocols: [", "alpn_protocols: [istio-peer-exchange, ",
		"transport_protocol: tls}", "transport_protocol: tls, application_protocols: [istio-http/1.1]}",
		"http_filters: [", `http_filters: [{name: istio.alpn, typed_config: {"@type": type.googleapis.com/istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig,
          alpn_override: [{upstream_protocol: HTTP11, alpn_override: [istio-http/1.1, istio, http/1.1]}]}}, `,
		"rules: {action: DENY", "shadow_rules: {action: DENY, policies: {all: {permissions: [{any: true}], principals: [{any: true}]}}}\n          rules: {action: DENY",
	).Replace(resources)
}

// TestTwoSidecarsOfIstiod: requests between two sidecars of a foreign control plane go over mTLS under the proxies' own certificates, are judged by the rules
// that decide, and reach no server but the one that the cluster names.
func TestTwoSidecarsOfIstiod(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Header.Get("X-Forwarded-Client-Cert")))
	}))
	defer app.Close()
	plane := newPlane(t)
	plane.foreign = true
	w := world{Inbound: ports.Free(t), Outbound: ports.Free(t), App: portOf(t, app.Listener.Addr().String()),
		Identity: "spiffe://cluster.local/ns/shop/sa/catalog", Deny: "/secret", Timeout: "5s"}
	plane.push("catalog", fill(t, asIstiod(serverResources), w))
	plane.push("web", fill(t, asIstiod(clientResources), w))
	server, client := plane.start("catalog"), plane.start("web")
	expect(t, w.Outbound, "/", 200, "URI=spiffe://cluster.local/ns/shop/sa/web")
	expect(t, w.Outbound, "/secret", 403, "RBAC: access denied")
	metric(t, client, 1, "istio_requests_total", `reporter="source"`, `response_code="200"`, `destination_service="catalog"`, `destination_workload="catalog-v1"`,
		`destination_canonical_service="catalog"`, `source_workload="web"`)
	metric(t, server, 1, "heddle_proxy_xds_ignored_fields_total") // the shadow rules
	w.Identity = "spiffe://cluster.local/ns/shop/sa/other"
	plane.push("web", fill(t, asIstiod(clientResources), w))
	expect(t, w.Outbound, "/named", 503, "")
	if nacks := plane.nacks.all(); len(nacks) > 0 {
		t.Errorf("refused: %v", nacks)
	}
}
