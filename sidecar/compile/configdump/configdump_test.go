package configdump_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	admin "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/compile/configdump"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

var at = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func resource(t *testing.T, typ, name, version string, m proto.Message) wire.Resource {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return wire.Resource{Type: typ, Name: name, Version: version, Body: body}
}

func eds(name string, timeout time.Duration) *cluster.Cluster {
	return &cluster.Cluster{Name: name, ConnectTimeout: durationpb.New(timeout), ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig: &cluster.Cluster_EdsClusterConfig{EdsConfig: &core.ConfigSource{ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}}}
}

// dump returns what c holds, read back as Envoy's messages, by the last word of their type.
func dump(t *testing.T, c *compile.Compiler, q configdump.Query) (map[string]*anypb.Any, string) {
	t.Helper()
	resources, err := c.Versions()
	if err != nil {
		t.Fatal(err)
	}
	p := configdump.Proxy{Node: &core.Node{Id: "me"}, Version: "7", Resources: resources, Contents: map[string]configdump.Content{"default": {Chain: []byte("chain")}}}
	text, err := p.JSON(q)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*anypb.Any{}
	if text == nil {
		return nil, ""
	}
	var read admin.ConfigDump
	if err := protojson.Unmarshal(text, &read); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	for _, one := range read.GetConfigs() {
		out[one.GetTypeUrl()[strings.LastIndexByte(one.GetTypeUrl(), '.')+1:]] = one
	}
	return out, string(text)
}

