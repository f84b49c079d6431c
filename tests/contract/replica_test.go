package contract

import (
	"fmt"
	"os"
	"testing"

	admin "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// TestReplica holds that what meshctl shows of files is what heddled tells a proxy of the same objects.
func TestReplica(t *testing.T) {
	text, err := os.ReadFile("testdata/skew.yaml")
	if err != nil {
		t.Fatal(err)
	}
	in, err := replica.FromFiles([]replica.Text{{Name: "skew.yaml", Content: text}}, "shop", replica.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]proto.Message{}
	for _, r := range told(t, serving(t, in), "web-1", wire.Dialect) {
		add(t, want, &anypb.Any{TypeUrl: r.Type, Value: r.Body})
	}
	got := map[string]proto.Message{}
	for _, one := range dumped(t, in) {
		add(t, got, one)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || len(want) == 0 {
		t.Errorf("heddled tells -, meshctl shows +: %s", diff)
	}
}

// add unpacks a resource.
func add(t *testing.T, all map[string]proto.Message, packed *anypb.Any) {
	t.Helper()
	m, err := packed.UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	name := ""
	switch m := m.(type) {
	case *endpoint.ClusterLoadAssignment:
		name = m.GetClusterName()
	case *cluster.Cluster:
		if name = m.GetName(); m.GetLoadAssignment() != nil { // dumps have it among the endpoints, too
			its := proto.CloneOf(m.GetLoadAssignment())
			its.ClusterName = name
			all[fmt.Sprintf("%T %s", its, name)] = its
		}
	case interface{ GetName() string }:
		name = m.GetName()
	}
	all[fmt.Sprintf("%T %s", m, name)] = m
}

// dumped is what meshctl shows of web-1 in a mesh.
func dumped(t *testing.T, in *inputs.Inputs) (all []*anypb.Any) {
	t.Helper()
	m, err := replica.New(in)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := m.Find("web-1", "shop")
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Proxy(pod)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Dump()
	if err != nil {
		t.Fatal(err)
	}
	var dump admin.ConfigDump
	if err := protojson.Unmarshal(text, &dump); err != nil {
		t.Fatal(err)
	}
	for _, part := range dump.GetConfigs() {
		m, err := part.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, inside(m)...)
	}
	return all
}

// inside are the resources in a part of a dump.
func inside(part proto.Message) (all []*anypb.Any) {
	switch part := part.(type) {
	case *admin.ClustersConfigDump:
		for _, c := range part.GetDynamicActiveClusters() {
			all = append(all, c.GetCluster())
		}
	case *admin.EndpointsConfigDump:
		for _, e := range part.GetDynamicEndpointConfigs() {
			all = append(all, e.GetEndpointConfig())
		}
	case *admin.ListenersConfigDump:
		for _, l := range part.GetDynamicListeners() {
			all = append(all, l.GetActiveState().GetListener())
		}
	case *admin.RoutesConfigDump:
		for _, r := range part.GetDynamicRouteConfigs() {
			all = append(all, r.GetRouteConfig())
		}
	}
	return all
}
