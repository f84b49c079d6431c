// Package admission is the validating webhook: it asks translate, and refuses at apply time, with path and reason, what the report would
// refuse afterwards. It knows no rule of its own but that a Probe is refused, writes nothing, and never stands in the way of a delete or of an update that
// leaves the spec unchanged.
package admission

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// Path is where the webhook is served.
const Path = "/validate"

// Check judges an object, as translate.Checker does.
type Check func(o inputs.Object) []report.Issue

// New returns the webhook's handler. current returns the judge of the present mesh; it is called for each request.
func New(current func() Check, log *slog.Logger) http.Handler {
	return &admission.Webhook{Handler: &validator{current: current, log: log}}
}

type validator struct {
	current func() Check
	log     *slog.Logger
}

// Handle judges one request.
func (v *validator) Handle(_ context.Context, req admission.Request) admission.Response {
	creates := req.Operation == admissionv1.Create || req.Operation == admissionv1.Update
	if !creates || req.SubResource != "" {
		return admission.Allowed("")
	}
	spec, all := false, false
	if req.Operation == admissionv1.Update {
		if spec, all = unchanged(req.OldObject.Raw, req.Object.Raw); all {
			return admission.Allowed("")
		}
	}
	o, err := inputs.Decode(req.Object.Raw)
	switch {
	case err != nil && spec:
		return admission.Allowed("")
	case err != nil:
		return invalid(err.Error())
	}
	if _, probe := o.GetAnnotations()[alwaysRefused]; probe {
		return invalid("annotation " + alwaysRefused)
	}
	check := v.current()
	issues := judge(check, o, req.Namespace)
	if spec {
		issues = added(check, req, issues)
	}
	var errors, warnings []string
	for _, i := range issues {
		text := strings.TrimPrefix(i.String(), i.Severity.String()+": ")
		if i.Severity == report.Error && (!spec || strings.HasPrefix(i.Path, "metadata.")) {
			errors = append(errors, text)
		} else {
			warnings = append(warnings, name(o)+": "+text)
		}
	}
	if len(errors) > 0 {
		v.log.Info("refused an object", "kind", req.Kind.Kind, "namespace", req.Namespace, "name", req.Name, "user", req.UserInfo.Username, "errors", errors)
		return invalid(name(o) + ": " + strings.Join(errors, "; ")).WithWarnings(warnings...)
	}
	return admission.Allowed("").WithWarnings(warnings...)
}

// judge judges an object of a request for a namespace, which the object itself need not name.
func judge(check Check, o inputs.Object, namespace string) []report.Issue {
	if o.GetNamespace() == "" {
		o.SetNamespace(namespace)
	}
	return check(o)
}

// added keeps those issues that the object before the update did not have.
func added(check Check, req admission.Request, issues []report.Issue) []report.Issue {
	old, err := inputs.Decode(req.OldObject.Raw)
	if err != nil {
		return issues
	}
	before := judge(check, old, req.Namespace)
	return slices.DeleteFunc(slices.Clone(issues), func(i report.Issue) bool { return slices.Contains(before, i) })
}

// name says which object is meant: whoever applies a file of many is told of the file only.
func name(o inputs.Object) string {
	return o.GetObjectKind().GroupVersionKind().Kind + " " + strings.TrimPrefix(o.GetNamespace()+"/"+cmp.Or(o.GetName(), o.GetGenerateName()), "/")
}

func invalid(message string) admission.Response {
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: message,
	}}}
}

// unchanged reports whether two versions of an object have the same spec, and whether they are the same in all that may be judged.
func unchanged(before, after []byte) (spec, all bool) {
	old, err := meaning(before)
	if err != nil {
		return false, false
	}
	now, err := meaning(after)
	class := wire.IngressClassAnnotation // as good as an Ingress's spec
	spec = err == nil && old.Metadata.Annotations[class] == now.Metadata.Annotations[class] && reflect.DeepEqual(old.Spec, now.Spec)
	return spec, spec && maps.Equal(old.Metadata.Labels, now.Metadata.Labels) && maps.Equal(old.Metadata.Annotations, now.Metadata.Annotations)
}

// judged is the part of an object that is judged.
type judged struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec any `json:"spec"`
}

func meaning(raw []byte) (out judged, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(&out)
	return out, err
}
