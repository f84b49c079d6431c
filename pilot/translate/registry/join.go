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
