package generate

import (
	"slices"
	"sort"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/imports"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/peers"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/generate/ruling"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// builder makes what one outbound scope is told.
type builder struct {
	*view
	ix       *Index
	m        *Memo
	set      *Set
	rules    ruling.Ruling
	routable map[*model.Service]*model.DestinationRule
}

// GenerateOutbound returns clusters and, for sidecars, the listeners and routes for the traffic that a proxy sends.
func GenerateOutbound(ix *Index, o Outbound, m *Memo) *Set {
	b := newBuilder(ix, o, m)
	b.clusters()
	switch {
	case o.Class.Proxyless:
		b.proxyless()
	case !o.Class.Router:
		newOutboundPlan(b).build()
		b.names()
	}
	return b.set.finish()
}

func newBuilder(ix *Index, o Outbound, m *Memo) *builder {
	b := &builder{
		view: ix.see(o, m), ix: ix, m: m, set: newSet(), routable: map[*model.Service]*model.DestinationRule{},
	}
	for _, s := range b.services {
		b.routable[s.Service] = ix.rule(o, s.Service)
	}
	b.rules = ruling.Of(b.virtuals)
	return b
}

// registryOnly reports whether undeclared destinations are refused.
func (b *builder) registryOnly() bool {
	if s := b.scope.Sidecar; s != nil && s.RegistryOnly != nil {
		return *s.RegistryOnly
	}
	return b.ix.mesh.RegistryOnly
}

// egressProxy is the cluster for undeclared destinations where the Sidecar names one; "": it does not.
func (b *builder) egressProxy() string {
	if s := b.scope.Sidecar; s != nil && s.EgressProxy != nil {
		return b.resolve(s.EgressProxy, 0).Cluster
	}
	return ""
}

// anyName reports whether the names of unknown hosts are looked up.
func (b *builder) anyName() bool {
	return b.ix.mesh.AnyName && (b.scope.Sidecar == nil || b.scope.Sidecar.RegistryOnly == nil)
}

// reached is a service that a scope may reach, and the rule that it obeys towards it.
type reached struct {
	service *model.Service
	rule    *model.DestinationRule
	ports   string // imported ones; "": all
}

// reachScope is what clusters depend on. Namespaces that see the same services under the same rules share them.
type reachScope struct {
	mesh      *model.Mesh
	class     naming.Class
	through   bool   // with a second cluster for each, see upstream.Cluster
	namespace string // routers: whose rules may name Secrets
	self      *intern.List[string]
	peers     *peers.Rules
	from      upstream.Vantage
	all       *intern.List[reached]
	endpoints *model.EndpointIndex // foreign proxies
}

// clusters makes every service port's clusters and says how they look at its endpoints, or takes them from a scope that reaches the same.
func (b *builder) clusters() {
	var all []reached
	for _, s := range b.services {
		if s.Resolution != model.ResolveAlias {
			all = append(all, reached{s.Service, b.routable[s.Service], s.key()})
		}
	}
	key := reachScope{mesh: b.ix.mesh, class: b.scope.Class, through: b.scope.Through, self: b.scope.Self, from: b.scope.From, all: b.m.reached.Of(all)}
	if b.ix.peers.Disables() || key.class.Foreign {
		key.peers = b.ix.peers
	}
	if key.class.Foreign { // it is told the identities of endpoints, too
		key.endpoints = b.ix.endpoints
	}
	if b.scope.Class.Router {
		key.namespace = b.scope.Namespace
	}
	reach := b.m.reaches[key]
	if reach == nil {
		reach = b.reach()
		b.m.reaches[key] = reach
	}
	b.set.Reach = reach
	b.set.byType[wire.TypeCluster] = reach.clusters
	for _, name := range reach.secrets {
		b.set.secret(name)
	}
}

func (b *builder) reach() *Reach {
	r := &Reach{views: map[string]upstream.EndpointView{}, names: map[model.EndpointKey][]string{}}
	fixed := []string{wire.ClusterBlackHole}
	if !b.scope.Class.Router {
		fixed = append(fixed, wire.ClusterPassthrough)
	}
	if b.ix.mesh.AnyName && !b.scope.Class.Router {
		fixed = append(fixed, wire.ClusterAnyName)
	}
	for _, name := range fixed {
		if b.scope.Class.Proxyless {
			continue
		}
		r.clusters = append(r.clusters, b.m.fixed.Get(upstream.Fixed{Mesh: b.ix.mesh, Class: b.scope.Class, Name: name}, upstream.MakeFixed))
	}
	for _, s := range b.services {
		if s.Resolution == model.ResolveAlias {
			continue
		}
		rule := b.routable[s.Service]
		for i := range s.Ports {
			p := &s.Ports[i]
			if p.Protocol == model.UDP || !s.has(p.Number) {
				continue
			}
			for _, subset := range everySubset(rule) {
				b.cluster(r, s.Service, p.Number, rule, subset)
			}
		}
	}
	sort.SliceStable(r.clusters, func(i, j int) bool { return r.clusters[i].Name < r.clusters[j].Name })
	return r
}

// everySubset is the whole host, nil, and the subsets that a rule, which may be nil, makes of it.
func everySubset(rule *model.DestinationRule) []*model.Subset {
	out := []*model.Subset{nil}
	if rule != nil {
		out = append(out, rule.Subsets...)
	}
	return out
}

// cluster makes one cluster, and where the proxy carries mesh mTLS on, the one that does.
func (b *builder) cluster(r *Reach, svc *model.Service, port uint16, rule *model.DestinationRule, subset *model.Subset) {
	in := upstream.Cluster{Mesh: b.ix.mesh, Service: svc, Port: port, Subset: subset, Class: b.scope.Class}
	if rule != nil {
		in.Policy = policyOf(rule, subset, port)
		in.OwnSecret = b.ownSecret(rule)
	}
	if in.Class.Proxyless && !in.Proxyless() {
		return
	}
	b.made(r, in)
	if in.Through = b.scope.Through && reachable(svc); in.Through {
		b.made(r, in)
	}
}

// reachable reports whether a gateway may carry mesh mTLS on to a service: there are endpoints of the mesh, and it can find them.
func reachable(svc *model.Service) bool {
	return !svc.External && svc.Resolution != model.ResolvePassthrough && svc.Resolution != model.ResolveAlias && svc.Resolution != model.ResolveNamed
}

func (b *builder) made(r *Reach, in upstream.Cluster) {
	if in.Class.Foreign {
		in.Identities = b.m.strings.Of(peers.Identities(b.ix.set(in.Service, in.Port)))
		in.Meshed = b.ix.peers.Meshed(b.ix.set(in.Service, in.Port))
	}
	if in.Service.Resolution == model.ResolveNamed {
		in.Self = b.scope.Self
	}
	if in.Resolves() {
		in.Near = in.Preference().From(b.scope.From)
	}
	r.clusters = append(r.clusters, b.m.clusters.Get(in, upstream.Make))
	if in.WantsEndpoints() {
		view := b.endpointView(in)
		r.views[in.Name()] = view
		r.names[view.Key] = append(r.names[view.Key], in.Name())
	}
	if tls := in.InForce().TLS; tls != nil && tls.CredentialName != "" && in.OwnSecret && !in.Through {
		r.secrets = append(r.secrets, tls.CredentialName)
	}
}

// ownSecret reports whether the proxy may use the Secret that a rule names: a rule with a selector is of the proxy's own namespace, and a
// gateway takes only such a rule's word, or every tenant could have it show its certificates.
func (b *builder) ownSecret(rule *model.DestinationRule) bool {
	if rule.Selector != nil || !b.scope.Class.Router {
		return rule.Selector != nil
	}
	return !slices.ContainsFunc(rule.From, func(n model.Name) bool { return n.Namespace != b.scope.Namespace })
}

// policyOf is the policy in force for a subset, or for the whole host.
func policyOf(rule *model.DestinationRule, subset *model.Subset, port uint16) *model.TrafficPolicy {
	if subset != nil {
		return subset.Policy.For(port)
	}
	return rule.Default.For(port)
}

func (b *builder) endpointView(in upstream.Cluster) upstream.EndpointView {
	v := upstream.EndpointView{
		Key:    model.EndpointKey{Host: in.Service.Host, Namespace: in.Service.Namespace, Port: in.Port},
		Subset: in.Subset, Through: in.Through, Foreign: in.Class.Foreign, Proxyless: in.Class.Proxyless, Preference: in.Preference(),
	}
	if o := in.InForce().Outlier; o != nil && o.MinHealthPercent > 0 {
		v.HealthyOnly = true
	}
	if b.ix.peers.Disables() {
		v.Peers = b.ix.peers
	}
	return v
}

// resolve finds the cluster that a destination names, and how requests are hashed there. listenerPort stands in where neither the
// destination nor the service decides.
func (b *builder) resolve(d *model.Destination, listenerPort uint16) routes.Target {
	svc := b.byHost[d.Host]
	if svc != nil && svc.Resolution == model.ResolveAlias {
		if real := b.byHost[b.ix.stands[d.Host]]; real != nil {
			svc = real
		}
	}
	host, port := d.Host, d.Port
	if svc != nil {
		host = svc.Host
	}
	if port == 0 {
		port = listenerPort
		if svc != nil {
			port = onlyPort(svc, listenerPort)
		}
	}
	out := routes.Target{Ref: d, Cluster: naming.Cluster(host, d.Subset, port), Hash: b.hashKey(svc, d.Subset, port)}
	if svc != nil {
		out.Session = svc.Session
	}
	return out
}

// hashKey is what requests to a service's subset are hashed by; nil: nothing.
func (b *builder) hashKey(svc *model.Service, subset string, port uint16) *model.HashKey {
	if policy := b.policy(svc, subset, port); policy != nil {
		return policy.LoadBalancer.Hash
	}
	return nil
}

// onlyPort is the service's port where it has just one.
func onlyPort(svc *model.Service, otherwise uint16) uint16 {
	found := uint16(0)
	for i := range svc.Ports {
		if svc.Ports[i].Protocol == model.UDP {
			continue
		}
		if found != 0 {
			return otherwise
		}
		found = svc.Ports[i].Number
	}
	if found == 0 {
		return otherwise
	}
	return found
}

// policy returns the policy towards a service's subset: its rule's, or the mesh's. Nil: all is the default.
func (b *builder) policy(svc *model.Service, subset string, port uint16) *model.TrafficPolicy {
	if svc == nil {
		return nil
	}
	var said *model.TrafficPolicy
	if rule := b.routable[svc]; rule != nil {
		said = ruled(rule, subset, port)
	}
	if said == nil {
		said = b.ix.mesh.Baseline
	}
	return said
}

// ruled is the policy of a rule towards a subset, by its name, or towards the whole host. Nil: it has none.
func ruled(rule *model.DestinationRule, subset string, port uint16) *model.TrafficPolicy {
	if subset == "" {
		return rule.Default.For(port)
	}
	for _, s := range rule.Subsets {
		if s.Name == subset {
			return s.Policy.For(port)
		}
	}
	return nil
}

// targets resolves every HTTP destination of VirtualServices.
func (b *builder) targets(virtuals []*model.VirtualService, port uint16) *intern.List[routes.Target] {
	var out []routes.Target
	for _, vs := range virtuals {
		for _, r := range vs.HTTP {
			for d := range imports.HTTPDestinations(r) {
				out = append(out, b.resolve(d, port))
			}
		}
	}
	return b.m.targets.Of(out)
}

// host makes a virtual host of the mesh, for the names of the host.
func (b *builder) host(name string, svc *model.Service, port uint16) *routes.VirtualHost {
	in := b.hostInputs(name, svc, port)
	if svc != nil {
		in.Local = routes.Local(b.ix.mesh, svc, b.scope.Namespace)
		if in.Aliases = b.m.services.Of(b.aliases[svc.Host]); in.Aliases != nil {
			in.AliasClient = b.scope.Namespace
		}
	}
	return b.m.hosts.Get(in, routes.NewVirtualHost)
}

// alone makes the one virtual host for connections to a service's address.
func (b *builder) alone(svc *model.Service, port uint16) *routes.VirtualHost {
	in := b.hostInputs(svc.Host, svc, port)
	in.Alone = true
	return b.m.hosts.Get(in, routes.NewVirtualHost)
}

// hostInputs is what a host's routes depend on.
func (b *builder) hostInputs(name string, svc *model.Service, port uint16) routes.Host {
	in := b.unruled(name, svc, port)
	rules := b.rulesFor(name, port)
	find := rules.Service
	if svc == nil {
		find = rules.HTTP.Named
	}
	return b.ruled(in, find(name, in.Obeys))
}

// unruled is what a host's routes depend on but the rules.
func (b *builder) unruled(name string, svc *model.Service, port uint16) routes.Host {
	in := routes.Host{Mesh: b.ix.mesh, Class: b.scope.Class, Host: name, Port: port, Service: svc, Hash: b.hashKey(svc, "", port)}
	in.Gateways, in.Client = b.m.strings.Of([]string{model.MeshGateway}), b.scope.client()
	return in
}

// ruled gives a host its rules: those of a VirtualService, which may be nil.
func (b *builder) ruled(in routes.Host, vs *model.VirtualService) routes.Host {
	var virtuals []*model.VirtualService
	if vs != nil {
		virtuals = append(virtuals, vs)
	}
	if !slices.ContainsFunc(virtuals, routes.Conditional) {
		in.Client = routes.Client{}
	}
	in.Virtuals = b.m.virtuals.Of(virtuals)
	in.Targets = b.targets(virtuals, in.Port)
	return in
}
