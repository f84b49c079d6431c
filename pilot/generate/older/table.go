package older

import (
	_ "embed"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// first is dialect 1 as proxies of it hold it: the fields of each message that they honour. A dialect that was released never changes; when the next
// begins, sidecar/compile's list of the last becomes a file beside this one.
//
//go:embed dialects/1.txt
var first string

// table is an older dialect.
type table struct {
	fields map[protoreflect.FullName]map[protoreflect.Name]bool
	// without are messages and fields of later dialects that may be left out: what is lost is a way of balancing, watching, reporting or translating, never a
	// proof of identity or a denial.
	without map[string]bool
	values  []values
	// ownDomain: a server's identity is compared as a whole, and not under all trust domains of the mesh.
	ownDomain bool
}

// values are what a field may say in a dialect: an enumeration one of known, and otherwise instead; a list of words those of known.
type values struct {
	message protoreflect.FullName
	field   protoreflect.Name
	known   []string
	instead string
}

// tables are the older dialects that are generated for, by number. See "Dialects" in api/wire/dialect.md for what each brought.
var tables = sync.OnceValue(func() map[int]*table {
	return map[int]*table{1: {
		fields: parse(first), ownDomain: true,
		without: set(
			// Balancing: each request goes to some fit endpoint, as before there was a choice.
			"envoy.config.route.v3.RouteAction.hash_policy", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.hash_policy",
			"envoy.config.cluster.v3.Cluster.ring_hash_lb_config", "envoy.config.cluster.v3.Cluster.maglev_lb_config",
			"envoy.config.cluster.v3.Cluster.round_robin_lb_config", "envoy.config.cluster.v3.Cluster.least_request_lb_config",
			"envoy.config.cluster.v3.Cluster.CommonLbConfig.locality_weighted_lb_config",
			// Addresses that clients choose are dialled at the port that these chose, as before.
			"envoy.config.cluster.v3.Cluster.original_dst_lb_config",
			// Clients are spread as if they had not been there before.
			"envoy.extensions.filters.http.stateful_session.v3.StatefulSession", "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
			"envoy.config.cluster.v3.Cluster.CommonLbConfig.override_host_status",
			// Watching: a dead endpoint or connection is noticed by the requests that fail.
			"envoy.config.cluster.v3.Cluster.health_checks", "envoy.config.core.v3.Http2ProtocolOptions.connection_keepalive",
			// Outliers are noticed by their 5xx.
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions.outlier_detection",
			// Browsers' gRPC is passed on as it came.
			"envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
			// More is logged, and less is said in spans.
			"envoy.config.accesslog.v3.AccessLog.filter",
			"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing.custom_tags",
			// Retries are a share of the active requests.
			"envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget.budget_interval",
			// Names are looked up again when their answers are over, and oftener.
			"envoy.config.cluster.v3.Cluster.respect_dns_ttl",
			// Servers and clients are told more.
			"envoy.extensions.filters.http.router.v3.Router.suppress_envoy_headers",
			// Upstreams are told less of what clients have asked.
			"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.append_x_forwarded_port",
			"envoy.config.route.v3.RouteAction.append_x_forwarded_host",
			// What is no HTTP, and begins like it, waits for more.
			"envoy.config.listener.v3.ListenerFilter.filter_disabled",
			// Clients are shown no OCSP response.
			"envoy.extensions.transport_sockets.tls.v3.TlsCertificate.ocsp_staple",
		),
		values: []values{
			{message: "envoy.config.cluster.v3.Cluster", field: "lb_policy", known: []string{"ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "CLUSTER_PROVIDED"}, instead: "LEAST_REQUEST"},
			{message: "envoy.config.route.v3.RetryPolicy", field: "retry_on", known: []string{"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure",
				"refused-stream", "retriable-4xx", "retriable-status-codes", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
				"envoy-ratelimited", "http3-post-connect-failure"}},
		},
	}}
})

func set(names ...string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, name := range names {
		out[name] = true
	}
	return out
}

// parse reads lines "message: field field".
func parse(text string) map[protoreflect.FullName]map[protoreflect.Name]bool {
	out := map[protoreflect.FullName]map[protoreflect.Name]bool{}
	var fields map[protoreflect.Name]bool
	for _, word := range strings.Fields(text) {
		if message, ok := strings.CutSuffix(word, ":"); ok {
			fields = map[protoreflect.Name]bool{}
			out[protoreflect.FullName(message)] = fields
			continue
		}
		fields[protoreflect.Name(word)] = true
	}
	return out
}
