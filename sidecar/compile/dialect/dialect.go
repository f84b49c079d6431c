package dialect

// list says, per message, the fields that this proxy implements, or may ignore without changing what its user meant (statistics,
// Envoy's own resource bounds). Any other field that is set refuses the resource, and so does any other message. Messages of
// google.protobuf count as values and are honoured whole.
const list = `
envoy.config.listener.v3.Listener: name address additional_addresses bind_to_port use_original_dst traffic_direction listener_filters
	listener_filters_timeout continue_on_listener_filters_timeout filter_chains default_filter_chain metadata access_log stat_prefix
envoy.config.listener.v3.AdditionalAddress: address
envoy.config.listener.v3.ListenerFilter: name typed_config filter_disabled
envoy.config.listener.v3.ListenerFilterChainMatchPredicate: or_match and_match not_match any_match destination_port_range
envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet: rules
envoy.type.v3.Int32Range: start end
envoy.config.listener.v3.FilterChain: name filter_chain_match filters transport_socket transport_socket_connect_timeout metadata
envoy.config.listener.v3.FilterChainMatch: destination_port prefix_ranges server_names transport_protocol application_protocols
envoy.config.listener.v3.Filter: name typed_config
envoy.config.accesslog.v3.AccessLog: name filter typed_config
envoy.config.accesslog.v3.AccessLogFilter: extension_filter
envoy.config.accesslog.v3.ExtensionFilter: name typed_config
envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter: expression
envoy.extensions.access_loggers.file.v3.FileAccessLog: path log_format
envoy.config.core.v3.SubstitutionFormatString: text_format_source json_format
envoy.config.core.v3.DataSource: filename inline_bytes inline_string
envoy.config.core.v3.Address: socket_address pipe
envoy.config.core.v3.Pipe: path
envoy.config.core.v3.SocketAddress: address port_value protocol
envoy.config.core.v3.CidrRange: address_prefix prefix_len
envoy.config.core.v3.Metadata: filter_metadata
envoy.config.core.v3.TransportSocket: name typed_config
envoy.config.core.v3.TypedExtensionConfig: name typed_config
envoy.config.core.v3.ConfigSource: ads resource_api_version initial_fetch_timeout self
envoy.config.core.v3.AggregatedConfigSource:
envoy.config.core.v3.SelfConfigSource: transport_api_version
envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol: allow_requests_without_proxy_protocol stat_prefix
envoy.extensions.filters.listener.original_dst.v3.OriginalDst:
envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector:
envoy.extensions.filters.listener.http_inspector.v3.HttpInspector:
envoy.extensions.filters.network.rbac.v3.RBAC: rules stat_prefix
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy: stat_prefix cluster weighted_clusters idle_timeout access_log
	max_downstream_connection_duration hash_policy tunneling_config
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig: hostname use_post post_path
envoy.type.v3.HashPolicy: source_ip
envoy.type.v3.HashPolicy.SourceIp:
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster: clusters
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight: name weight
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager: codec_type stat_prefix rds route_config http_filters access_log
	use_remote_address xff_num_trusted_hops forward_client_cert_details set_current_client_cert_details upgrade_configs normalize_path merge_slashes
	path_with_escaped_slashes_action server_name server_header_transformation generate_request_id preserve_external_request_id stream_idle_timeout
	request_timeout request_headers_timeout common_http_protocol_options http_protocol_options http2_protocol_options tracing internal_address_config
	drain_timeout strip_any_host_port max_request_headers_kb append_x_forwarded_port
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails: subject cert uri dns
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig: upgrade_type enabled
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing: random_sampling provider max_path_tag_length
	custom_tags no_context_propagation
envoy.type.tracing.v3.CustomTag: tag literal environment request_header value
envoy.type.tracing.v3.CustomTag.Environment: name default_value
envoy.type.tracing.v3.CustomTag.Literal: value
envoy.type.tracing.v3.CustomTag.Header: name default_value
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig: cidr_ranges
envoy.config.trace.v3.Tracing.Http: name typed_config
envoy.config.trace.v3.OpenTelemetryConfig: grpc_service service_name
envoy.config.core.v3.GrpcService: google_grpc timeout
envoy.config.core.v3.GrpcService.GoogleGrpc: target_uri stat_prefix
envoy.type.v3.Percent: value
envoy.type.v3.FractionalPercent: numerator denominator
envoy.config.core.v3.RuntimeFractionalPercent: default_value runtime_key
envoy.extensions.filters.network.http_connection_manager.v3.Rds: config_source route_config_name
envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter: name typed_config
envoy.config.core.v3.HttpProtocolOptions: idle_timeout max_connection_duration max_stream_duration max_requests_per_connection headers_with_underscores_action
	max_headers_count max_response_headers_kb
envoy.config.core.v3.Http1ProtocolOptions: accept_http_10
envoy.config.core.v3.Http2ProtocolOptions: max_concurrent_streams connection_keepalive
envoy.config.core.v3.KeepaliveSettings: interval timeout
envoy.extensions.filters.http.router.v3.Router: suppress_envoy_headers
envoy.extensions.filters.http.rbac.v3.RBAC: rules rules_stat_prefix
envoy.extensions.filters.http.grpc_web.v3.GrpcWeb:
istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig: alpn_override
istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.AlpnOverride: upstream_protocol alpn_override
envoy.extensions.filters.http.stateful_session.v3.StatefulSession: session_state strict
envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute: disabled stateful_session
envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState: cookie
envoy.type.http.v3.Cookie: name ttl path
envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState: name
envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig: dns_cache_config
envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig: dns_cache_config port_value
envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit: stat_prefix status token_bucket filter_enabled filter_enforced
	request_headers_to_add_when_not_enforced response_headers_to_add rate_limited_as_resource_exhausted
envoy.type.v3.TokenBucket: max_tokens tokens_per_fill fill_interval
envoy.type.v3.HttpStatus: code
envoy.extensions.filters.http.fault.v3.HTTPFault: delay abort
envoy.extensions.filters.common.fault.v3.FaultDelay: fixed_delay header_delay percentage
envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay:
envoy.extensions.filters.http.fault.v3.FaultAbort: http_status grpc_status header_abort percentage
envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort:
envoy.extensions.filters.http.cors.v3.Cors:
envoy.extensions.filters.http.cors.v3.CorsPolicy: allow_origin_string_match allow_methods allow_headers expose_headers max_age allow_credentials
	forward_not_matching_preflights filter_enabled
envoy.config.rbac.v3.RBAC: action policies
envoy.config.rbac.v3.Policy: permissions principals
envoy.config.rbac.v3.Permission: any and_rules or_rules not_rule header url_path uri_template destination_ip destination_port requested_server_name
envoy.config.rbac.v3.Permission.Set: rules
envoy.config.rbac.v3.Principal: any and_ids or_ids not_id authenticated direct_remote_ip remote_ip header
envoy.config.rbac.v3.Principal.Set: ids
envoy.config.rbac.v3.Principal.Authenticated: principal_name
envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig: path_template
envoy.type.matcher.v3.StringMatcher: exact prefix suffix contains safe_regex ignore_case
envoy.type.matcher.v3.RegexMatcher: regex google_re2
envoy.type.matcher.v3.RegexMatcher.GoogleRE2:
envoy.type.matcher.v3.RegexMatchAndSubstitute: pattern substitution
envoy.type.matcher.v3.PathMatcher: path
envoy.config.route.v3.RouteConfiguration: name virtual_hosts vhds ignore_port_in_host_matching validate_clusters max_direct_response_body_size_bytes
	request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove
envoy.config.route.v3.Vhds: config_source
envoy.config.route.v3.VirtualHost: name domains routes require_tls include_request_attempt_count retry_policy typed_per_filter_config
	request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove
envoy.config.route.v3.Route: name match route redirect direct_response typed_per_filter_config decorator metadata request_headers_to_add
	request_headers_to_remove response_headers_to_add response_headers_to_remove
envoy.config.route.v3.RouteMatch: prefix path safe_regex path_separated_prefix case_sensitive headers query_parameters runtime_fraction grpc
envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions:
envoy.config.route.v3.HeaderMatcher: name string_match present_match invert_match treat_missing_header_as_empty
envoy.config.route.v3.QueryParameterMatcher: name string_match present_match
envoy.config.route.v3.Decorator: operation
envoy.config.core.v3.HeaderValueOption: header append append_action
envoy.config.core.v3.HeaderValue: key value
envoy.config.route.v3.RouteAction: cluster weighted_clusters timeout max_stream_duration max_grpc_timeout grpc_timeout_offset idle_timeout retry_policy prefix_rewrite regex_rewrite
	host_rewrite_literal auto_host_rewrite request_mirror_policies cluster_not_found_response_code hash_policy
	append_x_forwarded_host
envoy.config.route.v3.RouteAction.HashPolicy: header cookie connection_properties query_parameter terminal
envoy.config.route.v3.RouteAction.HashPolicy.Header: header_name
envoy.config.route.v3.RouteAction.HashPolicy.Cookie: name ttl path attributes
envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute: name value
envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties: source_ip
envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter: name
envoy.config.route.v3.RouteAction.MaxStreamDuration: grpc_timeout_header_max grpc_timeout_header_offset max_stream_duration
envoy.config.route.v3.RouteAction.RequestMirrorPolicy: cluster runtime_fraction disable_shadow_host_suffix_append
envoy.config.route.v3.WeightedCluster: clusters
envoy.config.route.v3.WeightedCluster.ClusterWeight: name weight host_rewrite_literal request_headers_to_add request_headers_to_remove
	response_headers_to_add response_headers_to_remove typed_per_filter_config
envoy.config.route.v3.RetryPolicy: retry_on num_retries per_try_timeout per_try_idle_timeout retriable_status_codes retry_host_predicate host_selection_retry_max_attempts
	retry_back_off retry_priority retriable_headers retriable_request_headers
envoy.config.route.v3.RetryPolicy.RetryHostPredicate: name typed_config
envoy.config.route.v3.RetryPolicy.RetryBackOff: base_interval max_interval
envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate:
envoy.config.route.v3.RetryPolicy.RetryPriority: name typed_config
envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig: update_frequency
envoy.config.route.v3.RedirectAction: https_redirect scheme_redirect host_redirect port_redirect path_redirect prefix_rewrite response_code
	strip_query
envoy.config.route.v3.DirectResponseAction: status body
envoy.config.cluster.v3.Cluster: name alt_stat_name type eds_cluster_config load_assignment connect_timeout lb_policy
	common_lb_config circuit_breakers outlier_detection health_checks typed_extension_protocol_options upstream_connection_options upstream_bind_config
	dns_refresh_rate respect_dns_ttl dns_lookup_family cleanup_interval transport_socket transport_socket_matches metadata
	ring_hash_lb_config maglev_lb_config round_robin_lb_config least_request_lb_config original_dst_lb_config
	cluster_type
envoy.config.cluster.v3.Cluster.CustomClusterType: name typed_config
envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig: dns_cache_config allow_insecure_cluster_options
envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig: name dns_lookup_family dns_refresh_rate
envoy.config.cluster.v3.Cluster.RoundRobinLbConfig: slow_start_config
envoy.config.cluster.v3.Cluster.LeastRequestLbConfig: slow_start_config
envoy.config.cluster.v3.Cluster.SlowStartConfig: slow_start_window aggression min_weight_percent
envoy.config.core.v3.RuntimeDouble: default_value runtime_key
envoy.config.cluster.v3.Cluster.RingHashLbConfig: minimum_ring_size maximum_ring_size hash_function
envoy.config.cluster.v3.Cluster.MaglevLbConfig: table_size
envoy.config.cluster.v3.Cluster.OriginalDstLbConfig: upstream_port_override
envoy.config.cluster.v3.Cluster.EdsClusterConfig: eds_config service_name
envoy.config.cluster.v3.Cluster.CommonLbConfig: healthy_panic_threshold locality_weighted_lb_config override_host_status
envoy.config.core.v3.HealthStatusSet: statuses
envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig:
envoy.config.cluster.v3.Cluster.TransportSocketMatch: name match transport_socket
envoy.config.cluster.v3.CircuitBreakers: thresholds
envoy.config.cluster.v3.CircuitBreakers.Thresholds: priority max_connections max_pending_requests max_requests max_retries track_remaining
	retry_budget
envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget: budget_percent min_retry_concurrency budget_interval
envoy.config.cluster.v3.OutlierDetection: consecutive_5xx consecutive_gateway_failure interval base_ejection_time max_ejection_time
	max_ejection_percent always_eject_one_host enforcing_consecutive_5xx enforcing_consecutive_gateway_failure enforcing_success_rate
	enforcing_consecutive_local_origin_failure enforcing_local_origin_success_rate enforcing_failure_percentage enforcing_failure_percentage_local_origin
	split_external_local_origin_errors consecutive_local_origin_failure
envoy.config.core.v3.HealthCheck: timeout interval initial_jitter interval_jitter interval_jitter_percent unhealthy_threshold healthy_threshold
	reuse_connection http_health_check tcp_health_check grpc_health_check no_traffic_interval no_traffic_healthy_interval unhealthy_interval
	unhealthy_edge_interval healthy_edge_interval
envoy.config.core.v3.HealthCheck.HttpHealthCheck: host path request_headers_to_add expected_statuses retriable_statuses codec_client_type method
envoy.type.v3.Int64Range: start end
envoy.config.core.v3.HealthCheck.TcpHealthCheck: send receive
envoy.config.core.v3.HealthCheck.Payload: text binary
envoy.config.core.v3.HealthCheck.GrpcHealthCheck: service_name authority
envoy.config.cluster.v3.UpstreamConnectionOptions: tcp_keepalive
envoy.config.core.v3.TcpKeepalive: keepalive_probes keepalive_time keepalive_interval
envoy.config.core.v3.BindConfig: source_address extra_source_addresses
envoy.config.core.v3.ExtraSourceAddress: address
envoy.extensions.upstreams.http.v3.HttpProtocolOptions: explicit_http_config use_downstream_protocol_config common_http_protocol_options
	upstream_http_protocol_options outlier_detection
envoy.extensions.upstreams.http.v3.HttpProtocolOptions.OutlierDetection: error_matcher
envoy.config.common.matcher.v3.MatchPredicate: or_match http_response_headers_match
envoy.config.common.matcher.v3.MatchPredicate.MatchSet: rules
envoy.config.common.matcher.v3.HttpHeadersMatch: headers
envoy.config.core.v3.UpstreamHttpProtocolOptions: auto_sni auto_san_validation
envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig: http_protocol_options http2_protocol_options
envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig: http_protocol_options http2_protocol_options
envoy.config.endpoint.v3.ClusterLoadAssignment: cluster_name endpoints
envoy.config.endpoint.v3.LocalityLbEndpoints: locality priority load_balancing_weight lb_endpoints
envoy.config.core.v3.Locality: region zone sub_zone
envoy.config.endpoint.v3.LbEndpoint: endpoint health_status load_balancing_weight metadata
envoy.config.endpoint.v3.Endpoint: address hostname
envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer:
envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport: config transport_socket
envoy.config.core.v3.ProxyProtocolConfig: version
envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext: sni common_tls_context auto_host_sni auto_sni_san_validation max_session_keys
envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext: require_client_certificate common_tls_context
envoy.extensions.transport_sockets.tls.v3.CommonTlsContext: tls_params alpn_protocols tls_certificates tls_certificate_sds_secret_configs combined_validation_context
	validation_context validation_context_sds_secret_config
envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext: default_validation_context
	validation_context_sds_secret_config
envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext: trusted_ca system_root_certs match_typed_subject_alt_names
	match_subject_alt_names crl verify_certificate_spki verify_certificate_hash
envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts:
envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher: san_type matcher
envoy.extensions.transport_sockets.tls.v3.TlsParameters: tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves
envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig: name sds_config
envoy.extensions.transport_sockets.tls.v3.Secret: name tls_certificate validation_context
envoy.extensions.transport_sockets.tls.v3.TlsCertificate: certificate_chain private_key ocsp_staple
envoy.data.dns.v3.DnsTable: virtual_domains
envoy.data.dns.v3.DnsTable.DnsVirtualDomain: name endpoint answer_ttl
envoy.data.dns.v3.DnsTable.DnsEndpoint: address_list
envoy.data.dns.v3.DnsTable.AddressList: address
`
