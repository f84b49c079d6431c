package translate

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/allocate"
	"github.com/heddle-mesh/heddle/pilot/translate/core"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
	"github.com/heddle-mesh/heddle/pilot/translate/machines"
	"github.com/heddle-mesh/heddle/pilot/translate/mesh"
	"github.com/heddle-mesh/heddle/pilot/translate/registry"
	"github.com/heddle-mesh/heddle/pilot/translate/security"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// run is one translation.
type run struct {
	in   *inputs.Inputs
	memo *Memo
	mesh *model.Mesh
	snap *model.Snapshot
	rep  report.Report
	// distribution is the traffic distribution that namespaces ask for.
	distribution map[string]*model.LocalityPolicy
	// judged are the objects that are in force, to be looked at once more when the whole mesh is known.
	judged []judged
	istios map[string]bool // the namespaces that Istio's control plane serves, where there is one
	seen   map[string]bool // the namespaces that the mesh looks at; nil: all
	// delegates are VirtualServices without hosts.
	delegates map[model.Name]*istioapi.VirtualService
	// owned are Services by host where hosts are their namespaces' alone; nil: they are not.
	owned map[string]*model.Service
}

// judged is an object with what was said about it by itself.
type judged struct {
	object    inputs.Object
	entry     *report.Entry
	kept      *kept
	addresses []report.GivenAddress
}

// Translate makes the mesh of the objects. An empty memo (or nil) gives the same, slower.
func Translate(in *inputs.Inputs, memo *Memo) (*model.Snapshot, report.Report) {
	if memo == nil {
		memo = NewMemo()
	}
	r := &run{memo: memo, snap: &model.Snapshot{DestinationRules: map[string][]*model.DestinationRule{}}}
	r.in, r.seen = discovered(in)
	r.judged = make([]judged, 0, objects(r.in))
	r.settings()
	r.namespaces()
	r.beside(in.Services)
	r.services()
	r.serviceOwners()
	r.workloadEntries()
	r.serviceEntries()
	r.virtualServices()
	r.destinationRules()
	r.gateways()
	r.ingresses()
	r.sidecars()
	r.peerAuthentications()
	r.authorizations()
	r.telemetries()
	r.proxyConfigs()
	r.workloadGroups()
	r.leftOut()
	r.inContext()
	r.rep.Entries, _, _ = memo.report.of(r.rep.Entries, report.CompareEntries)
	memo.round()
	return r.snap, r.rep
}

// objects is about how many objects there are to judge.
func objects(in *inputs.Inputs) int {
	return len(in.VirtualServices) + len(in.DestinationRules) + len(in.Gateways) + len(in.ServiceEntries) + len(in.WorkloadEntries) + len(in.Sidecars) +
		len(in.PeerAuthentications) + len(in.AuthorizationPolicies) + len(in.Telemetries) + len(in.ProxyConfigs) + len(in.Ingresses)
}

// inContext looks at every object once more, now that the others are known.
func (r *run) inContext() {
	c := r.newChecker(r.memo.checker)
	r.memo.checker = c
	abreast(len(r.judged), func(i int) { r.lookAgain(c, &r.judged[i]) })
	r.rep.Entries = slices.Grow(r.rep.Entries, len(r.judged))
	for i := range r.judged {
		r.add(r.judged[i].entry)
	}
	r.onServices()
}

// lookAgain looks at one object once more.
func (r *run) lookAgain(c *Checker, j *judged) {
	if j.entry.State == report.Accepted || j.entry.State == report.Degraded {
		j.entry = j.kept.extend(j.entry, c.remember(j.object, j.kept))
	} else {
		j.kept.strange = nil
	}
	if len(j.addresses) > 0 {
		told := *j.entry
		told.Addresses = j.addresses
		j.entry = &told
	}
	j.entry = r.istiosOwn(j.object, j.entry)
}

// judge puts an object's entry aside for inContext, which remembers in kept. Of a namespace that the mesh does not look at, nothing is told.
func (r *run) judge(o inputs.Object, e *report.Entry, k *kept) {
	if r.seen != nil && !r.seen[o.GetNamespace()] {
		return
	}
	r.judged = append(r.judged, judged{object: o, entry: e, kept: k})
}

// settings translates what concerns the whole mesh.
func (r *run) settings() {
	m, issues := mesh.Mesh(r.in.Mesh)
	if r.memo.mesh != nil && equal(r.memo.mesh, m) {
		m = r.memo.mesh
	}
	r.memo.mesh, r.mesh, r.snap.Mesh = m, m, m
	r.add(report.NewEntry(report.Ref{Kind: "ConfigMap", Namespace: r.in.Mesh.Namespace, Name: cmp.Or(r.in.Mesh.Name, wire.MeshConfigMap)}, 0, false, issues))
}

