package older

import (
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
)

// TestTablesAreWhole holds that there is a table for each dialect that is generated for and for no other, that no dialect takes a field away, and that
// what may be left out is of later dialects.
func TestTablesAreWhole(t *testing.T) {
	all := tables()
	if len(all) != wire.Dialect-wire.OldestDialect {
		t.Errorf("%d tables for the dialects %d to %d", len(all), wire.OldestDialect, wire.Dialect-1)
	}
	for n := wire.OldestDialect; n < wire.Dialect; n++ {
		older := all[n]
		if older == nil {
			t.Fatalf("dialect %d has no table: its proxies would be told everything", n)
		}
		if next := all[n+1]; next != nil {
			for name, fields := range older.fields {
				for field := range fields {
					if !next.fields[name][field] {
						t.Errorf("dialect %d knows %s.%s, and the next does not", n, name, field)
					}
				}
			}
		}
		for name, fields := range older.fields {
			for field := range fields {
				if older.without[string(name)] || older.without[string(name)+"."+string(field)] {
					t.Errorf("dialect %d knows %s.%s, and does without", n, name, field)
				}
			}
		}
	}
}

// common is what the dialects of these tests share.
const common = `envoy.config.core.v3.HealthCheck:
envoy.config.core.v3.TransportSocket: name typed_config
envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext: common_tls_context
envoy.extensions.transport_sockets.tls.v3.CommonTlsContext: validation_context
`

// before are dialects 1 and 2 as they would be once there is a third: the second brought health checks, the pins of certificates and ROUND_ROBIN, the third
// ring hashes.
func before() (first, second *table) {
	const cluster, validation = "envoy.config.cluster.v3.Cluster", "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext"
	policies := func(known ...string) []values {
		return []values{{message: cluster, field: "lb_policy", known: known, instead: "LEAST_REQUEST"}}
	}
	first = &table{fields: parse(common + cluster + ": name lb_policy transport_socket " + validation + ":"),
		without: set(cluster+".health_checks", cluster+".ring_hash_lb_config"), values: policies("LEAST_REQUEST")}
	second = &table{fields: parse(common + cluster + ": name lb_policy transport_socket health_checks " + validation + ": verify_certificate_spki"),
		without: set(cluster + ".ring_hash_lb_config"), values: policies("LEAST_REQUEST", "ROUND_ROBIN")}
	return first, second
}

// clusterOf is a cluster with something of each dialect; pinned, it has what a proxy that does not know it must refuse.
func clusterOf(policy cluster.Cluster_LbPolicy, checks, rings, pinned bool) *cluster.Cluster {
	c := &cluster.Cluster{Name: "c", LbPolicy: policy}
	if checks {
		c.HealthChecks = []*core.HealthCheck{{}}
	}
	if rings {
		c.LbConfig = &cluster.Cluster_RingHashLbConfig_{RingHashLbConfig: &cluster.Cluster_RingHashLbConfig{}}
	}
	if pinned {
		c.TransportSocket = &core.TransportSocket{Name: "tls", ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: message.Any(&tls.UpstreamTlsContext{
			CommonTlsContext: &tls.CommonTlsContext{ValidationContextType: &tls.CommonTlsContext_ValidationContext{
				ValidationContext: &tls.CertificateValidationContext{VerifyCertificateSpki: []string{"a"}}}}})}}
	}
	return c
}

// TestTwoReleasesBack holds that a control plane of dialect 3 tells proxies of 1 and 2 what each knows, and no more.
func TestTwoReleasesBack(t *testing.T) {
	first, second := before()
	const ring, round, least = cluster.Cluster_RING_HASH, cluster.Cluster_ROUND_ROBIN, cluster.Cluster_LEAST_REQUEST
	for _, c := range []struct {
		what            string
		today           *cluster.Cluster
		toFirst, second *cluster.Cluster
	}{
		{"what all know", clusterOf(least, false, false, false), clusterOf(least, false, false, false), clusterOf(least, false, false, false)},
		{"something of each", clusterOf(ring, true, true, false), clusterOf(least, false, false, false), clusterOf(least, true, false, false)},
		{"a value of the second", clusterOf(round, false, false, false), clusterOf(least, false, false, false), clusterOf(round, false, false, false)},
		{"what the first must refuse, whole", clusterOf(round, true, false, true), clusterOf(round, true, false, true), clusterOf(round, true, false, true)},
		{"beside what the second does without", clusterOf(ring, true, true, true), clusterOf(ring, true, true, true), clusterOf(least, true, false, true)},
	} {
		r := message.Resource(wire.TypeCluster, "c", c.today)
		for of, want := range map[*table]*cluster.Cluster{first: c.toFirst, second: c.second, nil: c.today} {
			got := &cluster.Cluster{}
			if err := proto.Unmarshal(of.say(r).Body, got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s: %s", c.what, diff)
			}
		}
		pinned := c.today.GetTransportSocket() != nil
		if refuses := first.refused(first.say(r)); (refuses != "") != pinned || second.refused(second.say(r)) != "" {
			t.Errorf("%s: the first refuses %q, the second %q", c.what, refuses, second.refused(second.say(r)))
		}
	}
}

// TestOfThree holds which of three dialects is generated for, and what becomes of one that is older or newer than all.
func TestOfThree(t *testing.T) {
	for announced, want := range map[int][2]int{0: {0, 0}, 1: {1, 2}, 2: {2, 2}, 3: {0, 0}, 4: {0, 0}} {
		for i, oldest := range []int{1, 2} {
			if got := of(announced, oldest, 3); got != want[i] {
				t.Errorf("dialect %d, where those from %d to 3 are generated for: %d, want %d", announced, oldest, got, want[i])
			}
		}
	}
}
