package webhook

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// patch is the way from raw, as the API server sent it, to after. Before is what we understood of raw: what we did not, being of a
// newer Kubernetes than this build knows, stays.
func patch(raw []byte, before, after *corev1.Pod) (admission.Response, error) {
	var sent, known, want map[string]any
	if err := json.Unmarshal(raw, &sent); err != nil {
		return admission.Response{}, fmt.Errorf("reading the pod: %w", err)
	}
	if err := generic(before, &known); err != nil {
		return admission.Response{}, err
	}
	if err := generic(after, &want); err != nil {
		return admission.Response{}, err
	}
	keepUnknown(sent, known, want)
	current, err := json.Marshal(want)
	if err != nil {
		return admission.Response{}, fmt.Errorf("writing the injected pod: %w", err)
	}
	return admission.PatchResponseFromRaw(raw, current), nil
}

func generic(pod *corev1.Pod, into *map[string]any) error {
	text, err := json.Marshal(pod)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("converting the pod: %w", err)
	}
	return nil
}

// keepUnknown copies into want the fields of sent that known lacks, at any depth. Elements of lists are the same where their names
// are.
func keepUnknown(sent, known, want map[string]any) {
	for key, value := range sent {
		understood, ok := known[key]
		if !ok {
			if _, taken := want[key]; !taken {
				want[key] = value
			}
			continue
		}
		switch value := value.(type) {
		case map[string]any:
			k, okK := understood.(map[string]any)
			w, okW := want[key].(map[string]any)
			if okK && okW {
				keepUnknown(value, k, w)
			}
		case []any:
			keepUnknownItems(value, understood, want[key])
		}
	}
}

func keepUnknownItems(sent []any, known, want any) {
	knownByName, wantByName := byName(known), byName(want)
	for name, item := range byName(sent) {
		if k, w := knownByName[name], wantByName[name]; k != nil && w != nil {
			keepUnknown(item, k, w)
		}
	}
}

func byName(list any) map[string]map[string]any {
	items, _ := list.([]any)
	out := make(map[string]map[string]any, len(items))
	for _, item := range items {
		object, _ := item.(map[string]any)
		if name, ok := object["name"].(string); ok {
			out[name] = object
		}
	}
	return out
}
