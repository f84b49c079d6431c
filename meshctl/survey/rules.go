package survey

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// destinations tells of destinations that leave open which of several ports is meant.
func (s *survey) destinations() {
	for _, o := range s.in.VirtualServices {
		judge := func(path string, d *networking.Destination) {
			host := values.Host(d.GetHost(), o.Namespace, s.snap.Mesh.ClusterDomain)
			svc := s.services[host]
			if svc == nil || len(svc.Ports) < 2 || d.GetPort().GetNumber() != 0 {
				return
			}
			var ports []string
			for _, p := range svc.Ports {
				ports = append(ports, strconv.Itoa(int(p.Number)))
			}
			s.tell(about("VirtualService", nameOf(o)), report.PortNeeded, path+".port",
				"%s has ports %s: without one, that of the listener is meant, and it cannot be reached (503) by another", host, strings.Join(ports, ", "))
		}
		for i, h := range o.Spec.Http {
			for j, d := range h.Route {
				judge(fmt.Sprintf("spec.http[%d].route[%d].destination", i, j), d.GetDestination())
			}
			judge(fmt.Sprintf("spec.http[%d].mirror", i), h.Mirror)
			for j, m := range h.Mirrors {
				judge(fmt.Sprintf("spec.http[%d].mirrors[%d].destination", i, j), m.GetDestination())
			}
		}
		for i, r := range o.Spec.Tls {
			for j, d := range r.Route {
				judge(fmt.Sprintf("spec.tls[%d].route[%d].destination", i, j), d.GetDestination())
			}
		}
		for i, r := range o.Spec.Tcp {
			for j, d := range r.Route {
				judge(fmt.Sprintf("spec.tcp[%d].route[%d].destination", i, j), d.GetDestination())
			}
		}
	}
}

// sidecars tells of Sidecars for pods that an older one selects, too. Where the older selects all of them, translation says so.
func (s *survey) sidecars() {
	type pair struct{ younger, older model.Name }
	said := map[pair]bool{}
	for _, p := range s.in.Pods {
		var first *model.Sidecar
		for _, o := range s.snap.Sidecars { // the oldest first
			if o.From.Namespace != p.Namespace || o.Selector == nil || !o.Selector.Matches(s.workload(p).Labels) {
				continue
			}
			if first == nil {
				first = o
				continue
			}
			if at := (pair{o.From, first.From}); !said[at] && !first.Selector.Matches(map[string]string(o.Selector)) {
				said[at] = true
				s.tell(about("Sidecar", o.From), report.SharedSidecarLabels, "spec.workloadSelector", "not for pod %s: %s is older and selects it, too", p.Name, first.From)
			}
		}
	}
}

// subsets tells of subsets that nothing is in.
func (s *survey) subsets() {
	for _, o := range s.in.DestinationRules {
		svc := s.services[values.Host(o.Spec.Host, o.Namespace, s.snap.Mesh.ClusterDomain)]
		if svc == nil || svc.Resolution != model.ResolveEndpoints && svc.Resolution != model.ResolveHeadless {
			continue
		}
		var all []*model.Endpoint
		for _, p := range svc.Ports {
			if set := s.endpoints.Sets[model.EndpointKey{Host: svc.Host, Namespace: svc.Namespace, Port: p.Number}]; set != nil {
				all = append(all, set.Endpoints...)
			}
		}
		if s.unknown(svc) || len(all) == 0 && len(s.in.Pods) == 0 {
			continue // nobody knows
		}
		for i, subset := range o.Spec.Subsets {
			if svc.Selector != nil && s.unplaced(subset.Labels) {
				continue
			}
			in := func(e *model.Endpoint) bool { return model.Selector(subset.Labels).Matches(e.Labels) }
			if len(subset.Labels) > 0 && !slices.ContainsFunc(all, in) {
				s.tell(about("DestinationRule", nameOf(o)), report.EmptySubset, fmt.Sprintf("spec.subsets[%d].labels", i), "no endpoint of %s has these labels", svc.Host)
			}
		}
	}
}

// unknown reports whether nothing can be said of a Service's endpoints: their labels are pods', and either may be what nobody could look at.
func (s *survey) unknown(svc *model.Service) bool {
	return !svc.Entry && (len(s.in.Pods) == 0 || len(s.in.EndpointSlices) == 0)
}
