package compile

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyprotocol "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	upstreamhttp "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile/balancing"
	"github.com/heddle-mesh/heddle/sidecar/compile/checks"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

const httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// cluster makes a cluster's description.
func (b *builder) cluster(in *cluster.Cluster) (*upstream.Config, error) {
	out := &upstream.Config{
		Info:           clusterInfo(in),
		ConnectTimeout: values.Duration(in.GetConnectTimeout(), 5*time.Second),
		Panic:          50,
	}
	if at := values.Texts(in.GetMetadata().GetFilterMetadata()[wire.ClusterMetadata])[wire.ServiceAddress]; at != "" {
		var err error
		if out.LastResort, err = netip.ParseAddrPort(at); err != nil {
			return nil, values.Wrong("metadata.filter_metadata["+wire.ClusterMetadata+"]."+wire.ServiceAddress, "%w", err)
		}
	}
	if p := in.GetCommonLbConfig().GetHealthyPanicThreshold(); p != nil {
		out.Panic = uint32(p.GetValue())
	}
	var err error
	if out.PinDraining, err = keeps(in.GetCommonLbConfig().GetOverrideHostStatus()); err != nil {
		return nil, values.Under("common_lb_config.override_host_status", err)
	}
	out.ByLocality = in.GetCommonLbConfig().GetLocalityWeightedLbConfig() != nil
	for _, step := range []func(*cluster.Cluster, *upstream.Config) error{
		b.discovery, balancer, limits, passiveChecks, checks.Read, protocol, source, b.sockets,
	} {
		if err := step(in, out); err != nil {
			return nil, err
		}
	}
	out.Keepalive = tcpKeepalive(in.GetUpstreamConnectionOptions().GetTcpKeepalive())
	return out, nil
}

// tcpKeepalive reads how connections are kept alive; what it does not say is as the system has it, which negative numbers mean to package net.
func tcpKeepalive(in *core.TcpKeepalive) net.KeepAliveConfig {
	if in == nil {
		return net.KeepAliveConfig{}
	}
	or := func(v *wrapperspb.UInt32Value) int { return cmp.Or(int(v.GetValue()), -1) }
	return net.KeepAliveConfig{Enable: true, Count: or(in.GetKeepaliveProbes()),
		Idle: time.Duration(or(in.GetKeepaliveTime())) * time.Second, Interval: time.Duration(or(in.GetKeepaliveInterval())) * time.Second}
}

// keeps reads in which state clients may stay with a host: whether in that of draining, too. Hosts that are healthy always may, those that are not never.
func keeps(in *core.HealthStatusSet) (draining bool, err error) {
	healthy := in == nil
	for i, s := range in.GetStatuses() {
		switch s {
		case core.HealthStatus_HEALTHY:
			healthy = true
		case core.HealthStatus_UNKNOWN, core.HealthStatus_DEGRADED: // which count as healthy
		case core.HealthStatus_DRAINING:
			draining = true
		default:
			return false, values.Wrong(fmt.Sprintf("statuses[%d]", i), "%s is not implemented", s)
		}
	}
	if !healthy {
		return false, values.Wrong("statuses", "HEALTHY is missing")
	}
	return draining, nil
}

func clusterInfo(in *cluster.Cluster) exchange.ClusterInfo {
	facts := values.Texts(in.GetMetadata().GetFilterMetadata()[wire.ClusterMetadata])
	info := exchange.ClusterInfo{Name: in.GetName(), External: facts[wire.ServiceExternal] == "true",
		Service: exchange.Service{Host: facts[wire.ServiceHost], Name: facts[wire.ServiceName], Namespace: facts[wire.ServiceNamespace]}}
	if facts == nil {
		info.Service, info.External = theirService(in.GetMetadata().GetFilterMetadata()[theirMetadata])
	}
	if parts := strings.Split(in.GetName(), "|"); len(parts) == 4 {
		info.Subset = parts[2]
	}
	return info
}

