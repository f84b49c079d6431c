package replica

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// page is how many objects one answer of the cluster holds at most.
const page = 500

// AddRunning adds to in what runs in a cluster: pods, nodes and the endpoints of Services. What could not be listed is in the error, one for each kind
// (errors.Join), and keeps it from no other.
func AddRunning(ctx context.Context, kube kubernetes.Interface, in *inputs.Inputs) error {
	var failed []error
	for _, list := range []func(metav1.ListOptions) (string, error){
		func(o metav1.ListOptions) (string, error) {
			got, err := kube.CoreV1().Pods("").List(ctx, o)
			if err != nil {
				return "", fmt.Errorf("listing pods: %w", err)
			}
			in.Pods = append(in.Pods, pointers(got.Items)...)
			return got.Continue, nil
		},
		func(o metav1.ListOptions) (string, error) {
			got, err := kube.CoreV1().Nodes().List(ctx, o)
			if err != nil {
				return "", fmt.Errorf("listing nodes: %w", err)
			}
			in.Nodes = append(in.Nodes, pointers[corev1.Node](got.Items)...)
			return got.Continue, nil
		},
		func(o metav1.ListOptions) (string, error) {
			got, err := kube.DiscoveryV1().EndpointSlices("").List(ctx, o)
			if err != nil {
				return "", fmt.Errorf("listing endpoint slices: %w", err)
			}
			in.EndpointSlices = append(in.EndpointSlices, pointers[discoveryv1.EndpointSlice](got.Items)...)
			return got.Continue, nil
		},
	} {
		for more := ""; ; {
			var err error
			if more, err = list(metav1.ListOptions{Limit: page, Continue: more}); err != nil {
				failed = append(failed, err)
			}
			if more == "" {
				break
			}
		}
	}
	return errors.Join(failed...)
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}
