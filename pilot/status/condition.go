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

// merge puts the condition of an entry among those of an object, and reports whether the object changed. The list is atomic to the API
// server, so that others' conditions are carried over.
func merge(u *unstructured.Unstructured, e *report.Entry, now time.Time) (bool, error) {
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