func (b *builder) discovery(in *cluster.Cluster, out *upstream.Config) error {
	if in.GetClusterType() != nil {
		return byNames(in, out)
	}
	switch in.GetType() {
	case cluster.Cluster_EDS:
		out.Discovery = upstream.EDS
		if in.GetEdsClusterConfig() == nil {
			return values.Wrong("eds_cluster_config", "an EDS cluster needs it")
		}
	case cluster.Cluster_STATIC:
		out.Discovery = upstream.Static
	case cluster.Cluster_STRICT_DNS:
		out.Discovery = upstream.StrictDNS
	case cluster.Cluster_LOGICAL_DNS:
		out.Discovery = upstream.LogicalDNS
	case cluster.Cluster_ORIGINAL_DST:
		out.Discovery = upstream.OriginalDst
	default:
		return values.Wrong("type", "%s is not implemented", in.GetType())
	}
	if out.Discovery == upstream.StrictDNS || out.Discovery == upstream.LogicalDNS {
		//lint:ignore SA1019 its successor is an extension that no control plane sends yet
		out.DNSRefresh, out.DNSLasts = values.Duration(in.GetDnsRefreshRate(), 5*time.Second), in.GetRespectDnsTtl()
	}
	out.DNSFamily = family(in.GetDnsLookupFamily())
	out.PreferIPv4 = in.GetDnsLookupFamily() == cluster.Cluster_V4_PREFERRED
	if in.GetEdsClusterConfig() != nil {
		out.Assignment = in.GetEdsClusterConfig().GetServiceName()
		if out.Assignment == "" {
			out.Assignment = in.GetName()
		}
		b.needs.endpoints = out.Assignment
	}
	if in.GetLoadAssignment() != nil {
		named := out.Discovery == upstream.StrictDNS || out.Discovery == upstream.LogicalDNS
		endpoints, err := b.endpoints(in.GetLoadAssignment(), named)
		if err != nil {
			return values.Under("load_assignment", err)
		}
		out.Endpoints = endpoints
	}
	return nil
}

func balancer(in *cluster.Cluster, out *upstream.Config) error {
	var err error
	switch in.GetLbPolicy() {
	case cluster.Cluster_ROUND_ROBIN:
		out.Balancer = upstream.RoundRobin
		out.Warmup, err = balancing.Warmup("round_robin_lb_config", in.GetRoundRobinLbConfig().GetSlowStartConfig())
	case cluster.Cluster_LEAST_REQUEST:
		out.Balancer = upstream.LeastRequest
		out.Warmup, err = balancing.Warmup("least_request_lb_config", in.GetLeastRequestLbConfig().GetSlowStartConfig())
	case cluster.Cluster_RANDOM:
		out.Balancer = upstream.Random
	case cluster.Cluster_CLUSTER_PROVIDED:
		out.Balancer = upstream.Passthrough
	case cluster.Cluster_RING_HASH:
		out.Balancer = upstream.RingHash
		out.Hashing, err = balancing.RingSizes(in.GetRingHashLbConfig())
	case cluster.Cluster_MAGLEV:
		out.Balancer = upstream.Maglev
		out.Hashing, err = balancing.MaglevSizes(in.GetMaglevLbConfig())
	default:
		return values.Wrong("lb_policy", "%s is not implemented", in.GetLbPolicy())
	}
	if out.Discovery == upstream.OriginalDst || out.Discovery == upstream.Named {
		out.Balancer = upstream.Passthrough
	}
	if err == nil {
		out.Port, err = balancing.OriginalPort(in)
	}
	return err
}

// limits reads the circuit breakers of default priority. Absent ones are Envoy's, 1024 and for retries 3; MaxUint32 is no limit.
func limits(in *cluster.Cluster, out *upstream.Config) error {
	limit := func(v *wrapperspb.UInt32Value, absent uint32) upstream.Limit {
		switch n := values.Number(v, absent); n {
		case math.MaxUint32:
			return 0
		case 0:
			return upstream.None
		default:
			return upstream.Limit(n)
		}
	}
	out.Limits = upstream.Limits{Connections: 1024, Pending: 1024, Requests: 1024, Retries: 3}
	for i, t := range in.GetCircuitBreakers().GetThresholds() {
		if t.GetPriority() != core.RoutingPriority_DEFAULT {
			return values.Wrong(fmt.Sprintf("circuit_breakers.thresholds[%d].priority", i), "%s is not implemented", t.GetPriority())
		}
		out.Limits = upstream.Limits{
			Connections: limit(t.GetMaxConnections(), 1024), Pending: limit(t.GetMaxPendingRequests(), 1024),
			Requests: limit(t.GetMaxRequests(), 1024), Retries: limit(t.GetMaxRetries(), 3),
		}
		if budget := t.GetRetryBudget(); budget != nil {
			out.Limits.Budget = &upstream.RetryBudget{Percent: 20, Min: values.Number(budget.GetMinRetryConcurrency(), 3),
				Interval: values.Duration(budget.GetBudgetInterval(), 0)}
			if p := budget.GetBudgetPercent(); p != nil {
				out.Limits.Budget.Percent = p.GetValue()
			}
		}
	}
	return nil
}

