package compile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/config"
)

const tlsSocket = `transport_socket: {name: envoy.transport_sockets.tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: x,
  common_tls_context: {alpn_protocols: [istio], tls_certificate_sds_secret_configs: [{name: default, sds_config: {ads: {}}}], validation_context_sds_secret_config: {name: ROOTCA, sds_config: {ads: {}}}}}}`

func clusterText(name, timeout string) string {
	return fmt.Sprintf("\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: %s\ntype: EDS\neds_cluster_config: {eds_config: {ads: {}}}\nconnect_timeout: %s\n%s\n",
		name, timeout, tlsSocket)
}

func endpointsText(name, address string) string {
	return fmt.Sprintf("\"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\ncluster_name: %s\n"+
		"endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: 80}}}, metadata: {filter_metadata: {heddle.workload: {workload: w, identity: \"spiffe://td/ns/a/sa/b\"}}}}]}]\n", name, address)
}

func routesText(name, cluster string) string {
	return fmt.Sprintf("\"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration\nname: %q\n"+
		"virtual_hosts: [{name: a, domains: [a], routes: [{match: {prefix: /}, route: {cluster: %s}}]}]\n", name, cluster)
}

func listenerText(name, route string, chains ...string) string {
	out := fmt.Sprintf("\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\nname: %s\naddress: {socket_address: {address: 0.0.0.0, port_value: 80}}\nfilter_chains:\n", name)
	for _, chain := range chains {
		out += fmt.Sprintf(`- name: c%s
  filter_chain_match: {destination_port: 8%s}
  filters: [{name: h, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
    rds: {config_source: {ads: {}}, route_config_name: %q}, http_filters: [{name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}]
`, chain, chain, route)
	}
	return out
}

// step applies texts and returns the configuration; nothing may be refused.
func step(t *testing.T, c *Compiler, texts ...string) *config.Config {
	t.Helper()
	if refused := apply(t, c, strings.Join(texts, "\n---\n")); len(refused) > 0 {
		t.Fatalf("refused: %v", refused)
	}
	return c.Config()
}

// TestUnchangedPartsKeepTheirPointers holds what pools, labels and goldens of other packages are keyed by.
func TestUnchangedPartsKeepTheirPointers(t *testing.T) {
	c := newCompiler()
	before := step(t, c, clusterText("a", "1s"), clusterText("b", "1s"), endpointsText("a", "10.0.0.1"), endpointsText("b", "10.0.0.2"),
		listenerText("l", "80", "1", "2"), routesText("80", "a"))
	if same := step(t, c, clusterText("a", "1s"), listenerText("l", "80", "1", "2")); same != before {
		t.Error("nothing changed, yet there is a new configuration")
	}
	after := step(t, c, clusterText("a", "2s"), endpointsText("b", "10.0.0.3"), listenerText("l", "80", "1", "3"))
	if before.Clusters["b"] != after.Clusters["b"] || before.Endpoints["a"] != after.Endpoints["a"] || before.Routes["80"] != after.Routes["80"] {
		t.Error("an unchanged resource was made anew")
	}
	if before.Clusters["a"] == after.Clusters["a"] || before.Endpoints["b"] == after.Endpoints["b"] {
		t.Error("a change was not seen")
	}
	if before.Clusters["a"].Sockets[0].TLS != after.Clusters["a"].Sockets[0].TLS {
		t.Error("an unchanged TLS setting has a new handshaker: its pools would drain")
	}
	if before.Listeners[0].Via != after.Listeners[0].Via || before.Listeners[0].Chains[0] != after.Listeners[0].Chains[0] {
		t.Error("an unchanged part of a listener was made anew")
	}
	if before.Listeners[0].Chains[1] == after.Listeners[0].Chains[1] {
		t.Error("a changed chain was not seen")
	}
	if before.Endpoints["b"].Endpoints[0].Workload != after.Endpoints["b"].Endpoints[0].Workload {
		t.Error("an equal workload has two pointers")
	}
}