func read[M proto.Message](t *testing.T, all map[string]*anypb.Any, m M) M {
	t.Helper()
	if err := all[string(m.ProtoReflect().Descriptor().Name())].UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestClusters holds where a cluster stands: in force, waiting, in force while its next version waits, refused.
func TestClusters(t *testing.T) {
	c := compile.New(compile.Options{Secrets: mtls.NewSecrets()})
	c.Received(at)
	put := func(name, version string, m *cluster.Cluster) {
		c.Apply(wire.TypeCluster, []wire.Resource{resource(t, wire.TypeCluster, name, version, m)}, nil)
	}
	c.Apply(wire.TypeEndpoints, []wire.Resource{resource(t, wire.TypeEndpoints, "a", "1", &endpoint.ClusterLoadAssignment{ClusterName: "a"}),
		resource(t, wire.TypeEndpoints, "moves", "1", &endpoint.ClusterLoadAssignment{ClusterName: "moves"})}, nil)
	put("a", "1", eds("a", time.Second))
	put("moves", "1", eds("moves", time.Second))
	put("waits", "1", eds("waits", time.Second))
	c.Config()
	bad := eds("bad", time.Second)
	bad.HealthChecks = []*core.HealthCheck{{}}
	put("bad", "1", bad)
	elsewhere := eds("moves", 2*time.Second)
	elsewhere.EdsClusterConfig.ServiceName = "elsewhere"
	put("moves", "2", elsewhere)
	c.Config()

	all, text := dump(t, c, configdump.Query{})
	got := read(t, all, &admin.ClustersConfigDump{})
	say := func(of []*admin.ClustersConfigDump_DynamicCluster) string {
		var lines []string
		for _, d := range of {
			var m cluster.Cluster
			if d.GetCluster() != nil && d.GetCluster().UnmarshalTo(&m) != nil {
				t.Errorf("no cluster in %s", d)
			}
			lines = append(lines, strings.TrimSpace(m.GetName()+" "+d.GetVersionInfo()+" "+d.GetErrorState().GetDetails()))
		}
		return strings.Join(lines, ", ")
	}
	if active, warming := say(got.GetDynamicActiveClusters()), say(got.GetDynamicWarmingClusters()); active != "a 1, moves 1" ||
		warming != "bad  health_checks[0].timeout: required, and more than 0, moves 2, waits 1" || got.GetVersionInfo() != "7" {
		t.Errorf("active %s; warming %s", active, warming)
	}
	failed := got.GetDynamicWarmingClusters()[0].GetErrorState()
	if !strings.HasSuffix(failed.GetFailedConfiguration().GetTypeUrl(), ".Cluster") || failed.GetVersionInfo() != "1" || !failed.GetLastUpdateAttempt().AsTime().Equal(at) {
		t.Errorf("refused: %s", failed)
	}
	if updated := got.GetDynamicActiveClusters()[0].GetLastUpdated(); !updated.AsTime().Equal(at) || !strings.Contains(text, `"last_updated"`) {
		t.Errorf("updated %s in %s", updated, text)
	}
	if node := read(t, all, &admin.BootstrapConfigDump{}).GetBootstrap().GetNode(); node.GetId() != "me" {
		t.Errorf("node %s", node)
	}
}

// TestQueries: endpoints are told only to who asks for them, and the elements of a field alone.
func TestQueries(t *testing.T) {
	c := compile.New(compile.Options{Secrets: mtls.NewSecrets()})
	c.Apply(wire.TypeEndpoints, []wire.Resource{resource(t, wire.TypeEndpoints, "a", "1", &endpoint.ClusterLoadAssignment{ClusterName: "a"})}, nil)
	c.Apply(wire.TypeRoute, []wire.Resource{resource(t, wire.TypeRoute, "80", "1", &route.RouteConfiguration{Name: "80"})}, nil)
	for _, q := range []struct {
		configdump.Query
		want int
	}{
		{configdump.Query{}, 5}, {configdump.Query{Endpoints: true}, 6}, {configdump.Query{Resource: "dynamic_route_configs"}, 1},
		{configdump.Query{Resource: "dynamic_active_clusters"}, 0}, {configdump.Query{Resource: "dynamic_endpoint_configs", Endpoints: true}, 1},
	} {
		all, text := dump(t, c, q.Query)
		if all == nil || len(all) != q.want {
			t.Errorf("%+v: %s", q, text)
		}
	}
	for _, absent := range []string{"dynamic_endpoint_configs", "version_info", "nothing"} {
		if _, text := dump(t, c, configdump.Query{Resource: absent}); text != "" {
			t.Errorf("%s: %s", absent, text)
		}
	}
}

// TestEndpoints has both those that came alone and those of clusters.
func TestEndpoints(t *testing.T) {
	c := compile.New(compile.Options{Secrets: mtls.NewSecrets()})
	c.Apply(wire.TypeEndpoints, []wire.Resource{resource(t, wire.TypeEndpoints, "a", "1", &endpoint.ClusterLoadAssignment{ClusterName: "a"})}, nil)
	c.Apply(wire.TypeCluster, []wire.Resource{resource(t, wire.TypeCluster, "bad", "1", eds("bad", time.Second))}, nil)
	bad := &endpoint.ClusterLoadAssignment{ClusterName: "bad", Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: []*endpoint.LbEndpoint{{}}}}}
	c.Apply(wire.TypeEndpoints, []wire.Resource{resource(t, wire.TypeEndpoints, "bad", "1", bad)}, nil)
	inline := &cluster.Cluster{Name: "b", ConnectTimeout: durationpb.New(time.Second), LoadAssignment: &endpoint.ClusterLoadAssignment{ClusterName: "x"},
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}}
	c.Apply(wire.TypeCluster, []wire.Resource{resource(t, wire.TypeCluster, "b", "2", inline)}, nil)
	c.Config()
	all, text := dump(t, c, configdump.Query{Endpoints: true})
	var got []string
	for _, d := range read(t, all, &admin.EndpointsConfigDump{}).GetDynamicEndpointConfigs() {
		var m endpoint.ClusterLoadAssignment
		if err := d.GetEndpointConfig().UnmarshalTo(&m); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(m.GetClusterName(), " ", d.GetVersionInfo(), " ", d.GetErrorState() != nil))
	}
	if strings.Join(got, ", ") != "a 1 false, bad  true, b 2 false" {
		t.Errorf("got %s of %s", got, text)
	}
}

// TestHostsOnDemand are told of in their route configuration, once each.
func TestHostsOnDemand(t *testing.T) {
	c := compile.New(compile.Options{Secrets: mtls.NewSecrets(), OnDemand: true})
	host := func(name string) *route.VirtualHost {
		return &route.VirtualHost{Name: name, Domains: []string{name}, Routes: []*route.Route{{Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
			Action: &route.Route_DirectResponse{DirectResponse: &route.DirectResponseAction{Status: 200}}}}}
	}
	ads := &core.ConfigSource{ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}
	c.Received(at)
	for _, table := range []string{"80", "81"} {
		c.Apply(wire.TypeRoute, []wire.Resource{resource(t, wire.TypeRoute, table, "1", &route.RouteConfiguration{Name: table, Vhds: &route.Vhds{ConfigSource: ads},
			VirtualHosts: []*route.VirtualHost{host("*")}})}, nil)
	}
	c.Received(at.Add(time.Hour))
	bad := host("b")
	bad.Routes[0].Match = nil
	c.Apply(wire.TypeVirtualHost, []wire.Resource{resource(t, wire.TypeVirtualHost, "80/a", "2", host("a")), resource(t, wire.TypeVirtualHost, "80/a.shop", "2", host("a")),
		resource(t, wire.TypeVirtualHost, "80/b", "2", bad)}, nil)
	c.Config()
	all, text := dump(t, c, configdump.Query{})
	var got []string
	for _, d := range read(t, all, &admin.RoutesConfigDump{}).GetDynamicRouteConfigs() {
		var m route.RouteConfiguration
		if err := d.GetRouteConfig().UnmarshalTo(&m); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(m.GetName(), " ", d.GetVersionInfo(), " ", d.GetLastUpdated().AsTime().Sub(at)))
		for _, h := range m.GetVirtualHosts() {
			got = append(got, h.GetName())
		}
	}
	if strings.Join(got, ", ") != "80 1 1h0m0s, *, a, 81 1 0s, *" {
		t.Errorf("got %s of %s", got, text)
	}
}

