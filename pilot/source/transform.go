package source

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// ByObject is what the process's one informer cache must know about the kinds that a Source reads: transforms that drop what nobody
// reads, and that turn Istio's objects into inputs.Config as they arrive. Those kinds cannot be read from the cache in any
// other way.
func ByObject() map[client.Object]cache.ByObject {
	out := map[client.Object]cache.ByObject{
		&corev1.Namespace{}:          {Transform: slim(slimNamespace)},
		&corev1.Service{}:            {Transform: slim(slimService)},
		&corev1.Pod{}:                {Transform: slim(slimPod)},
		&corev1.Node{}:               {Transform: slim(slimNode)},
		&discoveryv1.EndpointSlice{}: {Transform: slim(func(*discoveryv1.EndpointSlice) {})},
	}
	for _, k := range inputs.Kinds() {
		out[prototype(k)] = cache.ByObject{Transform: read}
	}
	return out
}

// prototype names a kind to the cache: whole objects where the kind is implemented, otherwise only their metadata.
func prototype(k inputs.Kind) client.Object {
	gvk := schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind}
	if !k.Implemented {
		p := &metav1.PartialObjectMetadata{}
		p.SetGroupVersionKind(gvk)
		return p
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(gvk)
	return u
}

// read turns an object of the API server's into an inputs.Object. It lets pass what it has read already.
func read(obj any) (any, error) {
	switch obj.(type) {
	case inputs.Object:
		return obj, nil
	case *unstructured.Unstructured, *metav1.PartialObjectMetadata:
	default:
		return obj, nil
	}
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("reading object: %w", err)
	}
	o, err := inputs.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("reading object: %w", err)
	}
	return o, nil
}

// slim makes a transform of a function that drops what nobody reads from an object that nobody else has seen yet.
func slim[T any, P interface {
	*T
	metav1.Object
}](drop func(P)) toolscache.TransformFunc {
	return func(obj any) (any, error) {
		if o, ok := obj.(P); ok {
			o.SetManagedFields(nil)
			if a := o.GetAnnotations(); a[corev1.LastAppliedConfigAnnotation] != "" {
				delete(a, corev1.LastAppliedConfigAnnotation)
				o.SetAnnotations(a)
			}
			drop(o)
		}
		return obj, nil
	}
}

func slimNamespace(n *corev1.Namespace) { n.Spec = corev1.NamespaceSpec{} }

func slimService(s *corev1.Service) { s.Status.Conditions = nil }

func slimNode(n *corev1.Node) {
	n.Spec = corev1.NodeSpec{}
	n.Status = corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: n.Status.NodeInfo.KubeletVersion}}
	n.Annotations = nil
}

// slimPod keeps what identity, endpoints, inbound ports and the end of a Job are read from.
func slimPod(p *corev1.Pod) {
	p.Spec = corev1.PodSpec{
		ServiceAccountName: p.Spec.ServiceAccountName,
		NodeName:           p.Spec.NodeName,
		HostNetwork:        p.Spec.HostNetwork,
		RestartPolicy:      p.Spec.RestartPolicy,
		InitContainers:     slimContainers(p.Spec.InitContainers),
		Containers:         slimContainers(p.Spec.Containers),
	}
	p.Status = corev1.PodStatus{
		Phase:                 p.Status.Phase,
		PodIP:                 p.Status.PodIP,
		PodIPs:                p.Status.PodIPs,
		HostIP:                p.Status.HostIP,
		Conditions:            readiness(p.Status.Conditions),
		InitContainerStatuses: slimStatuses(p.Status.InitContainerStatuses),
		ContainerStatuses:     slimStatuses(p.Status.ContainerStatuses),
	}
}

func slimContainers(all []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, 0, len(all))
	for _, c := range all {
		out = append(out, corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports, RestartPolicy: c.RestartPolicy})
	}
	return out
}

func readiness(all []corev1.PodCondition) []corev1.PodCondition {
	var out []corev1.PodCondition
	for _, c := range all {
		if c.Type == corev1.PodReady {
			out = append(out, corev1.PodCondition{Type: c.Type, Status: c.Status})
		}
	}
	return out
}

func slimStatuses(all []corev1.ContainerStatus) []corev1.ContainerStatus {
	out := make([]corev1.ContainerStatus, 0, len(all))
	for _, c := range all {
		out = append(out, corev1.ContainerStatus{Name: c.Name, State: c.State, Ready: c.Ready, Started: c.Started, RestartCount: c.RestartCount})
	}
	return out
}