// passiveChecks reads outlier detection. A detector that is enforced at 0 % is off; other shares than all are not implemented.
func passiveChecks(in *cluster.Cluster, out *upstream.Config) error {
	o := in.GetOutlierDetection()
	if o == nil {
		return nil
	}
	out.Outlier = &outlier.Config{
		Consecutive5xx: values.Number(o.GetConsecutive_5Xx(), 5), ConsecutiveGateway: values.Number(o.GetConsecutiveGatewayFailure(), 5),
		SplitLocal: o.GetSplitExternalLocalOriginErrors(), ConsecutiveLocal: values.Number(o.GetConsecutiveLocalOriginFailure(), 5),
		Interval: values.Duration(o.GetInterval(), 10*time.Second), BaseEjection: values.Duration(o.GetBaseEjectionTime(), 30*time.Second),
		MaxEjection: values.Duration(o.GetMaxEjectionTime(), 300*time.Second), MaxEjectionPercent: values.Number(o.GetMaxEjectionPercent(), 10),
		AlwaysOne: o.GetAlwaysEjectOneHost().GetValue(),
	}
	for _, e := range []struct {
		field string
		share uint32
		count *uint32
	}{
		{"enforcing_consecutive_5xx", values.Number(o.GetEnforcingConsecutive_5Xx(), 100), &out.Outlier.Consecutive5xx},
		{"enforcing_consecutive_gateway_failure", values.Number(o.GetEnforcingConsecutiveGatewayFailure(), 0), &out.Outlier.ConsecutiveGateway},
		{"enforcing_consecutive_local_origin_failure", values.Number(o.GetEnforcingConsecutiveLocalOriginFailure(), 100), &out.Outlier.ConsecutiveLocal},
		{"enforcing_success_rate", values.Number(o.GetEnforcingSuccessRate(), 0), nil},
		{"enforcing_local_origin_success_rate", values.Number(o.GetEnforcingLocalOriginSuccessRate(), 0), nil},
		{"enforcing_failure_percentage", values.Number(o.GetEnforcingFailurePercentage(), 0), nil},
		{"enforcing_failure_percentage_local_origin", values.Number(o.GetEnforcingFailurePercentageLocalOrigin(), 0), nil},
	} {
		switch {
		case e.share == 0 && e.count != nil:
			*e.count = 0
		case e.share == 0:
		case e.share != 100 || e.count == nil:
			return values.Wrong("outlier_detection."+e.field, "%d %% is not implemented", e.share)
		}
	}
	return nil
}

// protocol reads what the cluster speaks. Without options it is HTTP/1.1.
func protocol(in *cluster.Cluster, out *upstream.Config) error {
	for name, extension := range in.GetTypedExtensionProtocolOptions() {
		field := "typed_extension_protocol_options[" + name + "]"
		if name != httpOptions {
			return values.Wrong(field, "not implemented")
		}
		options, err := values.Open(field, extension, &upstreamhttp.HttpProtocolOptions{})
		if err != nil {
			return err
		}
		h2 := options.GetExplicitHttpConfig().GetHttp2ProtocolOptions()
		switch {
		case options.GetUseDownstreamProtocolConfig() != nil:
			out.Protocol = upstream.UseDownstream
			h2 = options.GetUseDownstreamProtocolConfig().GetHttp2ProtocolOptions()
		case h2 != nil:
			out.Protocol = upstream.UseHTTP2
		}
		if out.Errors, err = errorCodes(options.GetOutlierDetection().GetErrorMatcher()); err != nil {
			return values.Under(field+".outlier_detection.error_matcher", err)
		}
		out.Limits.Streams = h2.GetMaxConcurrentStreams().GetValue()
		common := options.GetCommonHttpProtocolOptions()
		if out.IdleTimeout = values.Duration(common.GetIdleTimeout(), 0); common.GetIdleTimeout() != nil && out.IdleTimeout == 0 {
			out.IdleTimeout = -1 // an idle timeout of zero is none
		}
		out.MaxDuration, out.MaxStream = values.Duration(common.GetMaxConnectionDuration(), 0), values.Duration(common.GetMaxStreamDuration(), 0)
		if err := keepalive(h2.GetConnectionKeepalive(), &out.Ping); err != nil {
			return values.Under(field, err)
		}
		out.Limits.RequestsPerConnection = common.GetMaxRequestsPerConnection().GetValue()
		// a cluster that goes by names has a host for each, whose name it is
		out.HostSNI = options.GetUpstreamHttpProtocolOptions().GetAutoSni() && out.Discovery != upstream.Named
		if common.GetHeadersWithUnderscoresAction() != 0 {
			return values.Wrong(field+".common_http_protocol_options.headers_with_underscores_action", "not implemented for clusters")
		}
		if out.Limits.MaxHeaders, err = values.HeaderCount(common); err == nil {
			out.Limits.MaxHead, err = values.Kilobytes("max_response_headers_kb", common.GetMaxResponseHeadersKb())
		}
		if err != nil {
			return values.Under(field+".common_http_protocol_options", err)
		}
	}
	return nil
}

