package mesh

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	telemetry "istio.io/api/telemetry/v1alpha1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/condition"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var telemetryFields = fields.New(
	"selector.matchLabels",
	"tracing.{match.mode,providers.name,randomSamplingPercentage,disableSpanReporting,disableContextPropagation,useRequestIdForTraceSampling,customTags.{literal.value,header.{name,defaultValue},environment.{name,defaultValue},formatter.value}}",
	"accessLogging.{match.mode,providers.name,disabled,filter.expression}",
	"metrics.{providers.name,reportingInterval,overrides.{match.{metric,mode},disabled,tagOverrides.{operation,value}}}",
)

// reader translates one Telemetry.
type reader struct {
	report.Log
	mesh  *model.Mesh
	known bool // what providers the mesh has
}

// Telemetry translates a Telemetry object. Where the mesh is not known, providers are not looked for.
func Telemetry(o *inputs.Telemetry, m *model.Mesh, known bool) (*model.Telemetry, []report.Issue) {
	r := &reader{mesh: m, known: known}
	for _, p := range o.Problems {
		r.Errorf(p.Path, "%s", p.Reason)
	}
	telemetryFields.Check(o.Spec, "spec", &r.Log)
	out := &model.Telemetry{From: model.Name{Namespace: o.Namespace, Name: o.Name}}
	if s := o.Spec.Selector; s != nil {
		out.Selector = values.Selector(&r.Log, "spec.selector.matchLabels", s.MatchLabels)
	}
	for i, l := range o.Spec.AccessLogging {
		out.Logging = append(out.Logging, r.logging(fmt.Sprintf("spec.accessLogging[%d]", i), l))
	}
	for i, t := range o.Spec.Tracing {
		out.Tracing = append(out.Tracing, r.tracing(fmt.Sprintf("spec.tracing[%d]", i), t))
	}
	for i, c := range o.Spec.Metrics {
		path := fmt.Sprintf("spec.metrics[%d]", i)
		out.Metrics = append(out.Metrics, r.metrics(path, c)...)
		if every := c.GetReportingInterval(); every != nil {
			out.Reporting = r.reporting(path+".reportingInterval", every.AsDuration())
		}
	}
	return out, r.Issues
}

// side reads where the proxies stand.
func (r *reader) side(path string, mode telemetry.WorkloadMode) model.Side {
	switch mode {
	case telemetry.WorkloadMode_CLIENT_AND_SERVER:
	case telemetry.WorkloadMode_CLIENT:
		return model.ClientSide
	case telemetry.WorkloadMode_SERVER:
		return model.ServerSide
	default:
		r.Errorf(path+".match.mode", "%d: unknown", mode)
	}
	return model.BothSides
}

func (r *reader) logging(path string, l *telemetry.AccessLogging) model.Logging {
	out := model.Logging{Side: r.side(path, l.GetMatch().GetMode()), Disabled: l.GetDisabled().GetValue()}
	if out.Filter = l.GetFilter().GetExpression(); out.Filter != "" {
		if _, err := condition.Parse(out.Filter); err != nil {
			r.Errorf(path+".filter.expression", "%v", err)
		}
		if len(l.GetProviders()) == 0 {
			r.Warnf(path+".filter", "without effect: a filter is for the providers that its rule names")
		}
	}
	for i, p := range l.GetProviders() {
		if _, ok := r.mesh.LogProvider(p.GetName()); r.known && !ok {
			r.Errorf(fmt.Sprintf("%s.providers[%d].name", path, i), "%s", noLog(p.GetName()))
		}
		out.Providers = append(out.Providers, p.GetName())
	}
	return out
}

func (r *reader) tracing(path string, t *telemetry.Tracing) model.TracingChange {
	out := model.TracingChange{Side: r.side(path, t.GetMatch().GetMode())}
	for i, p := range t.GetProviders() {
		at := fmt.Sprintf("%s.providers[%d].name", path, i)
		if _, ok := r.mesh.TracingProviders[p.GetName()]; r.known && !ok {
			r.Errorf(at, "%s", noTracing(p.GetName()))
		}
		if i == 1 {
			r.Errorf(at, "spans go to one provider only")
		}
		if i == 0 {
			out.Provider = p.GetName()
		}
	}
	if s := t.GetRandomSamplingPercentage(); s != nil {
		if s.Value < 0 || s.Value > 100 {
			r.Errorf(path+".randomSamplingPercentage", "%v: a percentage between 0 and 100 expected", s.Value)
		}
		out.Sampling = &s.Value
	}
	if d := t.GetDisableSpanReporting(); d != nil {
		out.Disabled = &d.Value
	}
	for _, name := range slices.Sorted(maps.Keys(t.GetCustomTags())) {
		tag := t.CustomTags[name]
		at := path + ".customTags[" + name + "]"
		if f := tag.GetFormatter(); f != nil {
			out.Tags = append(out.Tags, r.formatted(at, name, f.Value))
			continue
		}
		out.Tags = append(out.Tags, spanTag(r.Errorf, at, name, tag))
	}
	if t.GetUseRequestIdForTraceSampling().GetValue() {
		r.Warnf(path+".useRequestIdForTraceSampling", "without effect: request ids never decide what is traced")
	}
	if d := t.GetDisableContextPropagation(); d != nil {
		out.Silent = &d.Value
	}
	return out
}

