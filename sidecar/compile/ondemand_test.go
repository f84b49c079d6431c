package compile

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

const (
	capturing = `"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: virtualOutbound
address: {socket_address: {address: 0.0.0.0, port_value: 15001}}
use_original_dst: true
metadata: {filter_metadata: {heddle.on_demand: {listeners: "true"}}}
default_filter_chain: {filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, cluster: rest}}]}
`
	rest   = "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: rest\ntype: ORIGINAL_DST\nlb_policy: CLUSTER_PROVIDED\n"
	hostA  = "\"@type\": type.googleapis.com/envoy.config.route.v3.VirtualHost\nname: 80/a\ndomains: [a, a.shop]\nroutes: [{match: {prefix: /}, route: {cluster: ca}}]\n"
	tables = "\"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration\nname: \"80\"\nvhds: {config_source: {ads: {}}}\n" +
		"virtual_hosts: [{name: rest, domains: [\"*\"], routes: [{match: {prefix: /}, route: {cluster: rest}}]}]\n"
)

// leads is the virtual host that a table has for a host.
func leads(c *config.Config, host string) string {
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{})
	x.Request.Authority, x.Request.Path = exchange.View(host), exchange.View("/")
	v, _ := c.Routes["80"].Match(x)
	return v.Name
}

// TestHostsWaitForTheirClusters follows a host from its question on: it is known once its cluster and endpoints are in force, and what is not
// there leads where the table says.
func TestHostsWaitForTheirClusters(t *testing.T) {
	c := New(Options{Workload: workload{}, Mesh: workload{}, Secrets: mtls.NewSecrets(), OnDemand: true})
	first := step(t, c, rest, tables, listenerText("l", "80", "1"))
	if leads(first, "a") != "unasked" || !slices.Equal(c.Wanted(wire.TypeCluster), []string{"rest"}) {
		t.Fatalf("it leads to %s, and %q are wanted", leads(first, "a"), c.Wanted(wire.TypeCluster))
	}
	if !c.AskHost("80", "a") || !c.AskHost("80", "nowhere") || !slices.Equal(c.Wanted(wire.TypeVirtualHost), []string{"80/a", "80/nowhere"}) {
		t.Fatalf("wanted: %q", c.Wanted(wire.TypeVirtualHost))
	}
	if now := step(t, c, hostA); leads(now, "a") != "unasked" || !slices.Equal(c.Wanted(wire.TypeCluster), []string{"ca", "rest"}) {
		t.Errorf("it is known before its cluster, and %q are wanted", c.Wanted(wire.TypeCluster))
	}
	if now := step(t, c, clusterText("ca", "1s")); leads(now, "a") != "unasked" {
		t.Error("it is known before its endpoints")
	}
	known := step(t, c, endpointsText("ca", "10.0.0.1"))
	if leads(known, "a") != "80/a" || leads(known, "A.shop") != "80/a" || leads(known, "nowhere") != "unasked" {
		t.Errorf("it leads to %s", leads(known, "a"))
	}
	c.Apply(wire.TypeVirtualHost, nil, []string{"80/nowhere"})
	now := c.Config()
	if leads(now, "nowhere") != "rest" {
		t.Error("what is not there does not lead where the table says")
	}
	if again := step(t, c, hostA); again != now {
		t.Error("nothing changed, yet there is a new configuration")
	}
	if now = step(t, c, strings.Replace(hostA, "cluster: ca", "cluster: cb", 1)); leads(now, "a") != "80/a" || !slices.Contains(c.Wanted(wire.TypeCluster), "ca") {
		t.Error("the cluster in force is not wanted while the next one is on its way")
	}
	c.Apply(wire.TypeCluster, nil, []string{"cb"})
	if c.Config(); slices.Contains(c.Wanted(wire.TypeCluster), "ca") {
		t.Error("a cluster is wanted that nothing refers to, or one that is not there is waited for")
	}
	c.Apply(wire.TypeVirtualHost, nil, []string{"80/a"})
	if now = c.Config(); leads(now, "a") != "rest" {
		t.Error("what is gone counts as there")
	}
}

// TestAddressesAreSettledByAnswers holds that a destination is known once all of its listeners are in force, or are said not to be there.
func TestAddressesAreSettledByAnswers(t *testing.T) {
	c := New(Options{Workload: workload{}, Mesh: workload{}, Secrets: mtls.NewSecrets(), OnDemand: true})
	four, six := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("[fd00::1]:80")
	if step(t, c, rest).Settled != nil {
		t.Error("nobody said that listeners are on demand")
	}
	if now := step(t, c, capturing); now.Settled == nil || now.Settled[four] {
		t.Fatalf("settled: %v", now.Settled)
	}
	c.AskAddress(four)
	c.AskAddress(six)
	if got := c.Wanted(wire.TypeListener); !slices.Equal(got, []string{"0.0.0.0_80", "10.0.0.1_80", "::_80", "fd00::1_80"}) {
		t.Fatalf("wanted: %q", got)
	}
	c.Apply(wire.TypeListener, nil, []string{"10.0.0.1_80", "::_80", "fd00::1_80"})
	if now := step(t, c, listenerText("0.0.0.0_80", "80", "1")); now.Settled[four] || c.Warming() {
		t.Error("the listener of the port is in force before its routes, or keeps the proxy from being ready")
	}
	if now := step(t, c, tables); !now.Settled[four] || !now.Settled[six] {
		t.Errorf("settled: %v", now.Settled)
	}
	if now := step(t, c, listenerText("10.0.0.1_80", "81", "1")); now.Settled[four] {
		t.Error("a listener has come for the address, and another is used meanwhile")
	}
}
