package status

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/heddle-mesh/heddle/pilot/report"
)

// The types of the conditions that Heddle writes. Others are left as they are.
const (
	Accepted     = "Accepted"     // whether the object is in force
	Conflicted   = "Conflicted"   // whether another object comes before it
	ResolvedRefs = "ResolvedRefs" // whether all that it names is there
	Acknowledged = "Acknowledged" // whether the proxies have its generation; not there for an object that is not in force
)

// verdict is all that there is to say about an object at one moment.
type verdict struct {
	entry   *report.Entry
	missing []report.Issue         // Secrets that cannot be sent
	acked   report.Acknowledgement // of an object in force
	counted bool                   // whether acked is known
}

// inForce reports whether proxies are told of the object.
func (v *verdict) inForce() bool { return v.entry.State != report.Refused }

// judged reports whether two verdicts say the same but for the proxies.
func (v *verdict) judged(o *verdict) bool {
	a, b := v.entry, o.entry
	return (a == b || a.UID == b.UID && a.Generation == b.Generation && a.State == b.State && slices.Equal(a.Issues, b.Issues) && slices.Equal(a.Addresses, b.Addresses)) && slices.Equal(v.missing, o.missing)
}

// settled reports whether nothing more is to be waited for.
func (v *verdict) settled() bool { return !v.inForce() || v.counted && v.acked.Complete() }

// merge puts a verdict into an object's status, and reports whether the object changed.
func merge(u *unstructured.Unstructured, v *verdict, now time.Time) (bool, error) {
	changed, err := mergeConditions(u, v, now)
	if err != nil {
		return false, err
	}
	addresses, err := mergeAddresses(u, v.entry)
	return changed || addresses, err
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

// mergeConditions puts a verdict's conditions among those of an object. The list is atomic to the API server, so that others' conditions are
// carried over.
func mergeConditions(u *unstructured.Unstructured, v *verdict, now time.Time) (bool, error) {
	list, _, err := unstructured.NestedSlice(u.Object, "status", "conditions")
	if err != nil {
		return false, fmt.Errorf("reading conditions: %w", err)
	}
	wanted, merged := conditions(v, now), []any{}
	for _, c := range list {
		m, _ := c.(map[string]any)
		typ, _ := m["type"].(string)
		switch want, ours := wanted[typ], slices.Contains(ownTypes(), typ); {
		case !ours, typ == Acknowledged && v.inForce() && !v.counted: // what was counted stays until somebody counts again
			merged = append(merged, c)
		case want != nil:
			merged = append(merged, succeed(m, want))
			delete(wanted, typ)
		}
	}
	for _, typ := range ownTypes() {
		if want := wanted[typ]; want != nil {
			merged = append(merged, want)
		}
	}
	observed, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	if observed == v.entry.Generation && reflect.DeepEqual(list, merged) {
		return false, nil
	}
	if err := unstructured.SetNestedSlice(u.Object, merged, "status", "conditions"); err != nil {
		return false, fmt.Errorf("writing conditions: %w", err)
	}
	if err := unstructured.SetNestedField(u.Object, v.entry.Generation, "status", "observedGeneration"); err != nil {
		return false, fmt.Errorf("writing observedGeneration: %w", err)
	}
	return true, nil
}

// ownTypes are in the order in which they are written.
func ownTypes() []string { return []string{Accepted, Conflicted, ResolvedRefs, Acknowledged} }

// succeed is what follows on a condition. One that keeps its status keeps its time; and a generation that all proxies had acknowledged
// stays so, whoever connects later, unless a proxy refuses it.
func succeed(old, want map[string]any) map[string]any {
	if old["status"] == want["status"] && old["lastTransitionTime"] != nil {
		want["lastTransitionTime"] = old["lastTransitionTime"]
	}
	if want["type"] == Acknowledged && old["status"] == "True" && want["status"] != "False" && old["observedGeneration"] == want["observedGeneration"] {
		return old
	}
	return want
}

// acknowledgedBy reports whether an object says that all proxies have acknowledged a generation.
func acknowledgedBy(u *unstructured.Unstructured, generation int64) bool {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	return slices.ContainsFunc(list, func(c any) bool {
		m, _ := c.(map[string]any)
		return m["type"] == Acknowledged && m["status"] == "True" && m["observedGeneration"] == generation
	})
}

// conditions are what a verdict looks like in a status, by type.
func conditions(v *verdict, now time.Time) map[string]map[string]any {
	out := map[string]map[string]any{}
	put := func(typ, status, reason, message string) {
		out[typ] = map[string]any{"type": typ, "status": status, "reason": reason, "observedGeneration": v.entry.Generation,
			"lastTransitionTime": now.UTC().Format(time.RFC3339)}
		if message != "" {
			out[typ]["message"] = cut(message, maxMessage)
		}
	}
	status, reason := accepted(v.entry.State)
	put(Accepted, status, reason, acceptedMessage(v.entry))
	if text := about(v.entry.Issues, report.Conflict); text != "" {
		put(Conflicted, "True", "OlderObject", text)
	}
	if text := about(append(slices.Clip(v.entry.Issues), v.missing...), report.Reference); text != "" {
		put(ResolvedRefs, "False", "NotFound", text)
	} else {
		put(ResolvedRefs, "True", "ResolvedRefs", "")
	}
	if v.inForce() && v.counted {
		status, reason, message := acknowledged(v.acked)
		put(Acknowledged, status, reason, message)
	}
	return out
}

func accepted(s report.State) (status, reason string) {
	switch s {
	case report.Degraded:
		return "True", "PartlyInForce"
	case report.Refused:
		return "False", "NotInForce"
	case report.Closed:
		return "False", "FailedClosed"
	}
	return "True", "Accepted"
}

// acceptedMessage says what the state means, and why: whatever leaves a part out, and warnings that have no condition of their own.
func acceptedMessage(e *report.Entry) string {
	var lines []string
	switch e.State {
	case report.Refused:
		lines = append(lines, "not in force")
	case report.Closed:
		lines = append(lines, "not understood, and therefore in force as strictly as it can be meant")
	}
	for _, i := range e.Issues {
		if i.Topic == report.Content || i.Severity != report.Warning {
			lines = append(lines, i.String())
		}
	}
	return strings.Join(lines, "\n")
}

// about joins the issues of a topic.
func about(issues []report.Issue, topic report.Topic) string {
	var lines []string
	for _, i := range issues {
		if i.Topic == topic {
			lines = append(lines, strings.TrimPrefix(i.Path+": "+i.Reason, ": "))
		}
	}
	return strings.Join(lines, "\n")
}

// acknowledged says how far a generation got.
func acknowledged(a report.Acknowledgement) (status, reason, message string) {
	status, reason = "Unknown", "Pending"
	switch {
	case len(a.Refused) > 0:
		status, reason = "False", "Refused"
	case a.Complete():
		status, reason = "True", "Acknowledged"
	}
	if a.Proxies == 0 {
		return status, reason, "no proxy is connected that could acknowledge it; nothing is wrong with it"
	}
	lines := []string{fmt.Sprintf("acknowledged by %d of %d proxies", a.Acked, a.Proxies)}
	for _, r := range a.Refused {
		lines = append(lines, fmt.Sprintf("%s refused what came with it: %s", r.Proxy, r.Reason))
	}
	return status, reason, strings.Join(lines, "\n")
}

// cut bounds a message to so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	at := most - len("...")
	for !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at] + "..."
}
