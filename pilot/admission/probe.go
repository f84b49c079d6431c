package admission

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Webhook is the name in the chart's configuration of what judges Istio's kinds.
const Webhook = "validator.heddle.dev"

// alwaysRefused is an annotation of probes, which nobody may have made in earnest.
const alwaysRefused = "internal.heddle.dev/webhook-always-reject"

// Probe is an object that nothing but this webhook refuses. It is a kind that the control plane may create, in a namespace that every cluster has; it is
// meant for dry runs.
func Probe() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
		"metadata": map[string]any{"name": "heddle-validation-probe", "namespace": "default", "annotations": map[string]any{alwaysRefused: "true"}},
		"spec":     map[string]any{"address": "192.0.2.1"},
	}}
}

// Refused says whether err is what the API server answers where this webhook, and no other, refused.
func Refused(err error) bool {
	return err != nil && strings.Contains(err.Error(), fmt.Sprintf("admission webhook %q denied the request", Webhook))
}