// keepalive reads the PINGs of HTTP/2 connections.
func keepalive(in *core.KeepaliveSettings, out *exchange.Keepalive) error {
	if in.GetInterval().AsDuration() == 0 {
		return nil
	}
	*out = exchange.Keepalive{Interval: in.GetInterval().AsDuration(), Timeout: in.GetTimeout().AsDuration()}
	if out.Interval < time.Millisecond || out.Timeout < time.Millisecond {
		return values.Wrong("http2_protocol_options.connection_keepalive", "interval and timeout must be at least 1ms")
	}
	return nil
}

// source reads the addresses to connect from.
func source(in *cluster.Cluster, out *upstream.Config) error {
	bind := in.GetUpstreamBindConfig()
	if bind == nil {
		return nil
	}
	all := []*core.SocketAddress{bind.GetSourceAddress()}
	for _, extra := range bind.GetExtraSourceAddresses() {
		all = append(all, extra.GetAddress())
	}
	for _, a := range all {
		ip, err := netip.ParseAddr(a.GetAddress())
		switch {
		case err != nil:
			return values.Wrong("upstream_bind_config", "%w", err)
		case a.GetPortValue() != 0:
			return values.Wrong("upstream_bind_config", "a port is not implemented")
		case ip.Is4():
			out.Source = ip
		default:
			out.Source6 = ip
		}
	}
	return nil
}

// sockets reads how connections are secured.
func (b *builder) sockets(in *cluster.Cluster, out *upstream.Config) error {
	by, err := proofs(in, out)
	if err != nil {
		return err
	}
	for i, m := range in.GetTransportSocketMatches() {
		field := fmt.Sprintf("transport_socket_matches[%d]", i)
		made := upstream.Socket{Name: m.GetName(), Match: values.Texts(m.GetMatch())}
		if err := b.socket(m.GetTransportSocket(), by, &made); err != nil {
			return values.Under(field+".transport_socket", err)
		}
		out.Sockets = append(out.Sockets, made)
	}
	if in.GetTransportSocket() == nil {
		return nil
	}
	made := upstream.Socket{Name: in.GetTransportSocket().GetName()}
	if err := b.socket(in.GetTransportSocket(), by, &made); err != nil {
		return values.Under("transport_socket", err)
	}
	out.Sockets = append(out.Sockets, made)
	return nil
}

// socket reads how connections begin: with a PROXY header or not, then with TLS or not.
func (b *builder) socket(in *core.TransportSocket, by byName, out *upstream.Socket) error {
	var err error
	if values.Word(string(in.GetTypedConfig().MessageName())) != "ProxyProtocolUpstreamTransport" {
		out.TLS, err = b.clientSocket(in, by)
		return err
	}
	outer, err := values.Open("typed_config", in.GetTypedConfig(), &proxyprotocol.ProxyProtocolUpstreamTransport{})
	if err != nil {
		return err
	}
	switch v := outer.GetConfig().GetVersion(); v {
	case core.ProxyProtocolConfig_V1:
		out.Proxy = upstream.ProxyV1
	case core.ProxyProtocolConfig_V2:
		out.Proxy = upstream.ProxyV2
	default:
		return values.Wrong("typed_config.config.version", "%s is not implemented", v)
	}
	if outer.GetTransportSocket() == nil {
		return values.Wrong("typed_config.transport_socket", "what comes after the header is missing")
	}
	if out.TLS, err = b.clientSocket(outer.GetTransportSocket(), by); err != nil {
		return values.Under("typed_config.transport_socket", err)
	}
	return nil
}
