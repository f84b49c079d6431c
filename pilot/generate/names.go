package generate

import (
	"github.com/heddle-mesh/heddle/pilot/generate/nametable"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

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
		in := nametable.Names{Service: s.Service, Domain: b.ix.mesh.ClusterDomain, Local: s.Namespace == b.scope.Namespace}
		if s.Resolution == model.ResolveHeadless {
			var sets []*model.EndpointSet
			for i := range s.Ports {
				if set := b.ix.set(s.Service, s.Ports[i].Number); set != nil {
					sets = append(sets, set)
				}
			}
			in.Sets = b.m.sets.Of(sets)
		}
		if r := b.m.names.Get(in, nametable.Make); r != nil {
			b.set.add(r)
		}
	}
}