// add puts an entry into the report.
func (r *run) add(e *report.Entry) { r.rep.Entries = append(r.rep.Entries, e) }

// services translates Services and the hosts of ServiceEntries, by precedence.
func (r *run) services() {
	all, read := r.memo.services.all(r.in.Services, r.mesh, func(s *corev1.Service) *result[*model.Service] {
		v, issues := core.Service(s, r.mesh)
		return resultOf(v, aboutService(s, issues))
	})
	r.snap.Services = slices.Grow(r.snap.Services, len(all))
	for i, res := range read {
		s := all[i]
		r.snap.Services = append(r.snap.Services, r.distributed(res.value, s.Spec.TrafficDistribution != nil || s.Annotations[values.DistributionAnnotation] != ""))
		if len(res.entry.Issues) > 0 {
			r.add(res.entry)
		}
	}
}

// distributed gives a service that says nothing itself the traffic distribution of its namespace.
func (r *run) distributed(s *model.Service, says bool) *model.Service {
	policy := r.distribution[s.Namespace]
	if says || policy == nil {
		return s
	}
	out := *s
	out.Locality = policy
	return r.memo.distributed.intern(model.Name{Namespace: s.Namespace, Name: s.Host}, &out)
}

// namespaces reads what namespaces say of their services.
func (r *run) namespaces() {
	r.distribution = map[string]*model.LocalityPolicy{}
	for _, n := range r.in.Namespaces {
		log := &report.Log{}
		policy := values.Distribution(log, "metadata.annotations["+values.DistributionAnnotation+"]", n.Annotations[values.DistributionAnnotation])
		if policy != nil {
			r.distribution[n.Name] = policy
		}
		if len(log.Issues) > 0 {
			r.add(report.NewEntry(report.Ref{Kind: "Namespace", Name: n.Name}, n.Generation, false, log.Issues))
		}
	}
}

// serviceEntries translates ServiceEntries. For one host they come after Services, so that nobody can take a Service's name.
func (r *run) serviceEntries() {
	all, read := r.memo.entries.all(r.in.ServiceEntries, r.mesh, func(o *inputs.ServiceEntry) *result[*registry.ServiceEntry] {
		v, issues := registry.ReadServiceEntry(o, r.mesh)
		return resultOf(r.keepServices(nameOf(o), v), entryOf(o, issues))
	})
	allocation := allocate.New()
	for i, o := range all {
		if read[i].entry.State != report.Refused {
			allocation.Keep(o, read[i].value.Services)
		}
	}
	hosts := registry.NewHosts(len(r.in.ServiceEntries))
	for i, o := range all {
		r.judge(o, read[i].entry, &read[i].kept)
		if read[i].entry.State == report.Refused {
			continue
		}
		says := o.Annotations[values.DistributionAnnotation] != ""
		for _, s := range r.servicesOf(o, read[i].value) {
			addressed := r.allocated(o, s, allocation)
			last := &r.judged[len(r.judged)-1]
			for _, a := range addressed.Allocated {
				last.addresses = append(last.addresses, report.GivenAddress{Host: s.Host, Value: a})
			}
			hosts.Add(read[i].value.Terms, r.distributed(addressed, says))
		}
	}
	r.snap.Services = append(r.snap.Services, hosts.Services(func(s *model.Service) *model.Service {
		return r.memo.joined.intern(allocate.Host{Entry: s.From, Host: s.Host}, s)
	})...)
}

// servicesOf are the services of an entry; of one that selects what is looked up, with what it selects.
func (r *run) servicesOf(o *inputs.ServiceEntry, e *registry.ServiceEntry) []*model.Service {
	if !e.LookedUp() {
		return e.Services
	}
	around := r.memo.around.by[o.Namespace]
	out := slices.Clone(r.memo.behind.Get(selection{e, around}, func(selection) []*model.Service { return e.Behind(around.list()) })) // the memo keeps its own
	for i, s := range out {
		out[i] = r.memo.selecting.intern(allocate.Of(o, s), s)
	}
	return out
}

// workloadEntries judges WorkloadEntries. What they are behind, but for names, is the endpoints' affair.
func (r *run) workloadEntries() {
	all, read := r.memo.workloads.all(r.in.WorkloadEntries, r.mesh, func(o *inputs.WorkloadEntry) *result[*registry.WorkloadEntry] {
		v, issues := registry.ReadWorkloadEntry(o, r.mesh)
		return resultOf(v, entryOf(o, issues))
	})
	for i, res := range read {
		r.judge(all[i], res.entry, &res.kept)
	}
	if !r.memo.workloads.same {
		r.memo.around.divide(read)
	}
}