// TestSecretsTellNoKey holds that keys are nowhere, not even of what was refused.
func TestSecretsTellNoKey(t *testing.T) {
	c := compile.New(compile.Options{Secrets: mtls.NewSecrets()})
	inline := func(s string) *core.DataSource {
		return &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: s}}
	}
	c.Apply(wire.TypeCluster, []wire.Resource{resource(t, wire.TypeCluster, "a", "1", originates(t, "s"))}, nil)
	c.Apply(wire.TypeSecret, []wire.Resource{resource(t, wire.TypeSecret, "s", "1", &tls.Secret{Name: "s",
		Type: &tls.Secret_TlsCertificate{TlsCertificate: &tls.TlsCertificate{CertificateChain: inline("chain"), PrivateKey: inline("confidential")}}})}, nil)
	all, text := dump(t, c, configdump.Query{})
	got := read(t, all, &admin.SecretsConfigDump{})
	if len(got.GetDynamicActiveSecrets()) != 1 {
		t.Fatalf("got %s", text)
	}
	var own tls.Secret
	if err := got.GetDynamicActiveSecrets()[0].GetSecret().UnmarshalTo(&own); err != nil || string(own.GetTlsCertificate().GetPrivateKey().GetInlineBytes()) != "[redacted]" ||
		string(own.GetTlsCertificate().GetCertificateChain().GetInlineBytes()) != "chain" {
		t.Errorf("got %s %v", &own, err)
	}
	if strings.Contains(text, "confidential") || strings.Contains(text, "Y29uZmlkZW50aWFs") {
		t.Errorf("a key in %s", text)
	}
	waits := got.GetDynamicWarmingSecrets()
	if len(waits) != 1 || waits[0].GetName() != "s" || waits[0].GetSecret() == nil || !strings.HasPrefix(waits[0].GetErrorState().GetDetails(), "tls_certificate: ") ||
		waits[0].GetErrorState().GetFailedConfiguration() != nil {
		t.Errorf("what was refused: %v", waits)
	}
}

// originates is a cluster that needs a secret.
func originates(t *testing.T, secret string) *cluster.Cluster {
	t.Helper()
	named := []*tls.SdsSecretConfig{{Name: secret, SdsConfig: &core.ConfigSource{ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}}}
	context, err := anypb.New(&tls.UpstreamTlsContext{CommonTlsContext: &tls.CommonTlsContext{TlsCertificateSdsSecretConfigs: named}})
	if err != nil {
		t.Fatal(err)
	}
	m := eds("a", time.Second)
	m.TransportSocket = &core.TransportSocket{Name: "tls", ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: context}}
	return m
}

// TestUnknownExtensionsHideNothing: one that is not known here, and was left out, prints as empty.
func TestUnknownExtensionsHideNothing(t *testing.T) {
	c := compile.New(compile.Options{Foreign: true, Secrets: mtls.NewSecrets()})
	m := eds("a", time.Second)
	m.Filters = []*cluster.Filter{{Name: "f", TypedConfig: &anypb.Any{TypeUrl: "type.googleapis.com/not.known", Value: []byte("\x0a\x01a")}}}
	c.Apply(wire.TypeCluster, []wire.Resource{resource(t, wire.TypeCluster, "a", "1", m)}, nil)
	resources, err := c.Versions()
	if err != nil {
		t.Fatal(err)
	}
	text, err := configdump.Proxy{Resources: resources}.JSON(configdump.Query{})
	if err != nil || !json.Valid(text) || !strings.Contains(string(text), "not.known") {
		t.Errorf("%s %v", text, err)
	}
}