// TestRoutesWaitForTheirClusters holds that a move to a new cluster happens when that cluster can serve, not before.
func TestRoutesWaitForTheirClusters(t *testing.T) {
	c := newCompiler()
	before := step(t, c, clusterText("a", "1s"), endpointsText("a", "10.0.0.1"), routesText("80", "a"), listenerText("l", "80", "1"))
	waiting := step(t, c, clusterText("b", "1s"), routesText("80", "b"))
	if waiting.Routes["80"] != before.Routes["80"] || waiting.Clusters["b"] != nil {
		t.Error("the route moved to a cluster without endpoints")
	}
	moved := step(t, c, endpointsText("b", "10.0.0.2"))
	if moved.Routes["80"] == before.Routes["80"] || moved.Clusters["b"] == nil {
		t.Error("the route did not move once it could")
	}
	unknown := step(t, c, routesText("80", "nobody"))
	if unknown.Routes["80"] == moved.Routes["80"] {
		t.Error("a route to a cluster that nobody announced waits: requests must get 503 instead")
	}
}

// TestWhatIsAbsentIsNotWaitedFor holds that names which the control plane does not have hold nothing up.
func TestWhatIsAbsentIsNotWaitedFor(t *testing.T) {
	c := newCompiler()
	if got := step(t, c, clusterText("a", "1s"), listenerText("l", "80", "1")); len(got.Clusters)+len(got.Listeners) != 0 || !c.Warming() {
		t.Fatalf("in force too early: %+v", got)
	}
	c.Apply(wire.TypeEndpoints, nil, []string{"a"})
	c.Apply(wire.TypeRoute, nil, []string{"80"})
	if got := c.Config(); len(got.Clusters) != 1 || len(got.Listeners) != 1 || c.Warming() {
		t.Errorf("still waiting: %+v", got)
	}
	// what is asked for again later is waited for again
	c.Apply(wire.TypeCluster, nil, []string{"a"})
	c.Wanted(wire.TypeEndpoints)
	if got := step(t, c, clusterText("a", "1s")); len(got.Clusters) != 0 {
		t.Error("an old absence counts for a new subscription")
	}
}

// TestABadResourceHoldsNothingUp holds that a fresh proxy with one resource that is refused, of whatever type, comes up with all others, and what needs that one
// is there without it: with no host, with no endpoint.
func TestABadResourceHoldsNothingUp(t *testing.T) {
	good := []string{clusterText("a", "1s"), endpointsText("a", "10.0.0.1"), routesText("80", "a"), listenerText("l", "80", "1")}
	for name, c := range map[string]struct {
		at, listeners, clusters int
		bad                     string
	}{
		"a cluster":  {0, 2, 1, strings.Replace(good[0], "type: EDS", "type: EDS\nlb_subset_config: {fallback_policy: ANY_ENDPOINT}", 1)},
		"endpoints":  {1, 2, 2, strings.Replace(good[1], "10.0.0.1", "a.example.com", 1)},
		"routes":     {2, 2, 2, strings.Replace(good[2], "route: {cluster: a}", "route: {cluster: a, internal_redirect_policy: {}}", 1)},
		"a listener": {3, 1, 2, strings.Replace(good[3], "port_value: 80}}", "port_value: 80}}\nfreebind: true", 1)},
	} {
		fresh := newCompiler()
		all := append(slices.Clone(good), clusterText("b", "1s"), endpointsText("b", "10.0.0.2"), routesText("81", "b"), listenerText("m", "81", "1"))
		all[c.at] = c.bad
		if refused := apply(t, fresh, strings.Join(all, "\n---\n")); len(refused) != 1 {
			t.Errorf("%s: refused: %v", name, refused)
		}
		got := fresh.Config()
		if fresh.Warming() || len(got.Listeners) != c.listeners || len(got.Clusters) != c.clusters {
			t.Errorf("%s: warming: %t, %d listeners, %d clusters", name, fresh.Warming(), len(got.Listeners), len(got.Clusters))
		}
		if mended := step(t, fresh, good[c.at]); len(mended.Listeners) != 2 || len(mended.Clusters) != 2 || mended.Routes["80"] == nil || mended.Endpoints["a"] == nil {
			t.Errorf("%s, mended: %+v", name, mended)
		}
	}
}