// keepServices keeps the pointers of hosts that did not change in an entry that did.
func (r *run) keepServices(name model.Name, v *registry.ServiceEntry) *registry.ServiceEntry {
	old := r.memo.entries.before[name]
	if old == nil {
		return v
	}
	for i, s := range v.Services {
		if j := slices.IndexFunc(old.Services, func(o *model.Service) bool { return equal(o, s) }); j >= 0 {
			v.Services[i] = old.Services[j]
		}
	}
	return v
}

// virtualServices translates VirtualServices and merges delegates in.
func (r *run) virtualServices() {
	all, read := r.memo.virtualServices.all(r.in.VirtualServices, r.mesh, func(o *inputs.VirtualService) *result[*istioapi.VirtualService] {
		v, issues := istioapi.ReadVirtualService(o, r.mesh)
		return resultOf(v, entryOf(o, issues))
	})
	r.delegates = make(map[model.Name]*istioapi.VirtualService)
	for _, v := range read {
		if v.entry.State != report.Refused && v.value.IsDelegate() {
			r.delegates[v.value.From] = v.value
		}
	}
	r.snap.VirtualServices = slices.Grow(r.snap.VirtualServices, len(read))
	for i, res := range read {
		if res.entry.State == report.Refused || res.value.IsDelegate() {
			r.judge(all[i], res.entry, &res.kept)
			continue
		}
		v, issues := res.value.VirtualService, []report.Issue(nil)
		if len(res.value.Delegates) > 0 {
			v, issues = istioapi.MergeDelegates(res.value, r.delegates)
			v = r.memo.delegated.intern(v.From, v)
		}
		if r.owned == nil || !forSidecars(v.Gateways) {
			r.snap.VirtualServices = append(r.snap.VirtualServices, v)
		} else {
			r.snap.VirtualServices = append(r.snap.VirtualServices, r.obeyed(v)...)
		}
		r.judge(all[i], extend(res.entry, issues), &res.kept)
	}
}

// gateways translates Gateways.
func (r *run) gateways() {
	all, read := r.memo.gateways.all(r.in.Gateways, r.mesh, func(o *inputs.Gateway) *result[*model.Gateway] {
		v, issues := istioapi.ReadGateway(o, r.mesh)
		e := entryOf(o, issues)
		e.Secrets = secretsOf(v)
		return resultOf(v, e)
	})
	for i, res := range read {
		r.judge(all[i], res.entry, &res.kept)
		if res.entry.State != report.Refused {
			r.snap.Gateways = append(r.snap.Gateways, res.value)
		}
	}
}

