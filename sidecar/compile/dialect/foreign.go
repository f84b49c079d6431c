package dialect

import (
	"strings"
	"sync"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	caresv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// CheckForeign is Check for what comes from a control plane that knows nothing of the dialect: what is not honoured is refused unless it is known to concern
// neither security nor where requests go, and else counted. What it asks for does not happen: m is left without such filters, access loggers and tracers.
// Paths count what is left. Secrets may be those of an agent: see Agent.
func (c Checker) CheckForeign(m proto.Message) (ignored int, err error) {
	if r := (walk{c, &ignored}).message(m.ProtoReflect()); r != nil {
		return 0, r
	}
	return ignored, nil
}

// Harmless are the fields that are not honoured, and need not be. They say how fast, how evenly, with which buffers and with what statistics traffic flows, or
// ask for more than is allowed here. Whom is trusted, who may do what, where requests go, what bounds a client's use, and what names are resolved by is not
// among them, nor is what the API may get in time. What shadow rules find, ext_authz may ask (Istio's CUSTOM policies): that filter is refused.
var Harmless = sync.OnceValue(func() Checker { return read(harmless) })

const harmless = `
envoy.config.listener.v3.Listener: stats_matcher per_connection_buffer_limit_bytes drain_type tcp_fast_open_queue_length connection_balance_config
	reuse_port enable_reuse_port tcp_backlog_size max_connections_to_accept_per_socket_event enable_mptcp tcp_keepalive
	ignore_global_conn_limit bypass_overload_manager
envoy.config.listener.v3.AdditionalAddress: tcp_keepalive
envoy.config.core.v3.SubstitutionFormatString: omit_empty_values json_format_options
envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector: initial_read_buffer_size
envoy.extensions.filters.network.rbac.v3.RBAC: shadow_rules shadow_matcher shadow_rules_stat_prefix
envoy.extensions.filters.http.rbac.v3.RBAC: shadow_rules shadow_matcher shadow_rules_stat_prefix track_per_rule_stats
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy: max_connect_attempts backoff_options max_downstream_connection_duration_jitter_percentage
	access_log_flush_interval flush_access_log_on_connected access_log_options check_drain_close
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager: add_user_agent drain_timeout_jitter delayed_close_timeout
	access_log_flush_interval flush_access_log_on_new_request access_log_options via always_set_request_id_in_response proxy_100_continue
	request_id_extension stream_error_on_invalid_http_message append_local_overload record_route_resolution_stats
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing: client_sampling overall_sampling verbose spawn_upstream_span
envoy.extensions.filters.http.router.v3.Router: dynamic_stats start_child_span suppress_grpc_request_failure_code_stats
envoy.config.core.v3.HttpProtocolOptions: max_connection_duration_jitter
envoy.config.core.v3.Http1ProtocolOptions: enable_trailers override_stream_error_on_invalid_http_message use_balsa_parser allow_custom_methods
envoy.config.core.v3.Http2ProtocolOptions: initial_stream_window_size initial_connection_window_size allow_connect allow_metadata
	stream_error_on_invalid_http_messaging override_stream_error_on_invalid_http_message use_oghttp2_codec enable_huffman_encoding
envoy.config.core.v3.KeepaliveSettings: interval_jitter connection_idle_interval
envoy.config.route.v3.VirtualHost: virtual_clusters include_attempt_count_in_response
envoy.config.route.v3.Route: stat_prefix
envoy.config.route.v3.RouteAction.RequestMirrorPolicy: trace_sampled
envoy.config.route.v3.RouteAction: priority hedge_policy
envoy.config.route.v3.RetryPolicy: rate_limited_retry_back_off refresh_cluster_on_retry
envoy.config.cluster.v3.Cluster: stats_matcher per_connection_buffer_limit_bytes max_requests_per_connection dns_jitter dns_failure_refresh_rate
	wait_for_warm_on_init close_connections_on_host_health_failure ignore_health_on_host_removal lrs_server lrs_report_endpoint_metrics
	track_timeout_budgets track_cluster_stats preconnect_policy
envoy.config.cluster.v3.Cluster.LeastRequestLbConfig: choice_count active_request_bias
envoy.config.cluster.v3.Cluster.CommonLbConfig: update_merge_window ignore_new_hosts_until_first_hc consistent_hashing_lb_config zone_aware_lb_config
envoy.config.cluster.v3.OutlierDetection: success_rate_minimum_hosts success_rate_request_volume success_rate_stdev_factor failure_percentage_threshold
	failure_percentage_minimum_hosts failure_percentage_request_volume max_ejection_time_jitter successful_active_health_check_uneject_host
	detect_degraded_hosts
envoy.config.cluster.v3.UpstreamConnectionOptions: set_local_interface_name_on_upstream_connections happy_eyeballs_config
envoy.config.core.v3.HealthCheck: event_log_path event_logger event_service always_log_health_check_failures always_log_health_check_success
envoy.config.endpoint.v3.LocalityLbEndpoints: proximity
envoy.config.endpoint.v3.Endpoint: observability_name
`

// lists are the messages whose lists may have elements that are left out: filters that only measure, by the type of their typed_config.
var lists = map[protoreflect.FullName]map[string]bool{
	"envoy.config.listener.v3.Filter":                                        measures,
	"envoy.config.cluster.v3.Filter":                                         measures,
	"envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter": measures,
}

// measures are filters that count, and those of Istio's that tell and ask whom is counted; decisions are made by certificates.
var measures = map[string]bool{
	"stats.PluginConfig":                                         true,
	"io.istio.http.peer_metadata.Config":                         true,
	"envoy.tcp.metadataexchange.config.MetadataExchange":         true,
	"envoy.extensions.filters.http.grpc_stats.v3.FilterConfig":   true,
	"envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy": true,
}

// reports are messages that say what is told of traffic: where anything in one is not honoured, it is left out whole, and the rest stays.
var reports = map[protoreflect.FullName]bool{
	"envoy.config.accesslog.v3.AccessLog": true,
	"envoy.type.tracing.v3.CustomTag":     true,
	"envoy.config.trace.v3.Tracing.Http":  true,
}

// spare takes from a field what need not be honoured, and counts it.
func (c walk) spare(m protoreflect.Message, field protoreflect.FieldDescriptor) {
	if c.ignored == nil || field.Message() == nil {
		return
	}
	if field.FullName() == "envoy.config.cluster.v3.Cluster.typed_dns_resolver_config" && sameServers(m.Get(field).Message()) {
		m.Clear(field)
		*c.ignored++
		return
	}
	if kind := field.Message().FullName(); field.IsList() && (lists[kind] != nil || reports[kind]) {
		c.thin(m.Mutable(field).List(), lists[kind])
	} else if reports[kind] && c.untold(m.Get(field).Message()) {
		m.Clear(field)
		*c.ignored++
	}
}

// thin leaves out of a list what need not be honoured: elements of the types named, and reports that are not.
func (c walk) thin(list protoreflect.List, out map[string]bool) {
	kept := 0
	for i := range list.Len() {
		m := list.Get(i).Message()
		spare := out == nil && c.untold(m)
		if out != nil {
			spare = out[extension(m)]
		}
		if spare {
			*c.ignored++
			continue
		}
		list.Set(kept, list.Get(i))
		kept++
	}
	list.Truncate(kept)
}

// untold says whether a report has anything that is not honoured.
func (c walk) untold(m protoreflect.Message) bool {
	trial := 0
	return walk{c.Checker, &trial}.message(m) != nil
}

// extension is the type of what an element's typed_config has, also where that comes as a TypedStruct, of udpa.type.v1 or xds.type.v3; empty: none.
func extension(m protoreflect.Message) string {
	a, ok := m.Get(m.Descriptor().Fields().ByName("typed_config")).Message().Interface().(*anypb.Any)
	if !ok {
		return ""
	}
	name := string(a.MessageName())
	if name != "udpa.type.v1.TypedStruct" && name != "xds.type.v3.TypedStruct" {
		return name
	}
	for raw := a.GetValue(); len(raw) > 0; {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return ""
		}
		if raw = raw[n:]; number == 1 && kind == protowire.BytesType {
			url, n := protowire.ConsumeBytes(raw)
			if n < 0 {
				return ""
			}
			return string(url[strings.LastIndexByte(string(url), '/')+1:])
		}
		if n = protowire.ConsumeFieldValue(number, kind, raw); n < 0 {
			return ""
		}
		raw = raw[n:]
	}
	return ""
}

// sameServers says whether a resolver asks whom any other would ask, over the same protocol, only at its own pace.
func sameServers(m protoreflect.Message) bool {
	in, ok := m.Interface().(*corev3.TypedExtensionConfig)
	cares := &caresv3.CaresDnsResolverConfig{}
	if !ok || in.GetTypedConfig().UnmarshalTo(cares) != nil || len(cares.ProtoReflect().GetUnknown()) > 0 {
		return false
	}
	pace := true
	cares.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		switch field.Name() {
		case "udp_max_queries", "query_timeout_seconds", "query_tries", "rotate_nameservers", "max_udp_channel_duration":
		default:
			pace = false
		}
		return pace
	})
	return pace
}
