package generate

import (
	"slices"
	"sort"

	"github.com/heddle-mesh/heddle/pilot/generate/aliases"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/generate/peers"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Index is the lookups over one Snapshot that generators share. It is immutable.
type Index struct {
	snapshot   *model.Snapshot
	mesh       *model.Mesh
	endpoints  *model.EndpointIndex
	byHost     map[string][]*model.Service // by precedence
	stands     map[string]string           // what ExternalName services stand for, by host
	selecting  map[string][]*model.Service // by namespace: those that choose pods
	rules      map[string]*ruleTable       // by namespace
	conditions []condition
	peers      *peers.Rules
	reports    *observe.Rules
	opaque     map[uint16]bool // ports that a Sidecar has its clients speak something else than HTTP on
	sights     sights
	named      bool // some clusters go where the names of requests lead
}

// condition is a label condition of routes.
type condition struct {
	key    string
	labels model.Selector
}

// NewIndex indexes a snapshot. prev, the index before it or nil, lends what did not change. Endpoints are looked at only where a
// resource other than endpoints depends on them (see NeedsEndpoints).
func NewIndex(s *model.Snapshot, endpoints *model.EndpointIndex, prev *Index) *Index {
	ix := &Index{
		snapshot: s, mesh: s.Mesh, endpoints: endpoints, byHost: make(map[string][]*model.Service, len(s.Services)),
		selecting: map[string][]*model.Service{}, rules: make(map[string]*ruleTable, len(s.DestinationRules)), opaque: map[uint16]bool{},
	}
	for _, sidecar := range s.Sidecars {
		for _, l := range sidecar.Egress {
			if l.Protocol != model.Unknown && !l.Protocol.IsHTTP() {
				ix.opaque[l.Port] = true
			}
		}
	}
	ix.named = s.Mesh.AnyName
	for _, svc := range s.Services {
		ix.named = ix.named || svc.Resolution == model.ResolveNamed
		ix.byHost[svc.Host] = append(ix.byHost[svc.Host], svc)
		if svc.Selector != nil {
			ix.selecting[svc.Namespace] = append(ix.selecting[svc.Namespace], svc)
		}
	}
	ix.stands = aliases.Ends(ix.byHost)
	for namespace, rules := range s.DestinationRules {
		ix.rules[namespace] = newRuleTable(rules)
	}
	ix.conditions, ix.sights = conditionsOf(s.VirtualServices), sightsOf(s)
	var last *peers.Rules
	if prev != nil {
		last = prev.peers
	}
	ix.peers, ix.reports = peers.New(s, last), observe.New(s)
	return ix
}

// Mesh returns the settings of the snapshot's mesh.
func (ix *Index) Mesh() *model.Mesh { return ix.mesh }

// NeedsEndpoints reports whether resources other than endpoints depend on the endpoints of a service port: a headless
// service's listeners for anything but HTTP, with foreign proxies about the identities that clusters spell out, and with proxies that answer DNS
// questions all addresses of a headless service; and where names lead, gateways are told where they would lead back.
func (ix *Index) NeedsEndpoints(key model.EndpointKey, foreign, names bool) bool {
	for _, svc := range ix.byHost[key.Host] {
		if svc.Namespace != key.Namespace {
			continue
		}
		if ix.named && ix.fronts(svc) {
			return true
		}
		port := svc.Port(key.Port)
		return foreign || port != nil && svc.Resolution == model.ResolveHeadless && (names || !port.Protocol.IsHTTP() || ix.opaque[key.Port])
	}
	return false
}

// fronts reports whether a service seems to be a gateway's: one of the two selectors says what the other says.
func (ix *Index) fronts(svc *model.Service) bool {
	return svc.Selector != nil && slices.ContainsFunc(ix.snapshot.Gateways, func(g *model.Gateway) bool {
		return len(g.Selector) > 0 && (g.Selector.Matches(model.Labels(svc.Selector)) || svc.Selector.Matches(model.Labels(g.Selector)))
	})
}

// leadsBack are the addresses of a gateway's own Services, and of the pods behind these: sorted, each once.
func (ix *Index) leadsBack(w *model.Workload) []string {
	var out []string
	for _, svc := range ix.selecting[w.Name.Namespace] {
		if !svc.Selects(w) {
			continue
		}
		out = append(append(out, svc.Addresses...), svc.Outer...)
		for _, p := range svc.Ports {
			if set := ix.set(svc, p.Number); set != nil {
				for _, e := range set.Endpoints {
					out = append(out, e.Address)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Spells reports whether what clusters spell out of endpoints to foreign proxies is another for a changed set.
func (ix *Index) Spells(before, now *model.EndpointSet) bool { return ix.peers.Differ(before, now) }

// set returns the endpoints of a service port, or nil.
func (ix *Index) set(svc *model.Service, port uint16) *model.EndpointSet {
	if ix.endpoints == nil {
		return nil
	}
	return ix.endpoints.Sets[model.EndpointKey{Host: svc.Host, Namespace: svc.Namespace, Port: port}]
}

// conditionsOf collects the label conditions of all routes, each once.
func conditionsOf(virtuals []*model.VirtualService) []condition {
	seen := map[string]bool{}
	var out []condition
	add := func(s model.Source) {
		if len(s.Labels) == 0 {
			return
		}
		if key := routes.SourceKey(s.Labels); !seen[key] {
			seen[key] = true
			out = append(out, condition{key, s.Labels})
		}
	}
	for _, vs := range virtuals {
		for _, s := range routes.Sources(vs) {
			add(s)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].key < out[j].key })
	return out
}

// ruleTable is one namespace's DestinationRules, most specific first.
type ruleTable struct {
	exact map[string][]*model.DestinationRule
	wild  []*model.DestinationRule
}

func newRuleTable(rules []*model.DestinationRule) *ruleTable {
	t := &ruleTable{exact: make(map[string][]*model.DestinationRule, len(rules))}
	for _, r := range rules {
		if r.Host != "" && r.Host[0] == '*' {
			t.wild = append(t.wild, r)
			continue
		}
		t.exact[r.Host] = append(t.exact[r.Host], r)
	}
	sort.SliceStable(t.wild, func(i, j int) bool { return len(t.wild[i].Host) > len(t.wild[j].Host) })
	return t
}

// find returns the rule that a client obeys of those for the most specific host that any of them is for, and whether there is any: the first that selects
// the client, else the last without a selector.
func (t *ruleTable) find(host string, among, admits func(*model.DestinationRule) bool) (obeyed *model.DestinationRule, found bool) {
	if t == nil {
		return nil, false
	}
	at := ""
	consider := func(rules []*model.DestinationRule) {
		for _, r := range rules {
			switch {
			case found && (len(r.Host) < len(at) || obeyed != nil && obeyed.Selector != nil):
				return
			case !naming.Covers(r.Host, host) || !among(r):
				continue
			}
			if at, found = r.Host, true; admits(r) {
				obeyed = r
			}
		}
	}
	if consider(t.exact[host]); !found {
		consider(t.wild)
	}
	return obeyed, found
}

// rule returns the DestinationRule that a client obeys towards a host: its own namespace's, else the service's, else the root's. At home a rule for a more
// specific host ends the search even if it selects other clients; elsewhere, unless it is exported to the client, the search goes on in the next namespace.
func (ix *Index) rule(o Outbound, svc *model.Service) *model.DestinationRule {
	host, namespace, root := svc.Host, svc.Namespace, ix.mesh.RootNamespace
	spared := !o.Class.Router && !svc.Entry && namespace != o.Namespace
	own := func(r *model.DestinationRule) bool {
		return r.AtHome(o.Namespace, root) && !(r.SparesServices && spared)
	}
	if r, found := ix.rules[o.Namespace].find(host, own, o.obeys); found {
		return r
	}
	exported := func(r *model.DestinationRule) bool { return r.Export.To(o.Namespace) }
	for _, at := range []string{namespace, root} {
		abroad := func(r *model.DestinationRule) bool { return r.Abroad(at) }
		if r, _ := ix.rules[at].find(host, abroad, exported); r != nil {
			return r
		}
	}
	return nil
}

// obeys reports whether a rule, if it has a selector, selects the proxy.
func (o Outbound) obeys(rule *model.DestinationRule) bool {
	return rule.Selector == nil || o.selects(rule)
}

// selects reports whether a rule with a selector selects the proxy.
func (o Outbound) selects(rule *model.DestinationRule) bool {
	for r := range o.Rules.All {
		if r == rule {
			return true
		}
	}
	return false
}
