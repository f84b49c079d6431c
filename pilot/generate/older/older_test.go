package older_test

import (
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	web "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_web/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	proxyprotocol "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/google/go-cmp/cmp"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/older"
	"github.com/heddle-mesh/heddle/pilot/generate/transport"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// lowered says m in dialect 1. same is whether that is what m says today.
func lowered(t *testing.T, typ string, m proto.Message) (out proto.Message, same bool) {
	t.Helper()
	r := message.Resource(typ, "x", m)
	got := older.Lower(r, 1)
	out = m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(got.Body, out); err != nil {
		t.Fatal(err)
	}
	if again := older.Lower(got, 1); again.Version != got.Version {
		t.Errorf("lowered twice is not lowered once: %s", again.Body)
	}
	return out, got == r
}

func want(t *testing.T, why string, got, want proto.Message) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s: %s", why, diff)
	}
}

// What is lost to an older proxy is a way of balancing or watching: the cluster works.
func TestClustersWithLess(t *testing.T) {
	got, _ := lowered(t, wire.TypeCluster, &cluster.Cluster{Name: "x", LbPolicy: cluster.Cluster_RING_HASH,
		LbConfig:       &cluster.Cluster_RingHashLbConfig_{RingHashLbConfig: &cluster.Cluster_RingHashLbConfig{MinimumRingSize: message.U64(7)}},
		HealthChecks:   []*core.HealthCheck{{}},
		CommonLbConfig: &cluster.Cluster_CommonLbConfig{LocalityConfigSpecifier: &cluster.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{LocalityWeightedLbConfig: &cluster.Cluster_CommonLbConfig_LocalityWeightedLbConfig{}}}})
	want(t, "a hashing cluster", got, &cluster.Cluster{Name: "x", LbPolicy: cluster.Cluster_LEAST_REQUEST, CommonLbConfig: &cluster.Cluster_CommonLbConfig{}})
	for _, policy := range []cluster.Cluster_LbPolicy{cluster.Cluster_ROUND_ROBIN, cluster.Cluster_RANDOM, cluster.Cluster_CLUSTER_PROVIDED} {
		if _, same := lowered(t, wire.TypeCluster, &cluster.Cluster{Name: "x", LbPolicy: policy}); !same {
			t.Errorf("%s was changed", policy)
		}
	}
}

func TestRoutesWithLess(t *testing.T) {
	routes := func(retryOn string, hash ...*route.RouteAction_HashPolicy) *route.RouteConfiguration {
		return &route.RouteConfiguration{VirtualHosts: []*route.VirtualHost{{Routes: []*route.Route{{Action: &route.Route_Route{Route: &route.RouteAction{
			RetryPolicy: &route.RetryPolicy{RetryOn: retryOn}, HashPolicy: hash}}}}}}}
	}
	got, _ := lowered(t, wire.TypeRoute, routes("connect-failure,retriable-headers,503", &route.RouteAction_HashPolicy{Terminal: true}))
	want(t, "hashing, and conditions of later dialects", got, routes("connect-failure,503"))
}

// manager is a listener with HTTP filters, deep within two packings.
func manager(filters ...*hcm.HttpFilter) *listener.Listener {
	return &listener.Listener{Name: "x", FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{Name: "hcm", ConfigType: &listener.Filter_TypedConfig{
		TypedConfig: message.Any(&hcm.HttpConnectionManager{StatPrefix: "x", HttpFilters: filters})}}}}}}
}

func filter(m proto.Message) *hcm.HttpFilter {
	return &hcm.HttpFilter{Name: "f", ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: message.Any(m)}}
}

func TestFiltersWithLess(t *testing.T) {
	got, _ := lowered(t, wire.TypeListener, manager(filter(&web.GrpcWeb{}), filter(&router.Router{})))
	want(t, "a filter of a later dialect", got, manager(filter(&router.Router{})))
}

// What a user may rely on for security, or what the bytes on the wire depend on, is never left out: the older proxy refuses the whole resource by the
// field's name, and goes on with what it has.
func TestWhatAnOlderProxyMustRefuse(t *testing.T) {
	validation := func(v *tls.CertificateValidationContext) proto.Message {
		return &listener.Listener{FilterChains: []*listener.FilterChain{{TransportSocket: &core.TransportSocket{ConfigType: &core.TransportSocket_TypedConfig{
			TypedConfig: message.Any(&tls.DownstreamTlsContext{CommonTlsContext: &tls.CommonTlsContext{ValidationContextType: &tls.CommonTlsContext_CombinedValidationContext{
				CombinedValidationContext: &tls.CommonTlsContext_CombinedCertificateValidationContext{DefaultValidationContext: v}}}})}}}}}
	}
	for why, c := range map[string]struct {
		m    proto.Message
		want string
	}{
		"pins of certificates": {validation(&tls.CertificateValidationContext{VerifyCertificateSpki: []string{"a"}}),
			"envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.verify_certificate_spki"},
		"a PROXY header that clients send": {&listener.Listener{ListenerFilters: []*listener.ListenerFilter{{ConfigType: &listener.ListenerFilter_TypedConfig{
			TypedConfig: message.Any(&proxyprotocol.ProxyProtocol{})}}}}, "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"},
		"beside what could be left out": {&listener.Listener{FilterChains: append(manager(filter(&web.GrpcWeb{})).FilterChains,
			validation(&tls.CertificateValidationContext{VerifyCertificateHash: []string{"a"}}).(*listener.Listener).FilterChains...)}, "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"},
	} {
		if _, same := lowered(t, wire.TypeListener, c.m); !same {
			t.Errorf("%s: something was left out", why)
		}
		if got := older.Unknown(message.Resource(wire.TypeListener, "x", c.m), 1); got != c.want {
			t.Errorf("%s: an older proxy would refuse %q, want %q", why, got, c.want)
		}
	}
}

func TestOf(t *testing.T) {
	for announced, want := range map[int]int{0: 0, 1: 1, wire.Dialect: 0, wire.Dialect + 1: 0, -1: wire.OldestDialect} {
		if got := older.Of(announced); got != want {
			t.Errorf("dialect %d: %d, want %d", announced, got, want)
		}
	}
}

// A trust domain that stands for the endpoint's identity would be every identity of that domain.
func TestServersUnderTheirOwnDomain(t *testing.T) {
	root := func(names ...*matcher.StringMatcher) *cluster.Cluster {
		return &cluster.Cluster{Name: "x", TransportSocketMatches: []*cluster.Cluster_TransportSocketMatch{{TransportSocket: &core.TransportSocket{Name: transport.Socket,
			ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: message.Any(&tls.UpstreamTlsContext{CommonTlsContext: &tls.CommonTlsContext{
				ValidationContextType: transport.Validated(wire.SecretRoot, names)}})}}}}}
	}
	domains := transport.Members(&model.Mesh{TrustDomain: "new.example.com", TrustDomainAliases: []string{"cluster.local"}})
	got, _ := lowered(t, wire.TypeCluster, root(domains...))
	want(t, "trust domains", got, root())
	got, _ = lowered(t, wire.TypeCluster, root(append(message.ExactNames([]string{"a"}), domains...)...))
	want(t, "a name and trust domains", got, root(message.Exactly("a")))
	servers := &listener.Listener{Name: "x", FilterChains: []*listener.FilterChain{{TransportSocket: transport.MeshServer(domains, nil, nil)}}}
	if got, same := lowered(t, wire.TypeListener, servers); !same {
		t.Errorf("servers were changed: %s", got)
	}
}
