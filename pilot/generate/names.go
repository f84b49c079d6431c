package generate

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	dns "github.com/envoyproxy/go-control-plane/envoy/data/dns/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// namesTTL is how long applications may remember an answer, as in Istio.
const namesTTL = 30 * time.Second

// names is the inputs of what a proxy answers DNS questions for one service with.
type names struct {
	service *model.Service
	domain  string // of the cluster
	local   bool   // the proxy is of the service's namespace
	sets    *intern.List[*model.EndpointSet]
}

// addressedService is a service as pods with addresses of some families know it.
type addressedService struct {
	*model.Service
	ipv4, ipv6 bool
}

// addressed is a service as proxies of a class know it: with the addresses that the mesh gave it, where they use these.
func (m *Memo) addressed(svc *model.Service, class naming.Class) *model.Service {
	if !class.Names || !class.Allocated || len(svc.Allocated) == 0 || len(svc.Addresses) > 0 {
		return svc
	}
	return m.allocated.Get(addressedService{svc, class.IPv4, class.IPv6}, func(addressedService) *model.Service {
		out := *svc
		for _, a := range svc.Allocated {
			if class.Usable(a) { // an address of a family that the pod lacks could not even be dialled
				out.Addresses = append(out.Addresses, a)
			}
		}
		return &out
	})
}

// names tells the names of the services that a scope sees, one resource for each.
func (b *builder) names() {
	if !b.scope.Class.Names {
		return
	}
	for _, s := range b.services {
		in := names{service: s.Service, domain: b.ix.mesh.ClusterDomain, local: s.Namespace == b.scope.Namespace}
		if s.Resolution == model.ResolveHeadless {
			var sets []*model.EndpointSet
			for i := range s.Ports {
				if set := b.ix.set(s.Service, s.Ports[i].Number); set != nil {
					sets = append(sets, set)
				}
			}
			in.sets = b.m.sets.Of(sets)
		}
		if r := b.m.names.Get(in, makeNames); r != nil {
			b.set.add(r)
		}
	}
}

// makeNames makes the resource, nil where only other servers know the answer: for names of others (ExternalName), services without
// addresses, and headless ones whose endpoints tell not all of them.
func makeNames(in names) *wire.Resource {
	svc, table := in.service, &dns.DnsTable{}
	add := func(addresses []string, labels ...string) {
		if len(addresses) == 0 {
			return
		}
		for _, form := range in.forms() {
			name := strings.Join(append(labels, form), ".")
			table.VirtualDomains = append(table.VirtualDomains, &dns.DnsTable_DnsVirtualDomain{
				Name: name, AnswerTtl: message.Duration(namesTTL),
				Endpoint: &dns.DnsTable_DnsEndpoint{EndpointConfig: &dns.DnsTable_DnsEndpoint_AddressList{
					AddressList: &dns.DnsTable_AddressList{Address: addresses},
				}},
			})
		}
	}
	switch {
	case svc.Resolution == model.ResolveAlias || svc.DualStack:
	case svc.Resolution == model.ResolveHeadless:
		all, named := in.pods()
		add(all)
		for _, host := range named {
			add(host.addresses, host.name)
		}
	default:
		add(singles(svc.Addresses))
	}
	if len(table.VirtualDomains) == 0 {
		return nil
	}
	return message.Resource(wire.TypeNames, svc.Host, table)
}

// forms are the names by which the search path of a pod may ask for a service: the last ones are meant by those who ask without it.
func (in names) forms() []string {
	out := []string{in.service.Host}
	base, ok := strings.CutSuffix(in.service.Host, ".svc."+in.domain)
	if in.service.Entry || !ok {
		return out
	}
	if out = append(out, base+".svc", base); in.local {
		out = append(out, in.service.Name)
	}
	return out
}

// podName is a pod's own name below a headless service's.
type podName struct {
	name      string
	addresses []string
}

// pods are the addresses of a headless service's pods that take traffic: all, and those of each pod that has a name.
func (in names) pods() (all []string, named []podName) {
	for set := range in.sets.All {
		for _, e := range set.Endpoints {
			_, err := netip.ParseAddr(e.Address)
			if err != nil || e.Health != model.Healthy && !in.service.PublishNotReady || slices.Contains(all, e.Address) {
				continue
			}
			all = append(all, e.Address)
			if e.Hostname == "" {
				continue
			}
			i := slices.IndexFunc(named, func(p podName) bool { return p.name == e.Hostname })
			if i < 0 {
				i, named = len(named), append(named, podName{name: e.Hostname})
			}
			named[i].addresses = append(named[i].addresses, e.Address)
		}
	}
	return all, named
}

// singles are the addresses that are not blocks.
func singles(addresses []string) []string {
	var out []string
	for _, a := range addresses {
		if !naming.IsBlock(a) {
			out = append(out, naming.Address(a))
		}
	}
	return out
}
