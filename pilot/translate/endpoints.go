package translate

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/memo"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/core"
	"github.com/heddle-mesh/heddle/pilot/translate/mesh"
	"github.com/heddle-mesh/heddle/pilot/translate/registry"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// EndpointMemo remembers endpoints and workloads from one call to the next, as Memo does for the Snapshot. It belongs to the
// endpoints' own lane and serves one caller at a time.
type EndpointMemo struct {
	mesh      *model.Mesh
	workloads *memo.Memo[workloadKey, *model.Workload]
	pool      *pool[model.Name, *model.Workload]
	labels    *core.LabelSets
	services  *stage[*corev1.Service, *model.Service]
	entries   *stage[*inputs.ServiceEntry, *registry.ServiceEntry]
	others    *stage[*inputs.WorkloadEntry, *registry.WorkloadEntry]
	endpoints *memo.Memo[endpointKey, *model.Endpoint]
	sets      map[model.EndpointKey]*model.EndpointSet
	last      *gathering // the pass before
}

type workloadKey struct {
	pod   *corev1.Pod
	where model.Locality
	mesh  *model.Mesh
}

type endpointKey struct {
	address  string
	port     uint16
	health   model.Health
	workload *model.Workload
	where    model.Locality // without a workload
	node     string         // likewise
	cluster  string         // likewise
	hostname string
}

// NewEndpointMemo returns an EndpointMemo that remembers nothing.
func NewEndpointMemo() *EndpointMemo {
	return &EndpointMemo{
		workloads: memo.New[workloadKey, *model.Workload](),
		pool:      newPool[model.Name, *model.Workload](),
		labels:    core.NewLabelSets(),
		services:  newStage[*corev1.Service, *model.Service](),
		entries:   newStage[*inputs.ServiceEntry, *registry.ServiceEntry](),
		others:    newStage[*inputs.WorkloadEntry, *registry.WorkloadEntry](),
		endpoints: memo.New[endpointKey, *model.Endpoint](),
	}
}

// gathering is one pass over the endpoints.
type gathering struct {
	in    *inputs.Inputs
	memo  *EndpointMemo
	mesh  *model.Mesh
	nodes map[string]model.Locality
	pods  map[model.Name]*model.Workload // pods whose address is their own
	raw   map[model.Name]*corev1.Pod
	all   *model.WorkloadIndex
	sets  map[model.EndpointKey]*model.EndpointSet
	// others are workloads that are no pods, by namespace.
	others map[string][]*registry.WorkloadEntry
	// pods of the pass before are those of this one; then what did not change otherwise is not looked at again.
	samePods, sameOthers bool
	behindOf             map[*model.Service][]*discoveryv1.EndpointSlice
}

// Endpoints translates what is behind services, and the workloads themselves. It reads no routing objects and never waits for Translate. An empty
// memo (or nil) gives the same, slower.
func Endpoints(in *inputs.Inputs, memo *EndpointMemo) (*model.EndpointIndex, *model.WorkloadIndex) {
	if memo == nil {
		memo = NewEndpointMemo()
	}
	g := &gathering{in: in, memo: memo, sets: make(map[model.EndpointKey]*model.EndpointSet, len(memo.sets)),
		behindOf: make(map[*model.Service][]*discoveryv1.EndpointSlice, len(in.Services))}
	g.settings()
	g.workloads()
	g.workloadEntries()
	g.services()
	g.entries()
	if !g.samePods { // otherwise most were not asked for
		memo.workloads.Round()
		memo.pool.round()
		memo.labels.Bound(len(in.Pods))
		memo.endpoints.Round()
	}
	memo.sets, memo.last = g.sets, g
	return &model.EndpointIndex{Sets: g.sets}, g.all
}

func (g *gathering) settings() {
	g.mesh, _ = mesh.Mesh(g.in.Mesh)
	if g.memo.mesh != nil && equal(g.memo.mesh, g.mesh) {
		g.mesh = g.memo.mesh
	}
	g.memo.mesh = g.mesh
	g.nodes = make(map[string]model.Locality, len(g.in.Nodes))
	for _, n := range g.in.Nodes {
		g.nodes[n.Name] = core.Locality(n)
	}
}

