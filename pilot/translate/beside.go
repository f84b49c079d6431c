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
	for _, s := range services {
		r.snap.BesideIstio = r.snap.BesideIstio || s.Labels["app"] == istiodApp
	}
	if !r.snap.BesideIstio {
		return
	}
	r.istios = map[string]bool{}
	for _, n := range r.in.Namespaces {
		r.istios[n.Name] = istioServes(n)
	}
}

func istioServes(n *corev1.Namespace) bool {
	enrolled := n.Labels[istioInjection] == "enabled" || n.Labels[istioRevision] != "" || n.Labels[istioDataplane] == "ambient"
	return enrolled && !heddleServes(n)
}

// heddleServes reports whether a namespace is enrolled with Heddle, with whatever revision.
func heddleServes(n *corev1.Namespace) bool {
	said := n.Labels[wire.InjectionLabel]
	return said == "enabled" || said == "" && n.Labels[wire.RevisionLabel] != ""
}

// istiosOwn marks the entry of an object that is Istio's: one for a revision of it, or of a namespace that it serves and Heddle does not.
func (r *run) istiosOwn(o inputs.Object, e *report.Entry) *report.Entry {
	if !r.snap.BesideIstio || o.GetLabels()[istioRevision] == "" && !r.istios[o.GetNamespace()] {
		return e
	}
	out := *e
	out.Foreign = true
	return &out
}
