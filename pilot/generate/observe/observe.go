// Package observe lays what Telemetry objects say over the mesh's settings: what the proxy of a workload logs, traces and counts. How a
// proxy is told is not its business.
package observe

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Layers are what speaks for a workload, each over the one before it. Nil: nothing does. It is comparable: pointers stand for content.
type Layers struct {
	Mesh            *model.Mesh
	Root, Namespace *model.Telemetry
	Workload        *intern.List[*model.Telemetry] // those that select it, by age
}

// Reports is what a proxy reports, as the client and as the server of requests. It is immutable.
type Reports struct{ Client, Server Side }

// Side is what a proxy reports on one side.
type Side struct {
	Logs    []model.AccessLog
	Tracing model.Tracing
	// Metrics says what is not counted, as wire.ListenerMetrics does. Nil: everything is counted.
	Metrics map[string]string
	// Reporting is how often open TCP connections are counted; 0: as ever.
	Reporting time.Duration
}

// Rules finds what speaks for workloads. It is immutable.
type Rules struct {
	mesh    *model.Mesh
	whole   map[string]*model.Telemetry   // by namespace: the oldest for all of it
	partial map[string][]*model.Telemetry // by namespace: those with a selector, by age
}

// New indexes a snapshot's Telemetries.
func New(s *model.Snapshot) *Rules {
	r := &Rules{mesh: s.Mesh, whole: map[string]*model.Telemetry{}, partial: map[string][]*model.Telemetry{}}
	for _, t := range s.Telemetries {
		namespace := t.From.Namespace
		switch {
		case t.Selector != nil:
			r.partial[namespace] = append(r.partial[namespace], t)
		case r.whole[namespace] == nil:
			r.whole[namespace] = t
		}
	}
	return r
}

// Of is what speaks for a workload.
func (r *Rules) Of(namespace string, labels model.Labels, lists intern.Lists[*model.Telemetry]) Layers {
	out := Layers{Mesh: r.mesh, Root: r.whole[r.mesh.RootNamespace]}
	if namespace != r.mesh.RootNamespace {
		out.Namespace = r.whole[namespace]
	}
	var own []*model.Telemetry
	for _, t := range r.partial[namespace] {
		if t.Selector.Matches(labels) {
			own = append(own, t)
		}
	}
	out.Workload = lists.Of(own)
	return out
}

// list is the layers that are there, the widest first.
func (l Layers) list() []*model.Telemetry {
	return slices.DeleteFunc(append([]*model.Telemetry{l.Root, l.Namespace}, l.Workload.Slice()...), func(t *model.Telemetry) bool { return t == nil })
}

// Merge lays the layers over each other.
func Merge(l Layers) *Reports {
	side := func(s model.Side) Side {
		return Side{Logs: logs(l, s), Tracing: tracing(l, s), Metrics: metrics(l, s), Reporting: reporting(l)}
	}
	return &Reports{Client: side(model.ClientSide), Server: side(model.ServerSide)}
}

// logs are the access logs in force: the mesh's file where nothing that is said is about a provider on this side, as in Istio, unless it is
// turned off.
func logs(l Layers, side model.Side) []model.AccessLog {
	layers := slices.DeleteFunc(l.list(), func(t *model.Telemetry) bool { return len(t.Logging) == 0 })
	if len(layers) == 0 {
		layers = []*model.Telemetry{{Logging: []model.Logging{{Providers: l.Mesh.DefaultLogs}}}}
	}
	said, off := switched(layers, l.Mesh.DefaultLogs, side)
	var out []model.AccessLog
	for _, name := range slices.Sorted(maps.Keys(said)) {
		log, ok := l.Mesh.LogProvider(name)
		off = off || ok
		if ok && said[name].on {
			log.Filter = said[name].filter
			out = append(out, log)
		}
	}
	if !off {
		return file(l.Mesh)
	}
	return out
}

// provided is what becomes of a provider of access logs.
type provided struct {
	on     bool
	filter string
}