// secretsOf are the Secrets that a Gateway names.
func secretsOf(g *model.Gateway) []string {
	var out []string
	for _, s := range g.Servers {
		if s.TLS == nil {
			continue
		}
		for _, name := range append(slices.Clone(s.TLS.Certificates), s.TLS.Authority) {
			if name != "" && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// sidecars translates Sidecars.
func (r *run) sidecars() {
	all, read := r.memo.sidecars.all(r.in.Sidecars, r.mesh, func(o *inputs.Sidecar) *result[*model.Sidecar] {
		v, issues := istioapi.ReadSidecar(o, r.mesh)
		return resultOf(v, entryOf(o, issues))
	})
	for i, res := range read {
		r.judge(all[i], res.entry, &res.kept)
		if res.entry.State != report.Refused {
			r.snap.Sidecars = append(r.snap.Sidecars, res.value)
		}
	}
}

// peerAuthentications translates PeerAuthentications, all of which are in force.
func (r *run) peerAuthentications() {
	all, read := r.memo.peers.all(r.in.PeerAuthentications, r.mesh, func(o *inputs.PeerAuthentication) *result[*model.PeerAuthentication] {
		v, issues := security.PeerAuthentication(o, r.mesh)
		return resultOf(v, entryOf(o, issues))
	})
	for i, res := range read {
		r.judge(all[i], res.entry, &res.kept)
		r.snap.PeerAuthentications = append(r.snap.PeerAuthentications, res.value)
	}
}

// authorizations translates AuthorizationPolicies. All that decide anything are in force.
func (r *run) authorizations() {
	all, read := r.memo.policies.all(r.in.AuthorizationPolicies, r.mesh, func(o *inputs.AuthorizationPolicy) *result[*model.Authorization] {
		v, issues := security.Authorization(o, r.mesh)
		if v == nil { // decides nothing, so that it is not closed but left out
			e := report.NewEntry(RefOf(o), o.Generation, false, issues)
			e.UID = string(o.UID)
			return resultOf(v, e)
		}
		return resultOf(v, entryOf(o, issues))
	})
	for i, res := range read {
		r.judge(all[i], res.entry, &res.kept)
		if res.value != nil {
			r.snap.Authorizations = append(r.snap.Authorizations, res.value)
		}
	}
	slices.SortFunc(r.snap.Authorizations, func(a, b *model.Authorization) int {
		return cmp.Or(cmp.Compare(a.From.Namespace, b.From.Namespace), cmp.Compare(a.From.Name, b.From.Name))
	})
}

// telemetries translates Telemetry objects.
func (r *run) telemetries() {
	all, read := r.memo.telemetries.all(r.in.Telemetries, r.mesh, func(o *inputs.Telemetry) *result[*model.Telemetry] {
		v, issues := mesh.Telemetry(o, r.mesh, true)
		return resultOf(v, entryOf(o, issues))
	})
	for i, res := range read {
		r.judge(all[i], res.entry, &res.kept)
		if res.entry.State != report.Refused {
			r.snap.Telemetries = append(r.snap.Telemetries, res.value)
		}
	}
}

// proxyConfigs translates ProxyConfigs.
func (r *run) proxyConfigs() {
	all, read := r.memo.proxyConfigs.all(r.in.ProxyConfigs, r.mesh, func(o *inputs.ProxyConfig) *result[*model.ProxyConfig] {
		v, issues := mesh.ProxyConfig(o)
		return resultOf(v, entryOf(o, issues))
	})
	for i, res := range read {
		r.judge(all[i], res.entry, &res.kept)
		if res.entry.State != report.Refused {
			r.snap.ProxyConfigs = append(r.snap.ProxyConfigs, res.value)
		}
	}
}

// workloadGroups translates WorkloadGroups, of which there are few.
func (r *run) workloadGroups() {
	for _, o := range r.in.WorkloadGroups {
		group, issues := machines.Read(o, r.mesh)
		entry := r.istiosOwn(o, entryOf(o, issues))
		r.add(entry)
		if group != nil && !entry.Foreign && entry.State != report.Refused {
			if r.snap.WorkloadGroups == nil {
				r.snap.WorkloadGroups = map[model.Name]*model.WorkloadGroup{}
			}
			r.snap.WorkloadGroups[group.From] = group
		}
	}
}

// leftOut reports what no translation was for.
func (r *run) leftOut() {
	for _, o := range r.in.Unimplemented {
		r.add(r.istiosOwn(o, entryOf(o, unimplemented(o))))
	}
	for _, u := range r.in.Unreadable {
		r.add(report.NewEntry(report.Ref{Group: u.Group, Kind: u.Kind, Namespace: u.Namespace, Name: u.Name}, 0, false,
			[]report.Issue{{Severity: report.Error, Path: u.Problem.Path, Reason: u.Problem.Reason}}))
	}
}

func unimplemented(o *inputs.Unimplemented) []report.Issue {
	return []report.Issue{{Severity: report.Error, Reason: "this kind is not implemented by this version"}}
}

// entryOf makes the report entry of an Istio object.
func entryOf(o inputs.Object, issues []report.Issue) *report.Entry {
	ref := RefOf(o)
	kind, _ := inputs.FindKind(ref.Group, ref.Kind)
	e := report.NewEntry(ref, o.GetGeneration(), kind.Security, issues)
	e.UID = string(o.GetUID())
	return e
}

// RefOf names an object in the report.
func RefOf(o inputs.Object) report.Ref {
	gvk := o.GetObjectKind().GroupVersionKind()
	return report.Ref{Group: gvk.Group, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// extend adds issues to an entry, which stays as it is.
func extend(e *report.Entry, issues []report.Issue) *report.Entry {
	if len(issues) == 0 {
		return e
	}
	out := report.NewEntry(e.Ref, e.Generation, e.State == report.Closed, append(slices.Clip(slices.Clone(e.Issues)), issues...))
	out.UID, out.Secrets, out.Foreign = e.UID, e.Secrets, e.Foreign
	return out
}

func nameOf(o metav1.Object) model.Name {
	return model.Name{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// allocated is a host of a ServiceEntry with the addresses that the mesh gives it.
func (r *run) allocated(o *inputs.ServiceEntry, s *model.Service, t *allocate.Table) *model.Service {
	if !allocate.Lacks(o, s) {
		return s
	}
	key := allocate.Of(o, s)
	out := *s
	out.Allocated = t.Of(key)
	return r.memo.allocated.intern(key, &out)
}
