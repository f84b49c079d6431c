package main

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/metric"

	"github.com/heddle-mesh/heddle/pilot/report"
)

// conflict is a gauge of istiod's, by the name that dashboards and alerts know, and the issues of the report that it counts.
type conflict struct {
	name, description, kind string
	counts                  func(report.Issue) bool
}

func conflicts() []conflict {
	return []conflict{
		{"pilot_vservice_dup_domain", "hosts of VirtualServices for which an older one has the rules, in the mesh", "VirtualService", func(i report.Issue) bool { return i.Code == report.SharedMeshHost }},
		{"pilot_destrule_subsets", "subsets of DestinationRules that an older one has for the same host", "DestinationRule", func(i report.Issue) bool { return strings.HasPrefix(i.Path, "spec.subsets[") }},
		{"pilot_duplicate_envoy_clusters", "hosts of ServiceEntries that are another service's", "ServiceEntry", func(i report.Issue) bool { return strings.HasPrefix(i.Path, "spec.hosts[") }},
	}
}

// measureConflicts counts, whenever somebody asks, what the last report says of objects that are in each other's way.
func measureConflicts(meter metric.Meter, last func() *report.Report) error {
	for _, c := range conflicts() {
		_, err := meter.Int64ObservableGauge(c.name, metric.WithDescription(c.description), metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(c.count(last()))
			return nil
		}))
		if err != nil {
			return fmt.Errorf("making the metric %s: %w", c.name, err)
		}
	}
	return nil
}

// count counts fields, each once: a host may be another's for several protocols.
func (c conflict) count(r *report.Report) (n int64) {
	for _, e := range r.Entries {
		if e.Ref.Kind != c.kind {
			continue
		}
		counted := map[string]bool{}
		for _, i := range e.Issues {
			if i.Topic == report.Conflict && c.counts(i) && !counted[i.Path] {
				counted[i.Path] = true
				n++
			}
		}
	}
	return n
}