// switched says which providers the layers leave on, and whether rules turn logs off where there is no provider. Only providers count that the
// last layer to name any on this side names; a rule without is about those of the rule before it, and keeps their filter.
func switched(layers []*model.Telemetry, byDefault []string, side model.Side) (said map[string]provided, off bool) {
	said = map[string]provided{}
	allowed, names := byDefault, byDefault
	for _, t := range layers {
		if named := namedBy(t, side); len(named) > 0 {
			allowed = named
		}
	}
	for _, t := range layers {
		for _, rule := range t.Logging {
			if len(rule.Providers) > 0 {
				names = rule.Providers
			}
			if !rule.Side.Has(side) {
				continue
			}
			if len(names) == 0 {
				off = rule.Disabled
			}
			for _, name := range names {
				if slices.Contains(allowed, name) {
					said[name] = becomes(said[name], rule)
				}
			}
		}
	}
	return said, off
}

// becomes is what a rule makes of a provider.
func becomes(p provided, rule model.Logging) provided {
	p.on = !rule.Disabled
	if len(rule.Providers) > 0 {
		p.filter = rule.Filter
	}
	return p
}

// namedBy are the providers that a layer names on a side.
func namedBy(t *model.Telemetry, side model.Side) []string {
	var out []string
	for _, rule := range t.Logging {
		if rule.Side.Has(side) {
			out = append(out, rule.Providers...)
		}
	}
	return out
}

func file(mesh *model.Mesh) []model.AccessLog {
	if mesh.AccessLog.File == "" {
		return nil
	}
	return []model.AccessLog{mesh.AccessLog}
}

// tracing is where spans go, the zero value where they do not.
func tracing(l Layers, side model.Side) model.Tracing {
	out, disabled := l.Mesh.Tracing, false
	for _, t := range l.list() {
		for _, change := range t.Tracing {
			if !change.Side.Has(side) {
				continue
			}
			if change.Provider != "" {
				out.Target = l.Mesh.TracingProviders[change.Provider]
			}
			if change.Sampling != nil {
				out.Sampling = *change.Sampling
			}
			if change.Disabled != nil {
				disabled = *change.Disabled
			}
			if len(change.Tags) > 0 {
				out.Tags = change.Tags
			}
			if change.Silent != nil {
				out.Silent = *change.Silent
			}
		}
	}
	if disabled || out.Target == "" {
		return model.Tracing{}
	}
	return out
}

// reporting is what the last layer says that says anything.
func reporting(l Layers) (every time.Duration) {
	for _, t := range l.list() {
		if t.Reporting != nil {
			every = *t.Reporting
		}
	}
	return every
}

// metrics says what is not counted, and what labels are: for each metric and label by itself, the last layer that speaks of it.
func metrics(l Layers, side model.Side) map[string]string {
	off, labels := map[string]bool{}, map[string]map[string]string{} // an expression, or "" for a label that is left out
	for _, t := range l.list() {
		for _, change := range t.Metrics {
			if !change.Side.Has(side) {
				continue
			}
			for _, metric := range wire.Metrics() {
				if change.Metric != "" && change.Metric != metric {
					continue
				}
				if change.Disabled != nil {
					off[metric] = *change.Disabled
				}
				if labels[metric] == nil {
					labels[metric] = map[string]string{}
				}
				for _, label := range change.Removed {
					labels[metric][label] = ""
				}
				for _, v := range change.Set {
					labels[metric][v.Label] = v.Expression
				}
			}
		}
	}
	out := map[string]string{}
	for _, metric := range wire.Metrics() {
		if off[metric] {
			out[metric] = wire.MetricOff
			continue
		}
		relabel(out, metric, labels[metric])
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// relabel says what becomes of a metric's labels.
func relabel(out map[string]string, metric string, labels map[string]string) {
	var removed []string
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		switch expression := labels[label]; {
		case expression != "":
			out[metric+"."+label] = expression
		case slices.Contains(wire.MetricLabels(), label):
			removed = append(removed, label)
		}
	}
	if len(removed) > 0 {
		out[metric] = strings.Join(removed, ",")
	}
}
