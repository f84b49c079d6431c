package source

import (
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// sameContent compares what the metadata does not tell. Kubernetes' own kinds here have no generation, Istio's have one in every
// cluster.
func sameContent(a, b any) bool {
	switch a := a.(type) {
	case *corev1.Namespace:
		return true
	case *corev1.Node:
		return true // read for its labels
	case *corev1.Service:
		b, ok := b.(*corev1.Service)
		return ok && reflect.DeepEqual(a.Spec, b.Spec) && reflect.DeepEqual(a.Status.LoadBalancer, b.Status.LoadBalancer)
	case *corev1.Pod:
		b, ok := b.(*corev1.Pod)
		return ok && reflect.DeepEqual(a.Spec, b.Spec) && reflect.DeepEqual(a.Status, b.Status)
	case *discoveryv1.EndpointSlice:
		b, ok := b.(*discoveryv1.EndpointSlice)
		return ok && a.AddressType == b.AddressType && reflect.DeepEqual(a.Ports, b.Ports) && reflect.DeepEqual(a.Endpoints, b.Endpoints)
	case *inputs.ServiceEntry:
		b, ok := b.(*inputs.ServiceEntry)
		return ok && a.GetGeneration() != 0 && slices.Equal(a.Given, b.Given)
	case *inputs.WorkloadEntry:
		b, ok := b.(*inputs.WorkloadEntry)
		return ok && a.GetGeneration() != 0 && a.Unhealthy == b.Unhealthy
	case inputs.Object:
		return a.GetGeneration() != 0
	}
	return false
}
