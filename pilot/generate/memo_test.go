package generate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// large is a mesh of n services in namespaces of 100, half of them with a VirtualService and a DestinationRule.
func large(n int) *model.Snapshot {
	s := &model.Snapshot{
		Mesh: &model.Mesh{
			TrustDomain: "cluster.local", RootNamespace: "heddle-system", ClusterDomain: "cluster.local", AutoMTLS: true, ConnectTimeout: 10 * time.Second,
			DefaultRetry: &model.Retry{Attempts: 2, On: []string{"connect-failure"}, IgnorePreviousHosts: true},
		},
		DestinationRules: map[string][]*model.DestinationRule{},
	}
	public := model.Visibility{Public: true}
	for i := range n {
		name, namespace := fmt.Sprintf("svc%d", i), fmt.Sprintf("ns%d", i/100)
		host := name + "." + namespace + ".svc.cluster.local"
		s.Services = append(s.Services, &model.Service{
			Host: host, Name: name, Namespace: namespace, Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 96+i>>16, i>>8&255, i&255)}, Export: public,
			Ports: []model.ServicePort{{Name: "http", Number: 80, Protocol: model.HTTP, Target: 8080}, {Name: "grpc", Number: 90, Protocol: model.GRPC, Target: 9090}},
		})
		if i%2 == 1 {
			continue
		}
		s.VirtualServices = append(s.VirtualServices, &model.VirtualService{
			From: model.Name{Namespace: namespace, Name: name}, Hosts: []string{host}, Export: public, Gateways: []string{model.MeshGateway},
			HTTP: []*model.HTTPRoute{{Destinations: []*model.Destination{{Host: host, Subset: "v1", Weight: 100}}}},
		})
		s.DestinationRules[namespace] = append(s.DestinationRules[namespace], &model.DestinationRule{
			Host: host, Export: public, Default: model.PolicySet{All: &model.TrafficPolicy{}},
			Subsets: []*model.Subset{{Name: "v1", Labels: model.Selector{"version": "v1"}, Policy: model.PolicySet{All: &model.TrafficPolicy{}}}},
		})
	}
	return s
}

// silent is what proxies report that report nothing.
var silent = &observe.Reports{}

func scopeIn(namespace string) Outbound {
	return Outbound{Class: naming.Class{IPv4: true}, Namespace: namespace, Reports: silent}
}

// replaced is the snapshot with one element of a list replaced by a changed copy.
func replaced[T any](list []*T, i int, change func(*T)) []*T {
	out := slices.Clone(list)
	next := *out[i]
	change(&next)
	out[i] = &next
	return out
}

func TestOneChangeCostsWhatDependsOnIt(t *testing.T) {
	const services = 300
	s, m := large(services), NewMemo()
	GenerateOutbound(NewIndex(s, nil, nil), scopeIn("ns0"), m)
	if _, made := m.Round(); made < 3*services {
		t.Fatalf("an empty memo made %d resources", made)
	}
	for what, c := range map[string]struct {
		change func(*model.Snapshot)
		made   int
	}{
		"nothing": {func(*model.Snapshot) {}, 0},
		"a retry policy": {func(s *model.Snapshot) {
			s.VirtualServices = replaced(s.VirtualServices, 3, func(v *model.VirtualService) {
				v.HTTP = replaced(v.HTTP, 0, func(r *model.HTTPRoute) { r.Retry = &model.Retry{} })
			})
		}, 4},
		"a service's VIP": {func(s *model.Snapshot) {
			s.Services = replaced(s.Services, 5, func(v *model.Service) { v.Addresses = []string{"10.200.0.1"} })
		}, 6},
		"a policy's limit": {func(s *model.Snapshot) { s.DestinationRules = changedRule(s) }, 2},
	} {
		t.Run(what, func(t *testing.T) {
			m := NewMemo()
			GenerateOutbound(NewIndex(s, nil, nil), scopeIn("ns0"), m)
			m.Round()
			next := *s
			c.change(&next)
			warm := GenerateOutbound(NewIndex(&next, nil, nil), scopeIn("ns0"), m)
			hits, made := m.Round()
			if made != c.made || hits < 3*services {
				t.Errorf("%d remembered and %d made, want %d made", hits, made, c.made)
			}
			cold := GenerateOutbound(NewIndex(&next, nil, nil), scopeIn("ns0"), NewMemo())
			for _, typ := range []string{wire.TypeCluster, wire.TypeListener, wire.TypeRoute} {
				if !slices.EqualFunc(warm.All(typ), cold.All(typ), func(a, b *wire.Resource) bool { return string(a.Body) == string(b.Body) }) {
					t.Errorf("a warm and an empty memo disagree about %s", typ)
				}
			}
		})
	}
}

func changedRule(s *model.Snapshot) map[string][]*model.DestinationRule {
	out := map[string][]*model.DestinationRule{}
	for namespace, rules := range s.DestinationRules {
		out[namespace] = rules
	}
	out["ns0"] = replaced(out["ns0"], 0, func(r *model.DestinationRule) {
		r.Default = model.PolicySet{All: &model.TrafficPolicy{ConnectionPool: model.ConnectionPool{MaxConnections: 9}}}
	})
	return out
}

func TestNamespacesShareWhatDoesNotDiffer(t *testing.T) {
	const services = 300
	ix, m := NewIndex(large(services), nil, nil), NewMemo()
	GenerateOutbound(ix, scopeIn("ns0"), m)
	m.Round()
	GenerateOutbound(ix, scopeIn("ns1"), m)
	// The short names of the services of both namespaces, on two ports, and the two route configurations.
	if _, made := m.Round(); made > 2*2*100+2 {
		t.Errorf("another namespace made %d resources anew", made)
	}
}

// BenchmarkSnapshot is a change of one service among 10,000 for one scope; the budget is 250 ms for all that a snapshot takes.
func BenchmarkSnapshot(b *testing.B) {
	s, m := large(10_000), NewMemo()
	ix := NewIndex(s, nil, nil)
	GenerateOutbound(ix, scopeIn("ns0"), m)
	m.Round()
	for n := 0; b.Loop(); n++ {
		s.Services = replaced(s.Services, n%len(s.Services), func(v *model.Service) { v.SANs = []string{fmt.Sprint(n)} })
		ix = NewIndex(s, nil, ix)
		GenerateOutbound(ix, scopeIn("ns0"), m)
		m.Round()
	}
}

// BenchmarkEmptyMemo makes everything for one scope.
func BenchmarkEmptyMemo(b *testing.B) {
	s := large(10_000)
	for b.Loop() {
		GenerateOutbound(NewIndex(s, nil, nil), scopeIn("ns0"), NewMemo())
	}
}

// BenchmarkNamespaces is a change of one service among 10,000 for proxies in 20 namespaces.
func BenchmarkNamespaces(b *testing.B) {
	s, m := large(10_000), NewMemo()
	ix := NewIndex(s, nil, nil)
	pass := func() {
		for n := range 20 {
			GenerateOutbound(ix, scopeIn(fmt.Sprintf("ns%d", n)), m)
		}
		m.Round()
	}
	pass()
	for n := 0; b.Loop(); n++ {
		s.Services = replaced(s.Services, n%len(s.Services), func(v *model.Service) { v.SANs = []string{fmt.Sprint(n)} })
		ix = NewIndex(s, nil, ix)
		pass()
	}
}
