package telemetry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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

// ReadMetrics reads what wire.ListenerMetrics says is not counted, or by other labels. Nil: everything is, by its own.
func ReadMetrics(said map[string]string) (*exchange.Metrics, error) {
	if len(said) == 0 {
		return nil, nil
	}
	out, sets := &exchange.Metrics{}, map[string]map[string]string{} // expressions by metric and label
	names := wire.Metrics()
	for _, key := range slices.Sorted(maps.Keys(said)) {
		name, label, set := strings.Cut(key, ".")
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("%q is no metric", name)
		}
		if set {
			if sets[name] == nil {
				sets[name] = map[string]string{}
			}
			sets[name][label] = said[key]
		}
	}
	made := map[string]exchange.LabelSetter{} // by what they are made of
	for i, name := range names {
		if said[name] == wire.MetricOff {
			continue
		}
		one := exchange.MetricGroup{Metrics: 1 << i}
		var err error
		if one.Removed, err = readLabels(said[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if one.Set, err = setter(made, sets[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list := &out.HTTP
		if Metric(one.Metrics)&ofConnections != 0 {
			list = &out.TCP
		}
		*list = group(*list, one)
	}
	return out, nil
}

// ReadReporting reads wire.ListenerReporting.
func ReadReporting(said map[string]string) (time.Duration, error) {
	if len(said) == 0 {
		return 0, nil
	}
	every, err := time.ParseDuration(said[wire.ReportingInterval])
	if err == nil && every < time.Second {
		err = fmt.Errorf("%s is less than 1s", every)
	}
	return every, err
}

// setter makes labels of expressions; equal ones are one.
func setter(made map[string]exchange.LabelSetter, expressions map[string]string) (exchange.LabelSetter, error) {
	if len(expressions) == 0 {
		return nil, nil
	}
	text := fmt.Sprintf("%q", expressions)
	if known, ok := made[text]; ok {
		return known, nil
	}
	out, err := newSettings(expressions)
	made[text] = out
	return out, err
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
func group(list []exchange.MetricGroup, one exchange.MetricGroup) []exchange.MetricGroup {
	for i := range list {
		if list[i].Removed == one.Removed && list[i].Set == one.Set {
			list[i].Metrics |= one.Metrics
			return list
		}
	}
	return append(list, one)
}
