package translate

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// How Istio's control plane is recognised, and what it counts as its own.
const (
	istiodApp      = "istiod" // label app of its Service
	istioRevision  = "istio.io/rev"
	istioInjection = "istio-injection"
	istioDataplane = "istio.io/dataplane-mode"
)

// beside finds out from all Services of the cluster whether Istio's control plane runs there too, and which namespaces it serves.
func (r *run) beside(services []*corev1.Service) {
	istiods := map[string]bool{}
	for _, s := range services {
		if s.Labels["app"] == istiodApp {
			istiods[s.Namespace] = true
		}
	}
	r.snap.BesideIstio = len(istiods) > 0
	if !r.snap.BesideIstio {
		return
	}
	r.istios = istiods
	for _, n := range r.in.Namespaces {
		r.istios[n.Name] = (istiods[n.Name] || enrolledWithIstio(n) || n.Labels[istioDataplane] == "ambient") && !r.serves(n)
	}
}

// enrolledWithIstio reports whether Istio's labels have a namespace's pods injected, by whatever revision.
func enrolledWithIstio(n *corev1.Namespace) bool {
	said := n.Labels[istioInjection]
	return said == "enabled" || said == "" && n.Labels[istioRevision] != ""
}

// serves reports whether a namespace is enrolled with Heddle, with whatever revision.
func (r *run) serves(n *corev1.Namespace) bool {
	said, of := n.Labels[wire.InjectionLabel], n.Labels[wire.RevisionLabel]
	return said == "enabled" || said == "" && (of != "" || r.in.Mesh.IstioLabels && enrolledWithIstio(n))
}

// istiosOwn marks the entry of an object that is Istio's: one for a revision of it, or of a namespace where it runs, or that it serves, and Heddle does
// not. Where Istio's labels count as Heddle's, revisions are Heddle's too.
func (r *run) istiosOwn(o inputs.Object, e *report.Entry) *report.Entry {
	revision := o.GetLabels()[istioRevision] != "" && !r.in.Mesh.IstioLabels
	if !r.snap.BesideIstio || !revision && !r.istios[o.GetNamespace()] {
		return e
	}
	out := *e
	out.Foreign = true
	return &out
}
