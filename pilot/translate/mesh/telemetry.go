package mesh

import (
	"cmp"
	"fmt"

	meshapi "istio.io/api/mesh/v1alpha1"
	telemetry "istio.io/api/telemetry/v1alpha1"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

var telemetryFields = fields.New(
	"tracing.{providers.name,randomSamplingPercentage,disableSpanReporting}",
	"accessLogging.{providers.name,disabled}",
)

// Telemetry judges a Telemetry object. This version has those that speak for the whole mesh: in the root namespace, without a selector.
// Without settings (nil), providers are not looked for.
func Telemetry(o *inputs.Telemetry, root string, c *meshapi.MeshConfig) []report.Issue {
	log := &report.Log{}
	for _, p := range o.Problems {
		log.Errorf(p.Path, "%s", p.Reason)
	}
	telemetryFields.Check(o.Spec, "spec", log)
	if o.Namespace != root {
		log.Errorf("metadata.namespace", "not implemented by this version outside of the root namespace %s", root)
	}
	for i, l := range o.Spec.AccessLogging {
		if len(l.Providers) == 0 && !l.Disabled.GetValue() {
			log.Errorf(fmt.Sprintf("spec.accessLogging[%d]", i), "providers or disabled must be given")
		}
	}
	if c != nil {
		found := &report.Log{}
		applyTelemetry(found, c, o.Spec, &model.Mesh{})
		for _, i := range found.Issues {
			log.Errorf(i.Path, "%s", i.Reason)
		}
	}
	return log.Issues
}

// oldest returns the Telemetry that speaks for the mesh: the oldest sound one, or nil.
func oldest(all []*inputs.Telemetry, root string, c *meshapi.MeshConfig) *inputs.Telemetry {
	var best *inputs.Telemetry
	for _, o := range all {
		if (best == nil || older(o, best)) && !report.HasErrors(Telemetry(o, root, c)) {
			best = o
		}
	}
	return best
}

func older(a, b *inputs.Telemetry) bool {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name)) < 0
}

// applyTelemetry lays an object over the settings.
func applyTelemetry(log *report.Log, c *meshapi.MeshConfig, spec *telemetry.Telemetry, m *model.Mesh) {
	for i, l := range spec.AccessLogging {
		if l.Disabled.GetValue() {
			m.AccessLog.File = ""
			continue
		}
		for j, p := range l.Providers {
			applyAccessLog(log, fmt.Sprintf("spec.accessLogging[%d].providers[%d].name", i, j), c, p.GetName(), m)
		}
	}
	for i, t := range spec.Tracing {
		path := fmt.Sprintf("spec.tracing[%d]", i)
		for j, p := range t.Providers {
			applyTracing(log, fmt.Sprintf("%s.providers[%d].name", path, j), c, p.GetName(), m)
		}
		if t.RandomSamplingPercentage != nil {
			m.Tracing.Sampling = percent(log, path+".randomSamplingPercentage", t.RandomSamplingPercentage.Value)
		}
		if t.DisableSpanReporting.GetValue() {
			m.Tracing.Target = ""
		}
	}
}