// workloads translates pods. One that has ended keeps its name and loses its address.
func (g *gathering) workloads() {
	if l := g.memo.last; l != nil && l.mesh == g.mesh && sameList(l.in.Pods, g.in.Pods) && sameList(l.in.Nodes, g.in.Nodes) {
		g.samePods, g.pods, g.raw, g.all = true, l.pods, l.raw, l.all
		return
	}
	n := len(g.in.Pods)
	g.pods, g.raw = make(map[model.Name]*model.Workload, n), make(map[model.Name]*corev1.Pod, n)
	g.all = &model.WorkloadIndex{ByName: make(map[model.Name]*model.Workload, n), ByIP: make(map[string]*model.Workload, n)}
	for _, p := range g.in.Pods {
		name := nameOf(p)
		w := g.memo.workloads.Get(workloadKey{p, g.nodes[p.Spec.NodeName], g.mesh}, func(k workloadKey) *model.Workload {
			w := core.Workload(p, k.where, g.mesh)
			w.Labels = g.memo.labels.One(w.Labels)
			w.Topology, w.Unread = mesh.OwnTopology(p.Annotations[mesh.ConfigAnnotation])
			return g.memo.pool.intern(name, w)
		})
		g.memo.pool.now[name] = w
		g.all.ByName[name] = w
		g.pods[name], g.raw[name] = w, p
		if core.Ended(p) || core.OnHostNetwork(p) {
			continue
		}
		for _, ip := range w.IPs {
			g.all.ByIP[ip] = w
		}
	}
}

// workloadEntries translates WorkloadEntries.
func (g *gathering) workloadEntries() {
	g.others = map[string][]*registry.WorkloadEntry{}
	all, read := g.memo.others.all(g.in.WorkloadEntries, g.mesh, func(o *inputs.WorkloadEntry) *result[*registry.WorkloadEntry] {
		v, issues := registry.ReadWorkloadEntry(o, g.mesh)
		return resultOf(v, entryOf(o, issues))
	})
	for i, res := range read {
		if o := all[i]; res.entry.State != report.Refused {
			g.others[o.Namespace] = append(g.others[o.Namespace], res.value)
		}
	}
	g.machines()
	l := g.memo.last
	g.sameOthers = l != nil && maps.EqualFunc(l.others, g.others, slices.Equal[[]*registry.WorkloadEntry])
}

// machines puts those that registered themselves into the index. It is a new one only where that says something new.
func (g *gathering) machines() {
	found := map[model.Name]*model.Workload{}
	for _, list := range g.others {
		for _, w := range list {
			if w.Machine != nil {
				found[w.From] = w.Machine
			}
		}
	}
	if !maps.Equal(g.all.Machines, found) {
		next := *g.all
		next.Machines = found
		g.all = &next
	}
}

// services gathers the endpoints of Services from their slices.
func (g *gathering) services() {
	slicesOf := map[model.Name][]*discoveryv1.EndpointSlice{}
	for _, s := range g.in.EndpointSlices {
		if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
			key := model.Name{Namespace: s.Namespace, Name: name}
			slicesOf[key] = append(slicesOf[key], s)
		}
	}
	all, read := g.memo.services.all(g.in.Services, g.mesh, func(s *corev1.Service) *result[*model.Service] {
		v, _ := core.Service(s, g.mesh)
		return resultOf(v, nil)
	})
	for i, res := range read {
		if svc := res.value; svc.Resolution != model.ResolveAlias {
			g.service(all[i], svc, slicesOf[svc.From])
		}
	}
}

// service gathers the endpoints of each port of a Service, unless it, its slices and all workloads are those of the pass before.
func (g *gathering) service(s *corev1.Service, svc *model.Service, from []*discoveryv1.EndpointSlice) {
	before, known := []*discoveryv1.EndpointSlice(nil), false
	if g.samePods && g.sameOthers {
		before, known = g.memo.last.behindOf[svc]
	}
	known = known && slices.Equal(before, from)
	g.behindOf[svc] = from
	if !known {
		from = core.OfFamily(s, from)
	}
	for i := range svc.Ports {
		key := model.EndpointKey{Host: svc.Host, Namespace: svc.Namespace, Port: svc.Ports[i].Number}
		if known {
			g.sets[key] = g.memo.sets[key]
			continue
		}
		g.put(key, append(g.behind(svc, &svc.Ports[i], from), g.selectedOthers(svc, svc.Selector, svc.Ports[i])...))
	}
}

