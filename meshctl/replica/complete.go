package replica

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Where made-up addresses begin.
const (
	firstPod     = "10.244.0.1"
	firstService = "10.96.0.1"
)

// completion makes up what files leave to a cluster.
type completion struct {
	in       *inputs.Inputs
	params   inject.Params
	taken    map[netip.Addr]bool
	pod, svc netip.Addr // the last addresses given
}

// complete makes up what files leave to a cluster: namespaces that no file has (enrolled: heddle-injection=enabled), one pod for each owner
// of which no pod is there, proxies where the injector would put them, addresses, and endpoints.
func complete(in *inputs.Inputs, owners []owner, p inject.Params) error {
	c := &completion{in: in, params: p, taken: map[netip.Addr]bool{}, pod: netip.MustParseAddr(firstPod), svc: netip.MustParseAddr(firstService)}
	for _, o := range owners {
		c.owned(o)
	}
	c.namespaces()
	for _, p := range in.Pods {
		c.take(p.Status.PodIP)
	}
	for _, s := range in.Services {
		c.take(s.Spec.ClusterIP)
	}
	for i, p := range in.Pods {
		made, err := c.started(p)
		if err != nil {
			return err
		}
		in.Pods[i] = made
	}
	for i, s := range in.Services {
		in.Services[i] = c.service(s)
	}
	return nil
}

// owned makes a pod that stands for all of an owner.
func (c *completion) owned(o owner) {
	t := o.template()
	if o.Spec.Replicas != nil && *o.Spec.Replicas == 0 || slices.ContainsFunc(c.in.Pods, func(p *corev1.Pod) bool {
		return p.Namespace == o.Namespace && len(t.Labels) > 0 && model.Selector(t.Labels).Matches(p.Labels)
	}) {
		return
	}
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: *t.ObjectMeta.DeepCopy(), Spec: *t.Spec.DeepCopy()}
	p.Namespace, p.Name = o.Namespace, o.Name
	c.in.Pods = append(c.in.Pods, p)
}

// namespaces adds those that objects are in and no file has.
func (c *completion) namespaces() {
	known := map[string]bool{}
	for _, n := range c.in.Namespaces {
		known[n.Name] = true
	}
	for _, p := range c.in.Pods {
		if !known[p.Namespace] {
			known[p.Namespace] = true
			c.in.Namespaces = append(c.in.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
				Name: p.Namespace, Labels: map[string]string{wire.InjectionLabel: "enabled"},
			}})
		}
	}
}