// TestWhatIsRefusedReplacesNothing holds that a running proxy goes on as before where what comes next needs something of which the first version is refused: no
// traffic moves to a cluster without endpoints, to none at all, or to no routes. Once that is mended, it moves.
func TestWhatIsRefusedReplacesNothing(t *testing.T) {
	endpoints, cluster, routes := endpointsText("b", "10.0.0.2"), clusterText("b", "1s"), routesText("81", "b")
	poor := strings.Replace(endpoints, "10.0.0.2", "a.example.com", 1)
	elsewhere := strings.Replace(clusterText("a", "1s"), "eds_config: {ads: {}}", "eds_config: {ads: {}}, service_name: b", 1)
	for name, c := range map[string]struct {
		bad, mended string
		with        []string
	}{
		"routes, to a cluster without endpoints":            {poor, endpoints, []string{cluster, routesText("80", "b")}},
		"routes, to a cluster that is refused":              {strings.Replace(cluster, "type: EDS", "type: EDS\nlb_subset_config: {fallback_policy: ANY_ENDPOINT}", 1), cluster, []string{endpoints, routesText("80", "b")}},
		"a cluster, to other endpoints":                     {poor, endpoints, []string{elsewhere}},
		"a listener, to routes that are refused":            {strings.Replace(routes, "route: {cluster: b}", "route: {cluster: b, internal_redirect_policy: {}}", 1), routes, []string{cluster, endpoints, listenerText("l", "81", "1")}},
		"a listener, to routes to one without endpoints":    {poor, endpoints, []string{cluster, routes, listenerText("l", "81", "1")}},
		"a listener and a table, one of which is all right": {poor, endpoints, []string{cluster, routes, listenerText("l", "81", "1"), routesText("80", "b")}},
	} {
		running := newCompiler()
		before := step(t, running, clusterText("a", "1s"), endpointsText("a", "10.0.0.1"), routesText("80", "a"), listenerText("l", "80", "1"))
		if refused := apply(t, running, strings.Join(append(slices.Clone(c.with), c.bad), "\n---\n")); len(refused) != 1 {
			t.Errorf("%s: refused: %v", name, refused)
		}
		now := running.Config()
		if now.Listeners[0] != before.Listeners[0] || now.Routes["80"] != before.Routes["80"] || now.Clusters["a"] != before.Clusters["a"] {
			t.Errorf("%s: it moved to what is not there", name)
		}
		after := step(t, running, c.mended)
		if after.Listeners[0] == before.Listeners[0] && after.Routes["80"] == before.Routes["80"] && after.Clusters["a"] == before.Clusters["a"] {
			t.Errorf("%s: it does not move once that is mended", name)
		}
	}
}

// TestAnOldRefusalIsForgotten holds that what was refused while it was wanted is waited for when it is wanted again.
func TestAnOldRefusalIsForgotten(t *testing.T) {
	c := newCompiler()
	if refused := apply(t, c, clusterText("a", "1s")+"\n---\n"+endpointsText("a", "a.example.com")); len(refused) != 1 || len(c.Config().Clusters) != 1 {
		t.Fatalf("refused: %v", refused)
	}
	c.Apply(wire.TypeCluster, nil, []string{"a"})
	c.Wanted(wire.TypeEndpoints)
	if got := step(t, c, clusterText("a", "1s")); len(got.Clusters) != 0 {
		t.Error("an old refusal counts for a new subscription")
	}
}

