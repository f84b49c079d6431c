// Package survey says what is probably wrong with the things that a mesh's rules meet: namespaces, pods, Services, Secrets, and what rules mean for the pods
// that there are. It is for `meshctl analyze` only, since what runs changes all the time: no object is refused for it, and no status tells of it. It asks its
// sources, and nobody else.
package survey

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate"
	"github.com/heddle-mesh/heddle/pilot/translate/core"
)

// Found is one thing to say about one object.
type Found struct {
	Ref report.Ref
	report.Issue
}

// Secrets looks a Secret up. Nil and true: there is none. False: nobody knows.
type Secrets func(namespace, name string) (secret *corev1.Secret, known bool)

// Listening says which addresses programs of a pod listen on; false: nobody knows.
type Listening func(p *corev1.Pod) (addresses []netip.AddrPort, known bool)

// Sources are where more is known than objects say. Each may be nil.
type Sources struct {
	Secrets   Secrets
	Listening Listening
	Injection *inject.Params // of the installation; nil: its defaults
}

// Params are by what pods are given proxies.
func (s Sources) Params() inject.Params {
	if s.Injection == nil {
		return replica.Defaults()
	}
	return *s.Injection
}

// survey is one look at everything.
type survey struct {
	in        *inputs.Inputs
	snap      *model.Snapshot
	endpoints *model.EndpointIndex
	workloads *model.WorkloadIndex
	services  map[string]*model.Service // the first of each host
	from      Sources
	found     []Found
}

// Look looks at everything. Without pods nothing is said of what rules mean for them.
func Look(in *inputs.Inputs, snap *model.Snapshot, from Sources) []Found {
	s := &survey{in: in, snap: snap, services: map[string]*model.Service{}, from: from}
	s.endpoints, s.workloads = translate.Endpoints(in, nil)
	for _, svc := range snap.Services {
		if s.services[svc.Host] == nil {
			s.services[svc.Host] = svc
		}
	}
	s.namespaces()
	s.pods()
	s.ports()
	s.destinations()
	s.gateways()
	s.ingresses()
	s.sidecars()
	s.subsets()
	s.localhost()
	return s.found
}

// tell adds a warning.
func (s *survey) tell(ref report.Ref, code report.Code, path, format string, args ...any) {
	s.found = append(s.found, Found{ref, report.Issue{Severity: report.Warning, Code: code, Path: path, Reason: fmt.Sprintf(format, args...)}})
}

func about(kind string, n model.Name) report.Ref {
	return report.Ref{Kind: kind, Namespace: n.Namespace, Name: n.Name}
}

// apart reports whether a namespace is no mesh's: the cluster's own, and the control plane's.
func (s *survey) apart(namespace string) bool {
	return namespace == s.in.Mesh.Namespace || namespace == s.snap.Mesh.RootNamespace || namespace == wire.SystemNamespace ||
		slices.Contains(inject.DefaultIgnoredNamespaces(), namespace)
}

// enrolments are the labels by which namespaces enrol, and those by which they choose a revision: Heddle's, and Istio's.
func enrolments() [][2]string {
	return [][2]string{{wire.InjectionLabel, wire.RevisionLabel}, {"istio-injection", "istio.io/rev"}}
}

func (s *survey) namespaces() {
	for _, n := range s.in.Namespaces {
		if s.apart(n.Name) {
			continue
		}
		ref, said := report.Ref{Kind: "Namespace", Name: n.Name}, false
		for _, pair := range enrolments() {
			said = said || n.Labels[pair[0]] != "" || n.Labels[pair[1]] != ""
			if n.Labels[pair[0]] != "" && n.Labels[pair[1]] != "" {
				s.tell(ref, report.TwoInjectionLabels, "metadata.labels", "%s comes before %s, which says nothing beside it: one of them is enough", pair[0], pair[1])
			}
		}
		if !said {
			s.tell(ref, report.NotInjected, "metadata.labels", "its pods are given no proxy: it has no label %s=enabled; with %s=disabled nothing is said of it", wire.InjectionLabel, wire.InjectionLabel)
		}
	}
}

// pods tells of those that run without a proxy.
func (s *survey) pods() {
	for _, p := range s.in.Pods {
		if core.Ended(p) || p.DeletionTimestamp != nil {
			continue
		}
		r, err := inject.Inject(inject.Request{Pod: p, Namespace: p.Namespace, NamespaceLabels: replica.NamespaceLabels(s.in, p.Namespace)}, s.from.Params())
		if err == nil && r.Injected {
			s.tell(about("Pod", nameOf(p)), report.MissingProxy, "", "it runs without a proxy although it is to have one, since %s: create it anew", r.Reason)
		}
	}
}

func nameOf(o interface {
	GetNamespace() string
	GetName() string
}) model.Name {
	return model.Name{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// ports tells of ports of Services that declare no protocol.
func (s *survey) ports() {
	for _, o := range s.in.Services {
		if s.apart(o.Namespace) || o.Namespace == "default" && o.Name == "kubernetes" {
			continue
		}
		for i, p := range o.Spec.Ports {
			if p.Protocol != "" && p.Protocol != corev1.ProtocolTCP || core.PortProtocol(p.AppProtocol, p.Name, p.Port) != model.Unknown {
				continue
			}
			path := fmt.Sprintf("spec.ports[%d].name", i)
			if o.Spec.Type == corev1.ServiceTypeExternalName {
				s.tell(about("Service", nameOf(o)), report.AliasPortName, path, "%q declares no protocol for port %d: rules for HTTP reach only what is declared as such", p.Name, p.Port)
			} else {
				s.tell(about("Service", nameOf(o)), report.PortName, path, "%q declares no protocol for port %d: it is found out by what clients send first", p.Name, p.Port)
			}
		}
	}
}

// workload is what translation makes of a pod.
func (s *survey) workload(p *corev1.Pod) *model.Workload { return s.workloads.ByName[nameOf(p)] }

// unplaced reports whether labels are of where pods run, and nobody knows that of some: files seldom say it.
func (s *survey) unplaced(labels map[string]string) bool {
	for _, key := range []string{model.LabelRegion, model.LabelZone, model.LabelSubzone, model.LabelHostname} {
		if _, asked := labels[key]; asked {
			nowhere := func(p *corev1.Pod) bool { return p.Spec.NodeName == "" }
			return len(s.in.Nodes) == 0 || slices.ContainsFunc(s.in.Pods, nowhere)
		}
	}
	return false
}