// formatted reads an attribute of spans that command operators write.
func (r *reader) formatted(path, name, text string) model.SpanTag {
	if name == "" || text == "" {
		r.Errorf(path, "a name and a text are expected")
	}
	if err := values.Format(text); err != nil {
		r.Errorf(path+".formatter.value", "%v", err)
	}
	return model.SpanTag{Name: name, Format: text}
}

// customTag is a tag of either API that knows them, in the kinds that both have.
type customTag[L literal, H, E named] interface {
	GetLiteral() L
	GetHeader() H
	GetEnvironment() E
}

type (
	literal interface{ GetValue() string }
	named   interface {
		GetName() string
		GetDefaultValue() string
	}
)

// spanTag reads a further attribute of spans.
func spanTag[L literal, H, E named](no refuse, path, name string, tag customTag[L, H, E]) model.SpanTag {
	l, h, e := tag.GetLiteral(), tag.GetHeader(), tag.GetEnvironment()
	out := model.SpanTag{Name: name, Value: cmp.Or(l.GetValue(), h.GetDefaultValue(), e.GetDefaultValue()), Header: strings.ToLower(h.GetName()), Environment: e.GetName()}
	switch {
	case name == "" || out.Header == "" && out.Environment == "" && out.Value == "":
		no(path, "a name, and a literal, a header or a variable, are expected")
	case !values.HeaderName(out.Header):
		no(path+".header.name", "%q is not a header name", out.Header)
	}
	return out
}

func (r *reader) metrics(path string, c *telemetry.Metrics) []model.MetricChange {
	for i, p := range c.GetProviders() {
		if !counts(r.mesh, p.GetName()) && (r.known || p.GetName() == "") {
			r.Errorf(fmt.Sprintf("%s.providers[%d].name", path, i), "%s", noMetrics(p.GetName()))
		}
	}
	var out []model.MetricChange
	for i, o := range c.GetOverrides() {
		if change, ok := r.override(fmt.Sprintf("%s.overrides[%d]", path, i), o); ok {
			out = append(out, change)
		}
	}
	return out
}

// reporting reads how often open connections are counted.
func (r *reader) reporting(path string, every time.Duration) *model.Duration {
	if every < time.Second {
		r.Errorf(path, "%s: a duration of at least 1s expected", every)
	}
	return &every
}

// override reads a change of metrics; false: it is about metrics that these proxies do not have.
func (r *reader) override(path string, o *telemetry.MetricsOverrides) (model.MetricChange, bool) {
	out := model.MetricChange{Side: r.side(path, o.GetMatch().GetMode())}
	if d := o.GetDisabled(); d != nil {
		out.Disabled = &d.Value
	}
	counted := true
	switch metric := o.GetMatch().GetMetric(); metric {
	case telemetry.MetricSelector_ALL_METRICS:
	case telemetry.MetricSelector_GRPC_REQUEST_MESSAGES, telemetry.MetricSelector_GRPC_RESPONSE_MESSAGES:
		if counted = false; !o.GetDisabled().GetValue() {
			r.Errorf(path+".match.metric", "%s: not counted by this version", metric)
		}
	default:
		out.Metric = metric.String()
		if !slices.Contains(wire.Metrics(), out.Metric) {
			r.Errorf(path+".match.metric", "%d: unknown", metric)
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(o.GetTagOverrides())) {
		r.tag(fmt.Sprintf("%s.tagOverrides[%s]", path, tag), tag, o.TagOverrides[tag], &out)
	}
	return out, counted
}

// tag reads what becomes of a label.
func (r *reader) tag(path, name string, o *telemetry.MetricsOverrides_TagOverride, out *model.MetricChange) {
	switch o.GetOperation() {
	case telemetry.MetricsOverrides_TagOverride_REMOVE:
		if !slices.Contains(wire.MetricLabels(), name) {
			r.Warnf(path, "no metric has this label, unless another Telemetry adds it")
		}
		if o.GetValue() != "" {
			r.Errorf(path+".value", "given beside REMOVE")
		}
		out.Removed = append(out.Removed, name)
	case telemetry.MetricsOverrides_TagOverride_UPSERT:
		if !wire.MetricLabel(name) {
			r.Errorf(path, "%q cannot be a label", name)
		}
		if _, err := condition.ParseText(o.GetValue()); err != nil {
			r.Errorf(path+".value", "%v", err)
		}
		out.Set = append(out.Set, model.LabelValue{Label: name, Expression: o.GetValue()})
	default:
		r.Errorf(path+".operation", "%d: unknown", o.GetOperation())
	}
}
