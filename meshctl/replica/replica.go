// Package replica is a mesh in memory: the objects of a cluster or of files, translated, and the configuration of any proxy, generated and
// compiled by the very packages that do so in heddled and heddle-proxy. Whoever asks it how the mesh behaves asks these. It decides
// nothing by itself, opens no connection and changes nothing.
package replica

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// Mesh is a mesh at one moment. One goroutine uses it.
type Mesh struct {
	Inputs    *inputs.Inputs
	Snapshot  *model.Snapshot
	Report    report.Report
	Endpoints *model.EndpointIndex
	Workloads *model.WorkloadIndex
	Index     *generate.Index
	Memo      *generate.Memo
	Injection inject.Params // by which pods are given proxies; Defaults unless somebody asked an installation

	pods    map[model.Name]*Pod
	byIP    map[string]*Pod
	secrets *authority
	proxies map[model.Name]*Proxy
}

// Role is what a pod's proxy is for.
type Role string

// The roles.
const (
	NoProxy Role = "none"
	Sidecar Role = "sidecar"
	Gateway Role = "gateway"
)

// Pod is a workload and how it takes part in the mesh.
type Pod struct {
	*model.Workload
	Object *corev1.Pod
	Role   Role
}

// String is POD.NAMESPACE.
func (p *Pod) String() string { return p.Name.Name + "." + p.Name.Namespace }

// New translates a mesh.
func New(in *inputs.Inputs) (*Mesh, error) {
	m := &Mesh{Inputs: in, Memo: generate.NewMemo(), Injection: Defaults(), pods: map[model.Name]*Pod{}, byIP: map[string]*Pod{}, proxies: map[model.Name]*Proxy{}}
	m.Snapshot, m.Report = translate.Translate(in, nil)
	m.Endpoints, m.Workloads = translate.Endpoints(in, nil)
	m.Index = generate.NewIndex(m.Snapshot, m.Endpoints, nil)
	for _, o := range in.Pods {
		name := model.Name{Namespace: o.Namespace, Name: o.Name}
		if w := m.Workloads.ByName[name]; w != nil {
			m.pods[name] = &Pod{w, o, roleOf(o)}
		}
	}
	for ip, w := range m.Workloads.ByIP {
		m.byIP[ip] = m.pods[w.Name]
	}
	var err error
	m.secrets, err = newAuthority()
	return m, err
}

// roleOf finds the proxy among a pod's containers, or the mark of one that was put there otherwise.
func roleOf(p *corev1.Pod) Role {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		switch {
		case c.Name != wire.ProxyContainer:
		case slices.Contains(c.Args, wire.CommandGateway):
			return Gateway
		default:
			return Sidecar
		}
	}
	if p.Annotations[wire.StatusAnnotation] != "" || p.Labels[wire.TLSModeLabel] == wire.TLSModeMesh {
		return Sidecar
	}
	return NoProxy
}

// At returns the pod that has an address, or nil.
func (m *Mesh) At(ip string) *Pod { return m.byIP[ip] }

// Pods returns every pod, by namespace and name.
func (m *Mesh) Pods() []*Pod {
	return slices.SortedFunc(maps.Values(m.pods), func(a, b *Pod) int {
		return cmp.Or(cmp.Compare(a.Name.Namespace, b.Name.Namespace), cmp.Compare(a.Name.Name, b.Name.Name))
	})
}

// Find returns the pod that a user means: NAME, NAME.NAMESPACE, pod/NAME, or KIND/NAME of what owns it (a pod that runs is preferred).
func (m *Mesh) Find(name, namespace string) (*Pod, error) {
	kind, rest, isKind := strings.Cut(name, "/")
	if !isKind {
		kind, rest = "pod", name
	}
	for _, n := range names(rest, namespace) {
		if kind == "pod" || kind == "pods" {
			if p := m.pods[n]; p != nil {
				return p, nil
			}
			continue
		}
		if p := m.owned(n); p != nil {
			return p, nil
		}
	}
	if isKind {
		return nil, absent("pod of "+kind, rest, namespace)
	}
	return nil, fmt.Errorf("%w; name it as POD.NAMESPACE or deployment/NAME.NAMESPACE", absent("pod", rest, namespace))
}

// absent says where a name was looked for.
func absent(what, name, namespace string) error {
	all := names(name, namespace)
	if len(all) == 1 {
		return fmt.Errorf("there is no %s %s in namespace %s", what, name, namespace)
	}
	return fmt.Errorf("there is neither %s %s in namespace %s nor %s in namespace %s", what, all[1].Name, all[1].Namespace, name, namespace)
}

// names are what a name may stand for: itself in a namespace, or NAME.NAMESPACE.
func names(name, namespace string) []model.Name {
	out := []model.Name{{Namespace: namespace, Name: name}}
	if at := strings.LastIndexByte(name, '.'); at > 0 {
		out = append(out, model.Name{Namespace: name[at+1:], Name: name[:at]})
	}
	return out
}

// owned is a pod of a Deployment or of another owner.
func (m *Mesh) owned(owner model.Name) *Pod {
	var first *Pod
	for _, p := range m.Pods() {
		if p.Name.Namespace != owner.Namespace || p.Facts.Workload != owner.Name {
			continue
		}
		if p.Object.Status.Phase == corev1.PodRunning && p.Object.DeletionTimestamp == nil {
			return p
		}
		if first == nil {
			first = p
		}
	}
	return first
}

// Object names the object of a kind as users do: "VirtualService shop/catalog".
func Object(kind string, n model.Name) string { return kind + " " + n.String() }
