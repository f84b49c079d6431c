package telemetry

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Metric is one metric of traffic, as a bit.
type Metric uint32

// The metrics, in the order of wire.Metrics.
const (
	Requests Metric = 1 << iota
	Duration
	RequestBytes
	ResponseBytes
	Opened
	Closed
	Sent
	Received
)

const (
	ofRequests    = Requests | Duration | RequestBytes | ResponseBytes
	ofConnections = Opened | Closed | Sent | Received
)

// everything is counted where a listener says nothing else.
func everything() *exchange.Metrics {
	return &exchange.Metrics{HTTP: []exchange.MetricGroup{{Metrics: uint32(ofRequests)}}, TCP: []exchange.MetricGroup{{Metrics: uint32(ofConnections)}}}
}

// ReadMetrics reads what wire.ListenerMetrics says is not counted. Nil: everything is.
func ReadMetrics(said map[string]string) (*exchange.Metrics, error) {
	if len(said) == 0 {
		return nil, nil
	}
	names, out := wire.Metrics(), &exchange.Metrics{}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("%q is no metric", name)
		}
	}
	for i, name := range names {
		if said[name] == wire.MetricOff {
			continue
		}
		removed, err := readLabels(said[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list := &out.HTTP
		if bit := Metric(1 << i); bit&ofConnections != 0 {
			list = &out.TCP
		}
		*list = group(*list, 1<<i, removed)
	}
	return out, nil
}

func readLabels(list string) (bits uint32, err error) {
	if list == "" {
		return 0, nil
	}
	names := wire.MetricLabels()
	for _, name := range strings.Split(list, ",") {
		i := slices.Index(names, name)
		if i < 0 {
			return 0, fmt.Errorf("%q is no label", name)
		}
		bits |= 1 << i
	}
	return bits, nil
}

// group adds a metric to the group that has its labels.
func group(list []exchange.MetricGroup, metric, removed uint32) []exchange.MetricGroup {
	for i := range list {
		if list[i].Removed == removed {
			list[i].Metrics |= metric
			return list
		}
	}
	return append(list, exchange.MetricGroup{Metrics: metric, Removed: removed})
}
