package registry

import (
	"fmt"
	"slices"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// terms are what ServiceEntries of one host and namespace agree on that are one service, as in Istio; and the identities that they allow.
func terms(o *inputs.ServiceEntry, spec *networking.ServiceEntry, base *model.Service) string {
	return fmt.Sprintf("%d %v %q %q %q", base.Resolution, base.Export, o.Labels, spec.GetWorkloadSelector().GetLabels(), base.SANs)
}

// Join adds to a ServiceEntry's host the ports, endpoints and addresses of a younger entry of the same Terms. All else is the older one's.
func Join(older, younger *model.Service) *model.Service {
	out := *older
	out.Ports = slices.Clone(older.Ports)
	fits := true
	for _, p := range younger.Ports {
		own := older.Port(p.Number)
		if own == nil {
			out.Ports = append(out.Ports, p)
		}
		fits = fits && (own == nil || own.Name == p.Name && own.Protocol == p.Protocol)
	}
	if len(older.DNSEndpoints)+len(younger.DNSEndpoints) > 0 {
		out.DNSEndpoints = make(map[uint16][]*model.Endpoint, len(out.Ports))
		for _, p := range out.Ports {
			out.DNSEndpoints[p.Number] = joinLookedUp(out.Resolution, lookedUp(older, p), lookedUp(younger, p))
		}
	}
	if fits {
		out.Joined = append(slices.Clip(older.Joined), younger.From)
	}
	joinAddresses(&out, younger)
	return &out
}

// joinAddresses adds the addresses of a younger entry that are not there yet. A host without any stays one without, which is reached at whatever address
// its name has; where it was given some, the younger's are beside these.
func joinAddresses(out, younger *model.Service) {
	switch {
	case len(out.Addresses) > 0:
		out.Addresses = union(out.Addresses, younger.Addresses)
	case len(out.Allocated) > 0:
		out.Allocated = union(out.Allocated, younger.Addresses)
	}
}

// union is a, and what b has beside it.
func union(a, b []string) []string {
	out := slices.Clip(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// lookup is a port that several services of one host and namespace may have; of services whose resolution or identities differ, none is the same.
type lookup struct {
	how        model.Resolution
	sans, name string
	number     uint16
}

func lookupOf(svc *model.Service, p model.ServicePort) lookup {
	return lookup{svc.Resolution, fmt.Sprintf("%q", svc.SANs), p.Name, p.Number}
}

// joinLookups lets services of one host and namespace, the oldest first, look up for each of their ports what all of them do. Others stay as they are.
func joinLookups(services []*model.Service) []*model.Service {
	all := map[lookup][]*model.Endpoint{}
	for _, svc := range services {
		for _, p := range svc.Ports {
			k := lookupOf(svc, p)
			all[k] = joinLookedUp(svc.Resolution, all[k], lookedUp(svc, p))
		}
	}
	out := slices.Clone(services)
	for i, svc := range services {
		more := func(p model.ServicePort) bool { return len(all[lookupOf(svc, p)]) > len(lookedUp(svc, p)) }
		if svc.Resolution.LookedUp() && slices.ContainsFunc(svc.Ports, more) {
			joined := *svc
			joined.DNSEndpoints = make(map[uint16][]*model.Endpoint, len(svc.Ports))
			for _, p := range svc.Ports {
				joined.DNSEndpoints[p.Number] = all[lookupOf(svc, p)]
			}
			out[i] = &joined
		}
	}
	return out
}

// lookedUp is what is looked up for a port; nil: the service does not have it.
func lookedUp(svc *model.Service, p model.ServicePort) []*model.Endpoint {
	own := svc.Port(p.Number)
	if own == nil || own.Name != p.Name {
		return nil
	}
	if len(svc.DNSEndpoints) > 0 {
		return svc.DNSEndpoints[p.Number]
	}
	return []*model.Endpoint{{Address: svc.Host, Port: own.Target}}
}

// joinLookedUp puts what is looked up together, each once; DNS_ROUND_ROBIN has one name only.
func joinLookedUp(how model.Resolution, a, b []*model.Endpoint) []*model.Endpoint {
	out := slices.Clip(a)
	for _, e := range b {
		same := func(o *model.Endpoint) bool { return o.Address == e.Address && o.Port == e.Port }
		if !slices.ContainsFunc(out, same) && (len(out) == 0 || how == model.ResolveDNS) {
			out = append(out, e)
		}
	}
	return out
}