// TestSecretsKeepTheirContent holds that a secret which vanishes keeps serving while something names it, and that keys appear in no dump.
func TestSecretsKeepTheirContent(t *testing.T) {
	c := newCompiler()
	server := `"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: l
address: {socket_address: {address: 0.0.0.0, port_value: 443}}
filter_chains:
- transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: {tls_certificate_sds_secret_configs: [{name: "kubernetes://shop", sds_config: {ads: {}}}]}}}
  filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, cluster: c}}]
`
	step(t, c, server)
	if got := c.Wanted(wire.TypeSecret); len(got) != 1 || got[0] != "kubernetes://shop" {
		t.Fatalf("wanted: %v", got)
	}
	chain, key := certificate(t)
	secret := fmt.Sprintf("\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret\nname: kubernetes://shop\ntls_certificate: {certificate_chain: {inline_string: %q}, private_key: {inline_string: %q}}\n", chain, key)
	step(t, c, secret)
	slot := c.options.Secrets.Slot("kubernetes://shop")
	if slot.Certificate() == nil {
		t.Fatal("the secret did not arrive")
	}
	if refused := apply(t, c, strings.Replace(secret, "BEGIN PRIVATE KEY", "BEGIN NONSENSE", 1)); !strings.HasPrefix(fmt.Sprint(refused["kubernetes://shop"]), "tls_certificate: ") {
		t.Errorf("refused: %v", refused)
	}
	c.Apply(wire.TypeSecret, nil, []string{"kubernetes://shop"})
	if slot.Certificate() == nil {
		t.Error("a certificate in use was dropped")
	}
	all, err := c.Dump("")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if strings.Contains(string(d.Body), "PRIVATE KEY") || d.Type == "Secret" && d.Body != nil {
			t.Errorf("the dump shows %s", d.Body)
		}
	}
	c.Apply(wire.TypeListener, nil, []string{"l"})
	c.Apply(wire.TypeSecret, nil, []string{"kubernetes://shop"})
	if slot.Certificate() != nil {
		t.Error("a certificate that nobody names is kept")
	}
}

// TestDumpSaysWhereThingsStand holds the states.
func TestDumpSaysWhereThingsStand(t *testing.T) {
	c := newCompiler()
	step(t, c, clusterText("a", "1s"), clusterText("b", "1s"), endpointsText("b", "10.0.0.2"))
	apply(t, c, strings.Replace(clusterText("b", "1s"), "type: EDS", "type: EDS\nhealth_checks: [{}]", 1))
	states := map[string]string{}
	all, err := c.Dump("Cluster")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		states[d.Name] = d.State + " " + d.Error
	}
	if states["a"] != "warming " || states["b"] != "refused health_checks[0].timeout: required, and more than 0" {
		t.Errorf("%v", states)
	}
	c.Config()
	step(t, c, clusterText("b", "1s"))
	if all, err = c.Dump("Cluster"); err != nil || all[1].State != StateActive {
		t.Errorf("after it was put right: %+v %v", all[1], err)
	}
}

// TestDumpOfWhatCannotBePrinted: one extension that is not known here, and was left out, hides no other resource.
func TestDumpOfWhatCannotBePrinted(t *testing.T) {
	c := newCompiler()
	c.options.Foreign = true
	changed, _ := resources(t, clusterText("a", "1s"))
	var m clusterv3.Cluster
	if err := proto.Unmarshal(changed[0].Body, &m); err != nil {
		t.Fatal(err)
	}
	m.Filters = []*clusterv3.Filter{{Name: "f", TypedConfig: &anypb.Any{TypeUrl: "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange"}}}
	c.Apply(wire.TypeCluster, []wire.Resource{resource(t, &m)}, nil)
	step(t, c, clusterText("b", "1s"))
	all, err := c.Dump("Cluster")
	if err != nil || len(all) != 2 || all[0].State != StateWarming || !strings.Contains(all[0].Error, "MetadataExchange") || all[1].Body == nil {
		t.Errorf("%+v %v", all, err)
	}
}
