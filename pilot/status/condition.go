package status

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/heddle-mesh/heddle/pilot/report"
)

// merge puts what an entry says into an object's status, and reports whether that changed.
func merge(u *unstructured.Unstructured, e *report.Entry, now time.Time) (bool, error) {
	conditions, err := mergeCondition(u, e, now)
	if err != nil {
		return false, err
	}
	addresses, err := mergeAddresses(u, e)
	return conditions || addresses, err
}

// mergeAddresses writes down which addresses a ServiceEntry's hosts were given, in the form of Istio's status.addresses.
func mergeAddresses(u *unstructured.Unstructured, e *report.Entry) (bool, error) {
	if e.Ref.Kind != "ServiceEntry" {
		return false, nil
	}
	list, found, err := unstructured.NestedSlice(u.Object, "status", "addresses")
	if err != nil {
		return false, fmt.Errorf("reading addresses: %w", err)
	}
	var want []any
	for _, a := range e.Addresses {
		want = append(want, map[string]any{"host": a.Host, "value": a.Value})
	}
	switch {
	case len(want) == 0 && !found || found && reflect.DeepEqual(list, want):
		return false, nil
	case len(want) == 0:
		unstructured.RemoveNestedField(u.Object, "status", "addresses")
		return true, nil
	}
	if err := unstructured.SetNestedSlice(u.Object, want, "status", "addresses"); err != nil {
		return false, fmt.Errorf("writing addresses: %w", err)
	}
	return true, nil
}

// mergeCondition puts the condition of an entry among those of an object. The list is atomic to the API server, so that others' conditions are
// carried over.
func mergeCondition(u *unstructured.Unstructured, e *report.Entry, now time.Time) (bool, error) {
	list, _, err := unstructured.NestedSlice(u.Object, "status", "conditions")
	if err != nil {
		return false, fmt.Errorf("reading conditions: %w", err)
	}
	want := condition(e, now)
	at := -1
	for i, c := range list {
		if m, ok := c.(map[string]any); ok && m["type"] == Condition {
			at = i
			if m["status"] == want["status"] && m["lastTransitionTime"] != nil {
				want["lastTransitionTime"] = m["lastTransitionTime"]
			}
			if reflect.DeepEqual(m, want) {
				return false, nil
			}
		}
	}
	if at < 0 {
		list = append(list, want)
	} else {
		list[at] = want
	}
	if err := unstructured.SetNestedSlice(u.Object, list, "status", "conditions"); err != nil {
		return false, fmt.Errorf("writing conditions: %w", err)
	}
	if err := unstructured.SetNestedField(u.Object, e.Generation, "status", "observedGeneration"); err != nil {
		return false, fmt.Errorf("writing observedGeneration: %w", err)
	}
	return true, nil
}

// condition is what an entry looks like in a status.
func condition(e *report.Entry, now time.Time) map[string]any {
	out := map[string]any{"type": Condition, "observedGeneration": e.Generation, "lastTransitionTime": now.UTC().Format(time.RFC3339)}
	switch e.State {
	case report.Accepted:
		out["status"], out["reason"] = "True", "Accepted"
	case report.Degraded:
		out["status"], out["reason"] = "True", "PartlyInForce"
	case report.Refused:
		out["status"], out["reason"] = "False", "NotInForce"
	case report.Closed:
		out["status"], out["reason"] = "False", "FailedClosed"
	}
	if text := message(e); text != "" {
		out["message"] = text
	}
	return out
}

// message says what the state means, and why.
func message(e *report.Entry) string {
	var lines []string
	switch e.State {
	case report.Refused:
		lines = append(lines, "not in force")
	case report.Closed:
		lines = append(lines, "not understood, and therefore in force as strictly as it can be meant")
	}
	for _, i := range e.Issues {
		lines = append(lines, i.String())
	}
	text := strings.Join(lines, "\n")
	if len(text) <= maxMessage {
		return text
	}
	cut := maxMessage - len("...")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
