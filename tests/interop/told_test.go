package interop

import (
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// mesh is what a text of YAML means.
type mesh struct {
	index     *generate.Index
	snapshot  *model.Snapshot
	endpoints *model.EndpointIndex
	workloads *model.WorkloadIndex
	memo      *generate.Memo
}

func newMesh(t *testing.T, text []byte) *mesh {
	t.Helper()
	in, err := source.FromYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{memo: generate.NewMemo()}
	m.snapshot, _ = translate.Translate(in, nil)
	m.endpoints, m.workloads = translate.Endpoints(in, nil)
	m.index = generate.NewIndex(m.snapshot, m.endpoints, nil)
	return m
}

// seat is one proxy of a mesh.
type seat struct {
	name     string
	workload *model.Workload
	class    naming.Class
}

// seats are the proxies of a class whose configuration differs most: each pod, and a sidecar in namespaces that cases speak of, or a pod of each Gateway.
func (m *mesh) seats(class naming.Class) []seat {
	var out []seat
	for name, w := range m.workloads.ByName {
		if class.Router == (w.Annotations[wire.StatusAnnotation] == "") {
			out = append(out, seat{"pod " + name.String(), w, class})
		}
	}
	if class.Router {
		for _, g := range m.snapshot.Gateways {
			out = append(out, seat{"gateway " + g.From.String(), stranger(g.From.Namespace, g.Selector), class})
		}
		return out
	}
	for _, namespace := range []string{"shop", "other", wire.SystemNamespace} {
		out = append(out, seat{"sidecar in " + namespace, stranger(namespace, map[string]string{"app": "web"}), class})
	}
	return out
}

func stranger(namespace string, labels map[string]string) *model.Workload {
	return &model.Workload{Name: model.Name{Namespace: namespace, Name: "p"}, IPs: []string{"10.1.2.3"}, Labels: labels,
		Identity: spiffe.Identity{TrustDomain: "cluster.local", Namespace: namespace, ServiceAccount: "p"}, ContainerPorts: map[string]uint16{"named": 9090}}
}

// told is all that the proxy in a seat is told, with files in place of those that the mesh names.
func (m *mesh) told(t *testing.T, s seat, files *files) *view {
	t.Helper()
	scope := generate.ScopeOf(m.index, s.workload, s.class, m.memo)
	outer := generate.GenerateOutbound(m.index, scope.Outbound, m.memo)
	var own *generate.Set
	if s.class.Router {
		own = generate.GenerateEdge(m.index, scope.Outbound, scope.Edge, m.memo)
	} else {
		own = generate.GenerateInbound(scope.Inbound, m.memo)
	}
	var all []*wire.Resource
	for _, set := range []*generate.Set{outer, own} {
		for _, typ := range []string{wire.TypeCluster, wire.TypeListener, wire.TypeRoute} {
			for _, r := range set.All(typ) {
				all = append(all, files.standIn(t, r))
			}
		}
		for _, name := range set.Secrets {
			all = append(all, upstream.CertificateSecret(wire.SecretPrefix+name, files.pair), upstream.AuthoritySecret(wire.SecretPrefix+name+wire.CACertSuffix, files.root, nil))
		}
	}
	for name, view := range outer.Reach.Views() {
		all = append(all, generate.Endpoints(name, m.endpoints.Sets[view.Key], view.From(scope.From), m.memo))
	}
	all = append(all, upstream.CertificateSecret(wire.SecretWorkload, files.pair), upstream.AuthoritySecret(wire.SecretRoot, files.root, nil))
	return newView(all, references(t, all))
}

// references are the routes and assignments that resources refer to: a proxy that takes them asks for these.
func references(t *testing.T, all []*wire.Resource) []string {
	t.Helper()
	var out []string
	for _, r := range all {
		switch r.Type {
		case wire.TypeCluster:
			var c cluster.Cluster
			read(t, r.Body, &c)
			if c.GetType() == cluster.Cluster_EDS {
				out = append(out, wire.TypeEndpoints+" "+c.GetEdsClusterConfig().GetServiceName())
			}
		case wire.TypeListener:
			var l listener.Listener
			read(t, r.Body, &l)
			for _, chain := range append(l.FilterChains, l.DefaultFilterChain) {
				for _, f := range chain.GetFilters() {
					var manager hcm.HttpConnectionManager
					if f.GetTypedConfig().MessageIs(&manager) {
						read(t, f.GetTypedConfig().GetValue(), &manager)
						if name := manager.GetRds().GetRouteConfigName(); name != "" {
							out = append(out, wire.TypeRoute+" "+name)
						}
					}
				}
			}
		}
	}
	return out
}

func read(t *testing.T, data []byte, into proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}
