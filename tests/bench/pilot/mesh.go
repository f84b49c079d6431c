package main

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/heddle-mesh/heddle/api/wire"
)

// mesh says which objects there are: services of one HTTP port and two endpoints, pods with a proxy each, in a few namespaces.
type mesh struct {
	size
	namespaces int
	audience
	few int // services that a Sidecar imports, or that each client on demand uses
	// before is how many changes of each kind were made before: a mesh serves one kind of clients after the other.
	before int
}

// servicePort is every service's.
const servicePort = 80

// endpointsEach is how many endpoints a service has: its pods with a proxy first, then addresses without a pod.
const endpointsEach = 2

// changes is how often each kind of change is measured.
const changes = 3

func serviceName(i int) string { return fmt.Sprintf("s%d", i) }

func (m mesh) namespace(i int) string { return fmt.Sprintf("bench-%d", i%m.namespaces) }

func (m mesh) host(i int) string {
	return fmt.Sprintf("%s.%s.svc.%s", serviceName(i), m.namespace(i), wire.DefaultClusterDomain)
}

func (m mesh) cluster(i int) string { return outbound + m.host(i) }

// virtualHost is what clients on demand call a service's host.
func (m mesh) virtualHost(i int) string { return fmt.Sprintf("%d/%s", servicePort, m.host(i)) }

// told is how many services each proxy is told of.
func (m mesh) told() int {
	if m.scoped || m.onDemand {
		return min(m.few, m.services)
	}
	return m.services + m.before
}

// popular is the service that the change of a round is about. All clients are told of it.
func (m mesh) popular(round int) int { return (m.before + round) % m.services }

// used are the services that the client of a pod uses, on demand: those that changes are about, and others that follow from its number.
func (m mesh) used(pod int) []int {
	var out []int
	for round := range min(changes, m.told()) {
		out = append(out, m.popular(round))
	}
	for k := changes; k < m.told(); k++ {
		out = append(out, m.popular(changes+(pod*m.few+k-changes)%(m.services-changes)))
	}
	return out
}

// Addresses of pods, of endpoints that are no pod, and of those that changes bring.
func podIP(j int) string              { return fmt.Sprintf("10.128.%d.%d", j>>8, j&255) }
func strangerIP(i, k int) string      { return fmt.Sprintf("10.%d.%d.%d", 140+k, i>>8, i&255) }
func changedIP(change int) string     { return fmt.Sprintf("10.150.0.%d", 100+change) }
func podName(j int) string            { return fmt.Sprintf("p%d", j) }
func (m mesh) serviceOf(pod int) int  { return pod % m.services }
func (m mesh) accountOf(j int) string { return serviceName(m.serviceOf(j)) }

// service is one that exists from the start (i < services) or comes later.
func (m mesh) service(i int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: serviceName(i), Namespace: m.namespace(i)},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": serviceName(i)},
			Ports: []corev1.ServicePort{{Name: "http", Port: servicePort, TargetPort: intstr.FromInt32(8080)}}},
	}
}

// slice is a service's endpoints; the addresses of more come last.
func (m mesh) slice(i int, more ...string) *discoveryv1.EndpointSlice {
	name, port, ready := "http", int32(8080), true
	out := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: serviceName(i), Namespace: m.namespace(i), Labels: map[string]string{discoveryv1.LabelServiceName: serviceName(i)}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}
	for k := range endpointsEach {
		e := discoveryv1.Endpoint{Addresses: []string{strangerIP(i, k)}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
		if j := i + k*m.services; i < m.services && j < m.proxies {
			node := nodeName(j)
			e.Addresses, e.NodeName = []string{podIP(j)}, &node
			e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: m.namespace(i), Name: podName(j)}
		}
		out.Endpoints = append(out.Endpoints, e)
	}
	for _, address := range more {
		out.Endpoints = append(out.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
	}
	return out
}

// nodes are as many as there are zones.
const nodes = 3

func nodeName(pod int) string { return fmt.Sprintf("node-%d", pod%nodes) }

func node(i int) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName(i), Labels: map[string]string{
		corev1.LabelTopologyRegion: "bench", corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i)}}}
}

// pod holds a proxy, as the injector leaves it.
func (m mesh) pod(j int) *corev1.Pod {
	i, no := m.serviceOf(j), false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: podName(j), Namespace: m.namespace(i),
			Labels:      map[string]string{"app": serviceName(i), wire.TLSModeLabel: wire.TLSModeMesh},
			Annotations: map[string]string{wire.StatusAnnotation: "{}"}},
		Spec: corev1.PodSpec{ServiceAccountName: m.accountOf(j), AutomountServiceAccountToken: &no, NodeName: nodeName(j),
			Containers: []corev1.Container{{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}},
	}
}

// running is the status of a pod that runs.
func running(j int) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodRunning, PodIP: podIP(j), PodIPs: []corev1.PodIP{{IP: podIP(j)}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
}

// nodeID is what a proxy calls itself.
func (m mesh) nodeID(j int) string {
	namespace := m.namespace(m.serviceOf(j))
	return fmt.Sprintf("%s~%s~%s.%s~%s.svc.%s", wire.NodeSidecar, podIP(j), podName(j), namespace, namespace, wire.DefaultClusterDomain)
}

// sidecar imports the services that changes are about and the next, and those that come later.
func (m mesh) sidecar(namespace string) *unstructured.Unstructured {
	var hosts []any
	add := func(i int) { hosts = append(hosts, m.namespace(i)+"/"+m.host(i)) }
	for k := range m.told() {
		add(m.popular(k))
	}
	for round := range changes {
		add(m.later(round))
	}
	return object("networking.istio.io/v1", "Sidecar", namespace, "default", map[string]any{"egress": []any{map[string]any{"hosts": hosts}}})
}

// later is the number of a service that comes in a round.
func (m mesh) later(round int) int { return m.services + m.before + round }

// virtualService says something new of a service; mark is found in what proxies are told.
func (m mesh) virtualService(i int, mark string) *unstructured.Unstructured {
	return object("networking.istio.io/v1", "VirtualService", m.namespace(i), mark, map[string]any{
		"hosts": []any{m.host(i)},
		"http": []any{map[string]any{
			"headers": map[string]any{"request": map[string]any{"set": map[string]any{"x-bench": mark}}},
			"retries": map[string]any{"attempts": int64(3), "retryOn": "5xx"}, "timeout": "5s",
			"route": []any{map[string]any{"destination": map[string]any{"host": m.host(i)}}},
		}},
	})
}

func object(apiVersion, kind, namespace, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"namespace": namespace, "name": name}, "spec": spec,
	}}
}

// fits refuses a mesh whose addresses would run out.
func (m mesh) fits() error {
	last := max(m.services+m.before+changes, m.proxies)
	if _, err := netip.ParseAddr(podIP(last)); err != nil || m.namespaces < 1 {
		return fmt.Errorf("a mesh of %s in %d namespaces has no room for its addresses", m.size, m.namespaces)
	}
	return nil
}
