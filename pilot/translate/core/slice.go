package core

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// Address is one address of an EndpointSlice with its state, before it is joined with its pod.
type Address struct {
	IP     string
	Port   uint16
	Health model.Health
	// Pod is the one that the slice names or, without a name, any of its namespace that has the address.
	Pod  model.Name
	Node string
	Zone string
	// Hostname is the pod's own name below the service's.
	Hostname string
}

// OfFamily lists the slices that count: those of the family that the Service prefers or, where these are empty, of its other one. A pod of two families
// is one endpoint, not two.
func OfFamily(s *corev1.Service, from []*discoveryv1.EndpointSlice) []*discoveryv1.EndpointSlice {
	var first, other []*discoveryv1.EndpointSlice
	for _, slice := range from {
		switch {
		case slice.AddressType == discoveryv1.AddressTypeFQDN || len(slice.Endpoints) == 0:
		case len(s.Spec.IPFamilies) == 0 || string(slice.AddressType) == string(s.Spec.IPFamilies[0]):
			first = append(first, slice)
		default:
			other = append(other, slice)
		}
	}
	if len(first) == 0 {
		return other
	}
	return first
}

// SlicePort returns the number of the slice's TCP port that has a Service port's name.
func SlicePort(slice *discoveryv1.EndpointSlice, name string) (uint16, bool) {
	for _, p := range slice.Ports {
		tcp := p.Protocol == nil || *p.Protocol == corev1.ProtocolTCP
		if tcp && p.Port != nil && deref(p.Name) == name {
			return uint16(*p.Port), true
		}
	}
	return 0, false
}

// Addresses lists what a slice holds for a port.
func Addresses(slice *discoveryv1.EndpointSlice, port uint16, publishNotReady bool) []Address {
	out := make([]Address, 0, len(slice.Endpoints))
	for i := range slice.Endpoints {
		e := &slice.Endpoints[i]
		a := Address{Port: port, Health: health(e.Conditions, publishNotReady), Node: deref(e.NodeName), Zone: deref(e.Zone), Hostname: deref(e.Hostname)}
		a.Pod.Namespace = slice.Namespace
		if ref := e.TargetRef; ref != nil && ref.Kind == "Pod" {
			a.Pod = model.Name{Namespace: cmp.Or(ref.Namespace, slice.Namespace), Name: ref.Name}
		}
		if len(e.Addresses) > 0 { // the API gives addresses after the first no meaning
			a.IP = e.Addresses[0]
			out = append(out, a)
		}
	}
	return out
}

// Workload is the pod behind an address, nil where there is none. Of one that the slice names and that is not there yet nothing is known, not even
// whether it is in the mesh.
func (a *Address) Workload(all *model.WorkloadIndex) (w *model.Workload, known bool) {
	if a.Pod.Name != "" {
		w = all.ByName[a.Pod]
		return w, w != nil
	}
	if w = all.ByIP[a.IP]; w != nil && w.Name.Namespace != a.Pod.Namespace {
		w = nil
	}
	return w, true
}

// health reads an endpoint's conditions; what is not said counts as ready. A pod that ends is ready only for a Service that publishes those that are not.
func health(c discoveryv1.EndpointConditions, publishNotReady bool) model.Health {
	terminating := c.Terminating != nil && *c.Terminating
	switch {
	case c.Ready == nil || *c.Ready:
		return model.Healthy
	case terminating && c.Serving != nil && *c.Serving:
		return model.Draining
	case publishNotReady && !terminating:
		return model.Healthy
	}
	return model.Unhealthy
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// PodReady reports whether a pod selected without an EndpointSlice takes traffic.
func PodReady(p *corev1.Pod) model.Health {
	ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	switch {
	case ready && p.DeletionTimestamp != nil:
		return model.Draining
	case ready:
		return model.Healthy
	}
	return model.Unhealthy
}