// started is a pod as it runs: injected, with an address, and ready. One that has a status keeps it.
func (c *completion) started(p *corev1.Pod) (*corev1.Pod, error) {
	if p.Status.Phase != "" {
		return p, nil
	}
	out := p.DeepCopy()
	if roleOf(p) == NoProxy {
		r, err := inject.Inject(inject.Request{Pod: p, Namespace: p.Namespace, NamespaceLabels: NamespaceLabels(c.in, p.Namespace)}, c.params)
		if err != nil {
			return nil, fmt.Errorf("pod %s/%s: %w", p.Namespace, p.Name, err)
		}
		out = r.Pod.DeepCopy()
	}
	if out.UID == "" {
		out.UID = "made-up"
	}
	out.Status.Phase = corev1.PodRunning
	if out.Status.PodIP == "" {
		out.Status.PodIP = c.next(&c.pod)
	}
	if len(out.Status.PodIPs) == 0 {
		out.Status.PodIPs = []corev1.PodIP{{IP: out.Status.PodIP}}
	}
	out.Status.Conditions = append(out.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
	return out, nil
}

// Defaults are the injector's settings where nobody asks an installation.
func Defaults() inject.Params {
	p := inject.DefaultParams("heddle-proxy", "")
	p.HookToken, p.TrustDomain = hookToken, "" // the trust domain is what the mesh's settings say
	return p
}

// Asked are the injector's settings as an installation tells them.
func Asked(p inject.Params) inject.Params {
	standard := Defaults()
	p.HookToken, p.ClusterID, p.ClusterDomain = hookToken, cmp.Or(p.ClusterID, standard.ClusterID), cmp.Or(p.ClusterDomain, standard.ClusterDomain)
	return p
}

// hookToken stands for one that nobody can guess: what is made here never runs.
const hookToken = "none"

// Installed sets what an installation says of the whole mesh beside its settings.
func Installed(in *inputs.Inputs, p inject.Params) {
	mesh := *in.Mesh
	mesh.ClusterID, mesh.ClusterDomain, mesh.TrustDomain, mesh.IstioLabels = p.ClusterID, p.ClusterDomain, p.TrustDomain, p.IstioLabels
	in.Mesh = &mesh
}

// NamespaceLabels are the labels of a namespace; nil: it is not there.
func NamespaceLabels(in *inputs.Inputs, name string) map[string]string {
	for _, n := range in.Namespaces {
		if n.Name == name {
			return n.Labels
		}
	}
	return nil
}

func (c *completion) take(ip string) {
	if a, err := netip.ParseAddr(ip); err == nil {
		c.taken[a] = true
	}
}

// next gives an address that nobody has.
func (c *completion) next(last *netip.Addr) string {
	for c.taken[*last] {
		*last = last.Next()
	}
	c.taken[*last] = true
	return last.String()
}

// service is a Service with an address and endpoints.
func (c *completion) service(s *corev1.Service) *corev1.Service {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return s
	}
	out := s.DeepCopy()
	if out.Spec.ClusterIP == "" {
		out.Spec.ClusterIP = c.next(&c.svc)
	}
	if len(out.Spec.ClusterIPs) == 0 {
		out.Spec.ClusterIPs = []string{out.Spec.ClusterIP}
	}
	if len(s.Spec.Selector) > 0 && !slices.ContainsFunc(c.in.EndpointSlices, func(e *discoveryv1.EndpointSlice) bool {
		return e.Namespace == s.Namespace && e.Labels[discoveryv1.LabelServiceName] == s.Name
	}) {
		c.endpoints(out)
	}
	return out
}

// endpoints makes a slice for each pod that a Service selects, as named ports may differ from pod to pod.
func (c *completion) endpoints(s *corev1.Service) {
	for _, p := range c.in.Pods {
		if p.Namespace != s.Namespace || !model.Selector(s.Spec.Selector).Matches(p.Labels) || p.Status.PodIP == "" {
			continue
		}
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name + "-" + p.Name, Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{{
				Addresses: []string{p.Status.PodIP}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
				TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name},
			}},
		}
		if a, err := netip.ParseAddr(p.Status.PodIP); err == nil && a.Is6() {
			slice.AddressType = discoveryv1.AddressTypeIPv6
		}
		if p.Spec.NodeName != "" {
			slice.Endpoints[0].NodeName = &p.Spec.NodeName
		}
		for _, port := range s.Spec.Ports {
			if number := targetOf(port, p); number != 0 {
				slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: &port.Name, Port: &number, Protocol: protocolOf(port)})
			}
		}
		c.in.EndpointSlices = append(c.in.EndpointSlices, slice)
	}
}

func protocolOf(p corev1.ServicePort) *corev1.Protocol {
	protocol := p.Protocol
	if protocol == "" {
		protocol = corev1.ProtocolTCP
	}
	return &protocol
}

// targetOf is the container port behind a Service's port; 0: the pod has none of that name.
func targetOf(p corev1.ServicePort, pod *corev1.Pod) int32 {
	if p.TargetPort.Type == intstr.String {
		for _, c := range pod.Spec.Containers {
			for _, named := range c.Ports {
				if named.Name == p.TargetPort.StrVal {
					return named.ContainerPort
				}
			}
		}
		return 0
	}
	if p.TargetPort.IntVal != 0 {
		return p.TargetPort.IntVal
	}
	return p.Port
}