// sameList reports whether two lists are one. Lists are never changed once they were handed over.
func sameList[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func (g *gathering) behind(svc *model.Service, port *model.ServicePort, from []*discoveryv1.EndpointSlice) []*model.Endpoint {
	var out []*model.Endpoint
	for _, slice := range from {
		number, ok := core.SlicePort(slice, port.Name)
		if !ok {
			continue
		}
		for _, a := range core.Addresses(slice, number, svc.PublishNotReady) {
			if w, known := a.Workload(g.all); known {
				out = append(out, g.endpoint(a, w))
			}
		}
	}
	return out
}

// endpoint joins an address with its pod, nil if it has none.
func (g *gathering) endpoint(a core.Address, w *model.Workload) *model.Endpoint {
	k := endpointKey{address: a.IP, port: a.Port, health: a.Health, workload: w, hostname: a.Hostname}
	if w == nil {
		if k.where = g.nodes[a.Node]; k.where == (model.Locality{}) {
			k.where.Zone = a.Zone
		}
		k.node, k.cluster = a.Node, g.mesh.ClusterID
		return g.memo.endpoints.Get(k, g.podless)
	}
	return g.memo.endpoints.Get(k, newEndpoint)
}

// podless is an endpoint of which only is known where it runs.
func (g *gathering) podless(k endpointKey) *model.Endpoint {
	e := newEndpoint(k)
	e.Labels = g.memo.labels.One(core.Placed(nil, k.where, k.node, k.cluster))
	return e
}

func newEndpoint(k endpointKey) *model.Endpoint {
	e := &model.Endpoint{Address: k.address, Port: k.port, Health: k.health, Locality: k.where, Node: k.node, Hostname: k.hostname}
	if w := k.workload; w != nil {
		e.Locality, e.Node, e.Identity, e.Workload, e.Labels = w.Locality, w.Node, w.Identity, w.Facts, w.Labels
		if e.Health == model.Healthy && w.Labels[values.DrainingLabel] != "" {
			e.Health = model.Draining
		}
		e.MeshTLS = w.Labels[wire.TLSModeLabel] == wire.TLSModeMesh
	}
	return e
}

// portOfEntries is what is behind a port of a host, of all ServiceEntries of a namespace that allow the same identities.
type portOfEntries struct {
	sans []string
	name string
	list []*model.Endpoint
}

// entries gathers the endpoints of ServiceEntries: their own, or the pods that they select. Of several of one host, the oldest has a port; those that
// call it the same and allow the same identities add theirs.
func (g *gathering) entries() {
	all, read := g.memo.entries.all(g.in.ServiceEntries, g.mesh, func(o *inputs.ServiceEntry) *result[*registry.ServiceEntry] {
		v, issues := registry.ReadServiceEntry(o, g.mesh)
		return resultOf(v, entryOf(o, issues))
	})
	ports := map[model.EndpointKey]*portOfEntries{}
	for i, res := range read {
		o := all[i]
		if res.entry.State == report.Refused {
			continue
		}
		for _, svc := range res.value.Services {
			if svc.Resolution != model.ResolveEndpoints {
				continue
			}
			for _, p := range svc.Ports {
				list := res.value.Endpoints[p.Number]
				if res.value.Selector != nil {
					list = append(g.selected(o.Namespace, res.value.Selector, p), g.selectedOthers(svc, res.value.Selector, p)...)
				}
				key := model.EndpointKey{Host: svc.Host, Namespace: svc.Namespace, Port: p.Number}
				if ports[key] == nil {
					ports[key] = &portOfEntries{sans: svc.SANs, name: p.Name}
				}
				if port := ports[key]; port.name == p.Name && slices.Equal(port.sans, svc.SANs) {
					port.list = append(port.list, list...)
				}
			}
		}
	}
	for key, port := range ports {
		g.put(key, port.list)
	}
}

// selected lists the pods of a namespace that a ServiceEntry selects.
func (g *gathering) selected(namespace string, s model.Selector, p model.ServicePort) []*model.Endpoint {
	var out []*model.Endpoint
	for name, w := range g.pods {
		pod := g.raw[name]
		if name.Namespace != namespace || len(w.IPs) == 0 || core.Ended(pod) || !s.Matches(w.Labels) {
			continue
		}
		out = append(out, g.memo.endpoints.Get(endpointKey{address: w.IPs[0], port: p.Target, health: core.PodReady(pod), workload: w}, newEndpoint))
	}
	return out
}

// selectedOthers lists the WorkloadEntries that a service of their namespace selects. No selector selects nobody.
func (g *gathering) selectedOthers(svc *model.Service, s model.Selector, p model.ServicePort) []*model.Endpoint {
	var out []*model.Endpoint
	for _, w := range g.others[svc.Namespace] {
		if s == nil || !s.Matches(w.Labels) {
			continue
		}
		if e := w.Endpoint(p, svc.External); e != nil {
			out = append(out, e)
		}
	}
	return out
}

// put orders the endpoints of a service port, drops doubles, and keeps the set of before if it is the same.
func (g *gathering) put(k model.EndpointKey, list []*model.Endpoint) {
	slices.SortFunc(list, func(a, b *model.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Health, b.Health))
	})
	list = slices.CompactFunc(list, func(a, b *model.Endpoint) bool { return a.Address == b.Address && a.Port == b.Port })
	if _, twice := g.sets[k]; twice { // an older object has the key
		return
	}
	if old := g.memo.sets[k]; old != nil && slices.EqualFunc(old.Endpoints, list, same) {
		g.sets[k] = old
		return
	}
	g.sets[k] = &model.EndpointSet{Key: k, Endpoints: list}
}

func same(a, b *model.Endpoint) bool { return a == b || equal(a, b) }
