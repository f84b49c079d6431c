package translate

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/translate/mesh"
)

// discovered is the inputs without what is in namespaces that the mesh's discoverySelectors leave out, and the namespaces that they do not; nil: all.
// Policies of security stay, since a proxy there would be open without them, and so do the namespaces of the control plane and of the whole mesh's
// settings.
func discovered(in *inputs.Inputs) (*inputs.Inputs, map[string]bool) {
	selectors, err := mesh.Selectors(in.Mesh.Config)
	if err != nil || len(selectors) == 0 {
		return in, nil
	}
	seen := map[string]bool{in.Mesh.Namespace: true, in.Mesh.Config.GetRootNamespace(): true, "": true}
	for _, n := range in.Namespaces {
		for _, s := range selectors {
			seen[n.Name] = seen[n.Name] || s.Matches(labels.Set(n.Labels))
		}
	}
	out := *in
	out.Services = keep(in.Services, seen)
	out.VirtualServices = keep(in.VirtualServices, seen)
	out.DestinationRules = keep(in.DestinationRules, seen)
	out.Gateways = keep(in.Gateways, seen)
	out.ServiceEntries = keep(in.ServiceEntries, seen)
	out.WorkloadEntries = keep(in.WorkloadEntries, seen)
	out.WorkloadGroups = keep(in.WorkloadGroups, seen)
	out.Sidecars = keep(in.Sidecars, seen)
	out.Telemetries = keep(in.Telemetries, seen)
	out.ProxyConfigs = keep(in.ProxyConfigs, seen)
	out.Ingresses = keep(in.Ingresses, seen)
	out.Unimplemented = keep(in.Unimplemented, seen)
	return &out, seen
}

// keep returns the objects of namespaces that are seen.
func keep[O metav1.Object](all []O, seen map[string]bool) []O {
	var out []O
	for _, o := range all {
		if seen[o.GetNamespace()] {
			out = append(out, o)
		}
	}
	return out
}
